"""Workers that may die, given work that may kill them: who does what, what is done again, what is set aside.

This is the whole scheduling, and knows nothing of processes: a `Pool` starts workers and carries tasks to them. Ray is
one pool; a test's is another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pullback.bank.breaker import Breaker
from pullback.bank.driver import Progress, Tally
from pullback.bank.index import Keys, build_index, journal_entries
from pullback.bank.store import Bank, Writer
from pullback.bank.unit import Unit
from pullback.errors import ModelError

IN_FLIGHT = 2
"""Groups that a worker has been given: one to do and one to go on with."""


@dataclass(frozen=True)
class Report:
    """What a worker says after a task.

    Attributes:
        num_computed: Units computed.
        failed: Keys of those that it set aside, traceback and all.
        is_flushed: Whether everything that it ever computed is on disk.
    """

    num_computed: int = 0
    failed: tuple[str, ...] = ()
    is_flushed: bool = False


@dataclass(frozen=True)
class Death:
    """What is known of a worker's end."""

    reason: str


class Pool(Protocol):
    """Starts workers and carries tasks to them; each call returns a ticket at once."""

    def start(self) -> tuple[Hashable, Hashable]:
        """A new worker, and the ticket of its being ready."""
        ...

    def submit(self, worker: Hashable, units: Sequence[Unit], /) -> Hashable:
        """A ticket for computing a group; no units: for writing what has gathered."""
        ...

    def wait(self, tickets: Sequence[Hashable], /) -> tuple[Hashable, Report | Death]:
        """Some ticket that has come due, with what became of it."""
        ...

    def close(self) -> None:
        """Ends all workers, each with its files closed."""
        ...


@dataclass
class Task:
    """A group, and how many workers died of it."""

    units: list[Unit]
    num_deaths: int = 0
    num_computed: int = 0


@dataclass(frozen=True)
class Disk:
    """Keys of what the bank held when a worker was found dead: written, and set aside in this run."""

    written: Keys
    set_aside: frozenset[str]


@dataclass
class Member:
    """A worker as its crew sees it."""

    handle: Hashable
    is_ready: bool = False
    tasks: deque[Task] = field(default_factory=deque)  # given, in order
    unflushed: list[Task] = field(default_factory=list)  # done, and not yet known to be on disk
    is_flushing: bool = False
    breaker: Breaker = field(default_factory=Breaker)


@dataclass(eq=False)
class Crew:
    """Runs all groups through a pool.

    Attributes:
        bank: Where answers go.
        writer: The driver's own, for what no worker lives to tell.
        pool: The workers.
        groups: What is left to do, one group at a time.
        num_workers: How many.
        retries: How many more workers a unit may kill before it is set aside.
        tally: What is counted.
        progress: Called after each group.
    """

    bank: Bank
    writer: Writer
    pool: Pool
    groups: Iterator[list[Unit]]
    num_workers: int
    retries: int
    tally: Tally
    progress: Progress

    def __post_init__(self) -> None:
        self._again: deque[Task] = deque()
        self._tickets: dict[Hashable, tuple[Member, Literal["start", "group", "flush"]]] = {}
        self._members: list[Member] = []
        self._num_failed_starts = self._num_failed_writes = 0
        self._breaker = Breaker()  # of all workers: each of them has one beside, for a device that others do not share
        entries = journal_entries(self.bank.folder, [])
        self._failed_before = {entry["failed"] for entry in entries if "failed" in entry}  # tried again, if given to us

    def run(self) -> None:
        """Until every group is done or set aside, and on disk.

        Raises:
            ModelError: If workers cannot be started, or die of writing one after another; or if so many units fail in
                a row, of one worker or of all, that it cannot be their fault.
        """
        for _ in range(self.num_workers):
            self._hire()
        while True:
            self._feed()
            if not self._tickets or not self._has_work():
                break
            ticket, outcome = self.pool.wait(list(self._tickets))
            member, kind = self._tickets.pop(ticket)
            if isinstance(outcome, Death):
                self._bury(member, kind, outcome)
            else:
                self._take(member, kind, outcome)

    def _has_work(self) -> bool:
        """Whether anything but workers that are still starting is outstanding."""
        return bool(self._again) or any(kind != "start" for _, kind in self._tickets.values()) or self._next_waits()

    def _next_waits(self) -> bool:
        task = self._next()
        if task is not None:
            self._again.appendleft(task)
        return task is not None

    def _hire(self) -> None:
        handle, ticket = self.pool.start()
        member = Member(handle)
        self._members.append(member)
        self._tickets[ticket] = (member, "start")

    def _feed(self) -> None:
        for member in self._members:
            while member.is_ready and len(member.tasks) < IN_FLIGHT and (task := self._next()):
                member.tasks.append(task)
                self._tickets[self.pool.submit(member.handle, task.units)] = (member, "group")
        if not any(member.tasks for member in self._members):  # all is computed: have it written
            for member in self._members:
                if member.unflushed and not member.is_flushing:
                    member.is_flushing = True
                    self._tickets[self.pool.submit(member.handle, [])] = (member, "flush")

    def _next(self) -> Task | None:
        if self._again:
            return self._again.popleft()
        group = next(self.groups, None)
        return None if group is None else Task(group)

    def _take(self, member: Member, kind: str, report: Report) -> None:
        if kind == "start":
            member.is_ready, self._num_failed_starts = True, 0
            return
        if kind == "group":
            task = member.tasks.popleft()
            task.num_computed = report.num_computed
            member.unflushed.append(task)
            self.tally.num_computed += report.num_computed
            self.tally.failed += report.failed
            self._count(report.num_computed, report.failed, member.breaker, self._breaker)
        if report.is_flushed:
            self._num_failed_writes = 0
            member.unflushed.clear()
        member.is_flushing = member.is_flushing and kind != "flush"

    def _bury(self, member: Member, kind: str, death: Death) -> None:
        """What a dead worker had is done again: in part for its own fault, in part not."""
        self._members.remove(member)
        self._tickets = {ticket: job for ticket, job in self._tickets.items() if job[0] is not member}
        self._num_failed_starts += kind == "start"
        self._num_failed_writes += kind == "flush"
        for num, wanted in ((self._num_failed_starts, "start"), (self._num_failed_writes, "live to write it all")):
            if num > self.retries + self.num_workers:
                hint = "try the same run without --ray first"
                raise ModelError(wanted=f"workers that {wanted}", got=death.reason[:500], hint=hint)
        for task in member.unflushed:
            self.tally.num_computed -= task.num_computed
        blamed = member.tasks.popleft() if member.tasks and kind == "group" else None
        disk = self._look()
        for task in [*member.unflushed, *member.tasks]:
            self._do_again(task.units, task.num_deaths, disk)
        if blamed is not None:
            self._judge(blamed, death, disk)
        self._hire()

    def _judge(self, task: Task, death: Death, disk: Disk) -> None:
        """A group that a worker died of: tried again, then unit by unit, then set aside."""
        deaths = task.num_deaths + 1
        if deaths <= self.retries:
            self._do_again(task.units, deaths, disk)
        elif len(task.units) > 1:
            for unit in task.units:
                self._do_again([unit], 0, disk)
        else:
            self.writer.set_aside(task.units[0], tries=deaths, error="the worker died", trace=death.reason)
            self.tally.failed.append(task.units[0].key)
            self._count(0, [task.units[0].key], self._breaker)

    def _count(self, num_computed: int, failed: Sequence[str], *breakers: Breaker) -> None:
        self.progress(self.tally.num_computed, len(self.tally.failed))
        for breaker in breakers:
            if breaker.count(num_computed, failed):
                raise breaker.error()

    def _look(self) -> Disk:
        index = build_index(self.bank.folder)
        return Disk(Keys(index.keys), frozenset(index.failed) - self._failed_before)

    def _do_again(self, units: Sequence[Unit], deaths: int, disk: Disk) -> None:
        """Queues what is not on disk after all: the worker may have written it before it died."""
        missing = [unit for unit in units if unit.key not in disk.written and unit.key not in disk.set_aside]
        self.tally.num_computed += len([unit for unit in units if unit.key in disk.written])
        if missing:
            self._again.append(Task(missing, deaths))
