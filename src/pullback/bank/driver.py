"""One driver for every backend: which groups are left, who does them, what becomes of those that fail."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pullback.bank.breaker import Breaker
from pullback.bank.entries import misfit
from pullback.bank.index import DONE, JOURNAL_SUFFIX, Keys, build_index
from pullback.bank.journal import read_journal
from pullback.bank.store import Bank, Writer
from pullback.bank.unit import Unit
from pullback.bank.work import Answer, MakesWork, Work, checked
from pullback.errors import OptionError
from pullback.files import At, unwatched

Progress = Callable[[int, int], None]
"""Called as ``progress(num_done, num_failed)``, over what this run computed."""
RETRIES = 2


def unseen(num_done: int, num_failed: int) -> None:
    """Nobody looks."""


@dataclass(frozen=True)
class Part:
    """Share ``index`` of ``count``: every count-th group. Workers that start together need no other agreement.

    Raises:
        OptionError: If there is no such share.

    Example:
        >>> Part.parse("2/8")
        Part(index=2, count=8)
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise OptionError(
                wanted="a share i/N with 0 <= i < N",
                got=f"{self.index}/{self.count}",
                hint="--shard 0/4 to --shard 3/4 make a whole",
            )

    @classmethod
    def parse(cls, text: str) -> Part:
        """The share called "i/N".

        Raises:
            OptionError: If it is none.
        """
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal()):
            raise OptionError(wanted="a share i/N", got=repr(text), hint="such as --shard 0/4")
        return cls(int(index), int(count))

    @property
    def label(self) -> str:
        """For file names."""
        return "main" if self.count == 1 else f"part{self.index}of{self.count}"


WHOLE = Part()
"""One worker's share that is all of the work."""


@dataclass
class Tally:
    """What a run did.

    Attributes:
        num_computed: Units computed and written.
        num_found: Units that were there before, or were set aside before.
        num_aside: Of these, how many were set aside, and not tried again.
        failed: Keys set aside in this run.
    """

    num_computed: int = 0
    num_found: int = 0
    num_aside: int = 0
    failed: list[str] = field(default_factory=list)


def run_here(
    bank: Bank,
    units: Iterable[Unit],
    make_work: MakesWork,
    *,
    part: Part = WHOLE,
    retries: int = RETRIES,
    retry_failed: bool = False,
    progress: Progress = unseen,
    at: At = unwatched,
) -> Tally:
    """Computes, in this process, whatever of ``units`` the bank has not got.

    Groups are cut from ``units`` as they stand, done or not, so that what is computed together does not depend on where
    an earlier run stopped: resumed or not, on one device, the bits are the same.

    Args:
        bank: Where answers go.
        units: All units, in the same order whenever the run is taken up.
        make_work: Makes the work; called only if something is left to do.
        part: Which share of the groups is ours.
        retries: How often a failing unit is tried again before it is set aside.
        retry_failed: Whether units that were set aside before are tried again.
        progress: Called after each group.
        at: Told the steps of every write.

    Returns:
        What was done. Whether any failed is in it; a failing unit does not stop the others.

    Raises:
        OptionError: If ``retries`` is negative.
        ModelError: If so many units fail in a row that it cannot be their fault.
        OSError: If the bank cannot be written to; what was written before stays good.
    """
    check_count("retries", retries)
    tally, breaker = Tally(), Breaker()
    work: Work | None = None
    with bank.writer(part.label, at=at) as writer:
        for group in pending(bank, writer, units, part=part, retry_failed=retry_failed, tally=tally):
            work = work or make_work()
            num_failed = len(tally.failed)
            answers = attempt(work, group, retries=retries, writer=writer, tally=tally)
            writer.add(answers)
            tally.num_computed += len(answers)
            progress(tally.num_computed, len(tally.failed))
            if breaker.count(len(answers), tally.failed[num_failed:]):
                writer.flush()
                raise breaker.error()
    return tally


def check_count(name: str, count: int) -> None:
    """Refuses what would leave work undone in silence.

    Raises:
        OptionError: If the count is negative.
    """
    if count < 0:
        raise OptionError(wanted=f"{name} of at least 0", got=str(count), hint="leave it out for what is usual")


def pending(
    bank: Bank, writer: Writer, units: Iterable[Unit], *, part: Part, retry_failed: bool, tally: Tally
) -> Iterator[list[Unit]]:
    """Groups with the units that are missing, one at a time: the list of units is never in memory."""
    twins = Twins(bank, part.label, ours=writer.name)
    index = build_index(bank.folder)
    writer.adopt(index.strays)
    done = Keys(index.keys)
    aside = set() if retry_failed else set(index.failed)
    del index
    news: set[str] = set()
    num_seen = writer.num_written
    for number, group in enumerate(grouped(units, bank.settings.group)):
        if number % part.count != part.index:
            continue
        if writer.num_written != num_seen:  # a shard was written: see what a twin of ours did meanwhile
            num_seen = writer.num_written
            news |= twins.news()
        left = [unit for unit in group if unit.key not in done and unit.key not in news]
        missing = [unit for unit in left if unit.key not in aside]
        tally.num_found += len(group) - len(missing)
        tally.num_aside += len(left) - len(missing)
        if missing:
            yield missing


class Twins:
    """What others with our share write while we run: the same share may have been started twice."""

    def __init__(self, bank: Bank, label: str, *, ours: str) -> None:
        self._folder, self._pattern, self._ours = bank.folder / DONE, f"{label}-*{JOURNAL_SUFFIX}", ours
        self._seen: dict[str, int] = {}
        self.news()

    def news(self) -> set[str]:
        """Keys that were written since the last call; costs one listing of the journals when there are none."""
        found: set[str] = set()
        for path in self._folder.glob(self._pattern):
            if path.stem == self._ours:  # no unit comes twice
                continue
            for line in read_journal(path, start=self._seen.get(path.name, 0)):
                self._seen[path.name] = line.end
                if not line.problem and not misfit(line.entry, path.name):
                    found.update(line.entry.get("keys", ()))
        return found


def grouped(units: Iterable[Unit], size: int) -> Iterator[list[Unit]]:
    """Runs of at most ``size`` neighbours that may be computed together: all but latent, seed and id alike."""
    group: list[Unit] = []
    for unit in units:
        if group and (len(group) == size or unit.company != group[0].company):
            yield group
            group = []
        group.append(unit)
    if group:
        yield group


def attempt(work: Work, group: Sequence[Unit], *, retries: int, writer: Writer, tally: Tally) -> list[Answer]:
    """The group's answers; a group that fails is tried unit by unit, a unit that always fails is set aside."""
    answers, error = tried(work, group, 1)
    if error and len(group) > 1:
        return [each for unit in group for each in attempt(work, [unit], retries=retries, writer=writer, tally=tally)]
    if error and retries:
        answers, error = tried(work, group, retries)
    if error:
        writer.set_aside(group[0], tries=1 + retries, error=error[0], trace=error[1])
        tally.failed.append(group[0].key)
    return answers


def tried(work: Work, group: Sequence[Unit], times: int) -> tuple[list[Answer], tuple[str, str] | None]:
    """Answers, or the last error with its traceback after so many tries."""
    error = None
    for _ in range(times):
        try:
            return list(checked(work.compute(group), group)), None
        except Exception as problem:  # whatever a model raises belongs to its unit
            error = (f"{type(problem).__name__}: {problem}", traceback.format_exc())
    return [], error
