"""The bank on Ray: one actor a model, scheduled by Ray, on this machine or a cluster.

Ray carries tasks and tells of deaths. Nothing of the result is kept by it: each actor writes its own files into the
bank, which must therefore lie where all nodes see it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pullback.bank.crew import Crew, Death, Report
from pullback.bank.driver import WHOLE, Part, Progress, Tally, attempt, check_count, pending, unseen
from pullback.bank.store import Bank
from pullback.bank.unit import Unit, unit_from
from pullback.bank.work import MakesWork
from pullback.errors import OptionError

LABEL = "ray"
CLOSE_SECONDS = 60
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class RaySettings:
    """Where to run, and on how much.

    Attributes:
        address: "local" starts Ray on this machine, for this run alone, on the loopback address and without dashboard;
            "auto" or "host:port" joins a cluster.
        num_workers: Actors; 0 takes one a GPU where workers use them, else one a processor.
        gpus_per_worker: What Ray is to set aside for each; may be a fraction.
        retries: How often a unit that fails is tried again, and how many more workers it may kill.

    Raises:
        OptionError: If a count is negative.
    """

    address: str = "local"
    num_workers: int = 0
    gpus_per_worker: float = 0
    retries: int = 2

    def __post_init__(self) -> None:
        check_count("workers", self.num_workers)
        check_count("retries", self.retries)


def gpus_for(device: str) -> float:
    """GPUs that Ray is to set aside for a worker on ``device``.

    Raises:
        OptionError: If it has an index: a worker sees its own GPU alone, as the first, whichever it is.

    Example:
        >>> gpus_for("cuda"), gpus_for("cpu")
        (1.0, 0.0)
    """
    kind, colon, _ = device.partition(":")
    if kind == "cuda" and colon:
        raise OptionError(
            wanted="--device cuda with --ray, which gives each worker a GPU of its own",
            got=repr(device),
            hint="choose GPUs where Ray is started, such as CUDA_VISIBLE_DEVICES=1 before the command",
        )
    return float(kind == "cuda")


def run_on_ray(
    bank: Bank,
    units: Iterable[Unit],
    make_work: MakesWork,
    *,
    settings: RaySettings = RaySettings(),
    part: Part = WHOLE,
    retry_failed: bool = False,
    progress: Progress = unseen,
) -> Tally:
    """Computes whatever of ``units`` the bank has not got, as `run_here` does, on Ray's actors.

    A worker or a node that dies costs what it had not written: at most one shard. A unit that kills its worker
    ``1 + retries`` times is set aside, like one that raises. If the driver dies, the same call goes on.

    Raises:
        OptionError: If Ray is not installed or has no GPU for a worker that needs one, or if one of this machine alone
            would be open to others.
        ModelError: If no worker can be started, or so many units fail in a row that it cannot be their fault.
    """
    ray = _ray()
    is_ours = not ray.is_initialized()
    if is_ours:
        _connect(ray, settings)
    tally = Tally()
    try:
        num_workers = _num_workers(ray, settings)
        pool = RayPool(ray, bank, make_work, settings)
        with bank.writer(LABEL) as writer:
            groups = pending(bank, writer, units, part=part, retry_failed=retry_failed, tally=tally)
            try:
                Crew(bank, writer, pool, groups, num_workers, settings.retries, tally, progress).run()
            finally:
                pool.close()
    finally:
        if is_ours:
            ray.shutdown()
    return tally


class Worker:
    """What an actor is: one work, one writer."""

    def __init__(self, folder: str, make_work: MakesWork, retries: int) -> None:
        bank = Bank.open(folder)
        self._work, self._retries = make_work(), retries
        self._writer = bank.writer(LABEL)

    def ready(self) -> Report:
        """Answers when the work has been made."""
        return Report()

    def compute(self, records: Sequence[Mapping[str, Any]]) -> Report:
        """Computes a group; none: writes what has gathered."""
        tally = Tally()
        if records:
            group = [unit_from(record) for record in records]
            answers = attempt(self._work, group, retries=self._retries, writer=self._writer, tally=tally)
            self._writer.add(answers)
            return Report(len(answers), tuple(tally.failed), self._writer.is_flushed)
        self._writer.flush()
        return Report(is_flushed=True)

    def close(self) -> None:
        """Writes what has gathered, and closes the journal."""
        self._writer.__exit__(None)


class RayPool:
    """A `Pool` of Ray actors."""

    def __init__(self, ray: Any, bank: Bank, make_work: MakesWork, settings: RaySettings) -> None:
        self._ray, self._settings = ray, settings
        self._arguments = (str(Path(bank.folder).absolute()), make_work, settings.retries)
        self._actors: list[Any] = []

    def start(self) -> tuple[Hashable, Hashable]:
        """A new actor. Ray does not restart it: its crew does, and knows what it had not written."""
        options = {"num_cpus": 1, "num_gpus": self._settings.gpus_per_worker, "max_restarts": 0}
        actor = self._ray.remote(Worker).options(**options).remote(*self._arguments)
        self._actors.append(actor)
        return actor, actor.ready.remote()

    def submit(self, worker: Any, units: Sequence[Unit], /) -> Hashable:
        """A task for an actor."""
        return worker.compute.remote([unit.record() for unit in units])

    def wait(self, tickets: Sequence[Hashable], /) -> tuple[Hashable, Report | Death]:
        """The next answer. What the worker itself raises, such as a full disk, is raised here as what it is."""
        exceptions = self._ray.exceptions
        due, _ = self._ray.wait(list(tickets), num_returns=1)
        try:
            return due[0], self._ray.get(due[0])
        except exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None
        except exceptions.RayError as error:
            return due[0], Death(f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Closes the files of those that live; the others have lost nothing by it."""
        closing = [actor.close.remote() for actor in self._actors]
        self._ray.wait(closing, num_returns=len(closing), timeout=CLOSE_SECONDS) if closing else None
        for actor in self._actors:
            self._ray.kill(actor)


def _ray() -> Any:
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise OptionError(
            wanted="Ray for --ray", got="no such package", hint="pip install 'pullback[ray]', or leave --ray out"
        ) from error
    return ray


def _connect(ray: Any, settings: RaySettings) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if settings.address != "local":
        ray.init(address=settings.address, **quiet)
        return
    with _without_clusters(ray):
        ray.init(num_cpus=settings.num_workers or None, include_dashboard=False, _node_ip_address=LOOPBACK, **quiet)
    found = {node["NodeManagerAddress"] for node in ray.nodes()}
    if found != {LOOPBACK}:
        ray.shutdown()
        raise OptionError(
            wanted=f"a Ray that listens on {LOOPBACK} alone",
            got=f"version {ray.__version__} on {', '.join(sorted(found))}, which others may reach",
            hint="start Ray yourself where nobody else can reach it, and give --ray auto",
        )


@contextmanager
def _without_clusters(ray: Any) -> Iterator[None]:
    """Ray replaces a loopback address by the machine's own, open to all, unless it is told that it never clusters."""
    constants = ray._private.ray_constants
    before, constants.ENABLE_RAY_CLUSTER = constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


def _num_workers(ray: Any, settings: RaySettings) -> int:
    have, gpus = ray.cluster_resources(), settings.gpus_per_worker
    if have.get("GPU", 0) < gpus:  # Ray would let the workers wait for ever
        raise OptionError(
            wanted=f"a Ray with {gpus:g} GPU for each worker",
            got=f"one with {have.get('GPU', 0):g}",
            hint="start Ray where a GPU is (`ray status` lists them), or give --device cpu",
        )
    most = have.get("GPU", 0) / gpus if gpus else have.get("CPU", 1)
    return settings.num_workers or max(1, int(most))
