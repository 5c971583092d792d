"""Real failures under Ray: what each cost, and whether the bank came out as if nothing had happened.

    python tools/bank_ray.py [CASE ...] [--out docs/results/bank_ray.json]

Every case fills a bank of toy units on real actors, is disturbed for real (SIGKILL, a node taken away, memory used up),
and compares the content digest with an undisturbed run. Exits with 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.update({"RAY_memory_monitor_refresh_ms": "100"})

import torch

from pullback.bank import Answer, Bank, RunSettings, Tally, Unit, run_here
from pullback.bank.contents import content_digest
from pullback.bank.ray_backend import RaySettings, run_on_ray
from pullback.bank.toy import ToyWork, toy_units
from pullback.bank.verify import verify_bank
from pullback.files import write_json

NUM, WORKERS = 48, 2
SETTINGS = RunSettings(shard_size=4)
SECONDS_PER_UNIT = 0.05
TRIES = 1 + RaySettings().retries


@dataclass(frozen=True)
class RoughWork(ToyWork):
    """Toy units that take their time, and do harm at some seeds.

    Attributes:
        dies_once: Seeds whose unit kills its worker the first time.
        dies_always: Seeds whose unit kills every worker.
        eats: Seeds whose unit uses up the memory until it is stopped.
        asks: Seeds whose unit asks for more memory than there is.
        marks: A folder that remembers what has happened once.
    """

    dies_once: tuple[int, ...] = ()
    dies_always: tuple[int, ...] = ()
    eats: tuple[int, ...] = ()
    asks: tuple[int, ...] = ()
    marks: Path = Path()

    def compute(self, units: Sequence[Unit], /) -> list[Answer]:
        """As the toy does, slowly, unless harm is planted."""
        time.sleep(SECONDS_PER_UNIT * len(units))
        for unit in units:
            seed = int(unit.made["seed"])
            if seed in self.dies_always or (seed in self.dies_once and self._is_first(seed)):
                os.kill(os.getpid(), signal.SIGKILL)
            if seed in self.asks:
                torch.zeros(1 << 50)
            if seed in self.eats:
                eaten = []
                while True:
                    eaten.append(torch.ones(1 << 24))
                    time.sleep(0.02)
        return super().compute(units)

    def _is_first(self, seed: int) -> bool:
        try:
            (self.marks / str(seed)).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


@dataclass(frozen=True)
class Result:
    """One case.

    Attributes:
        case: What happened.
        is_equal: Whether the contents are those of an undisturbed run, less what was set aside.
        num_counted: Units that were computed, or seen to fail, each time they were.
        num_again: Of these, how many beyond one for each good unit and what its tries cost a bad one.
        num_allowed: The most that was promised.
        failed: First line of the error of each unit that was set aside.
        has_traceback: Whether each of those has one, or the reason of the death.
        is_sound: Whether `verify` found nothing wrong.
        seconds: Of the case.
    """

    case: str
    is_equal: bool
    num_counted: int
    num_again: int
    num_allowed: int
    failed: list[str]
    has_traceback: bool
    is_sound: bool
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether the promises were kept."""
        return self.is_equal and self.num_again <= self.num_allowed and self.has_traceback and self.is_sound


def judge(
    case: str,
    folder: Path,
    *,
    missing: Sequence[int] = (),
    counts_of_missing: int = 0,
    num_deaths: int = 0,
    start: float,
) -> Result:
    """Compares a finished bank with an undisturbed one.

    A unit that raises, or holds NaN, within the toy's work leaves a count at each try; one that kills its worker, or
    asks for too much, does so before, and leaves none.
    """
    bank, whole = Bank.open(folder / "bank"), Bank.make(folder / "whole", SETTINGS)
    run_here(whole, (u for u in toy_units(NUM) if u.made["seed"] not in missing), ToyWork())
    failed = [dict(entry) for entry in bank.reader().index.failed.values()]
    seeds = sorted(entry["unit"]["made"]["seed"] for entry in failed)
    counted = (folder / "counts").stat().st_size
    verdict = verify_bank(bank, clean=True)
    return Result(
        case=case,
        is_equal=content_digest(bank.reader()) == content_digest(whole.reader()) and seeds == sorted(missing),
        num_counted=counted,
        num_again=counted - (NUM - len(missing)) - counts_of_missing,
        num_allowed=num_deaths * SETTINGS.shard_size,
        failed=[str(entry["error"]).splitlines()[0][:80] for entry in failed],
        has_traceback=all(len(str(entry["traceback"])) > 40 for entry in failed),
        is_sound=verdict.is_sound,
        seconds=round(time.perf_counter() - start, 1),
    )


def run(folder: Path, work: RoughWork, address: str = "local") -> Tally:
    """Fills the bank of a case."""
    settings = RaySettings(address=address, num_workers=WORKERS)
    bank = Bank.make(folder / "bank", SETTINGS)
    return run_on_ray(bank, toy_units(NUM), work, settings=settings)


def rough(folder: Path, **harm: tuple[int, ...]) -> RoughWork:
    """The work of a case."""
    (folder / "marks").mkdir(exist_ok=True)
    return RoughWork(counts=folder / "counts", marks=folder / "marks", **harm)  # pyright: ignore[reportArgumentType]


def undisturbed(folder: Path) -> Result:
    """Nothing goes wrong."""
    start = time.perf_counter()
    run(folder, rough(folder))
    return judge("undisturbed", folder, start=start)


def worker_killed(folder: Path) -> Result:
    """Two workers get SIGKILL in the middle of a unit, once each."""
    start = time.perf_counter()
    run(folder, rough(folder, dies_once=(13, 30)))
    return judge("worker killed, twice", folder, num_deaths=2, start=start)


def poison(folder: Path) -> Result:
    """One unit raises every time, one holds NaN."""
    start = time.perf_counter()
    run(folder, rough(folder, raises=(5,), is_nan=(20,)))
    return judge("a unit that always raises, a NaN", folder, missing=(5, 20), counts_of_missing=2 * TRIES, start=start)


def killer(folder: Path) -> Result:
    """One unit kills every worker that takes it."""
    start = time.perf_counter()
    run(folder, rough(folder, dies_always=(7,)))
    return judge("a unit that always kills its worker", folder, missing=(7,), num_deaths=3, start=start)


def memory_asked(folder: Path) -> Result:
    """One unit asks for a petabyte."""
    start = time.perf_counter()
    run(folder, rough(folder, asks=(9,)))
    return judge("an allocation that fails in a worker", folder, missing=(9,), start=start)


def memory_eaten(folder: Path) -> Result:
    """One unit eats memory until Ray's monitor kills its worker."""
    start = time.perf_counter()
    total, free = (os.sysconf("SC_PAGE_SIZE") * os.sysconf(f"SC_{name}PHYS_PAGES") for name in ("", "AV"))
    threshold = {"RAY_memory_usage_threshold": f"{1 - (free - 3e9) / total:.3f}"}
    os.environ.update(threshold)
    try:
        run(folder, rough(folder, eats=(11,)))
    finally:
        for name in threshold:
            del os.environ[name]
    return judge("out of memory, killed by Ray's monitor", folder, missing=(11,), num_deaths=3, start=start)


def node_lost(folder: Path) -> Result:
    """A cluster of two nodes on this machine loses one in the middle; a new node comes later."""
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    start = time.perf_counter()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    lost = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()

    def lose() -> None:
        while len(list((folder / "bank" / "done").glob("*.jsonl"))) < 3 or shards(folder) < 3:
            time.sleep(0.05)
        cluster.remove_node(lost, allow_graceful=False)

    thread = threading.Thread(target=lose)
    thread.start()
    try:
        run(folder, rough(folder), str(cluster.address))
        thread.join()
    finally:
        cluster.shutdown()
    return judge("a node of two lost", folder, num_deaths=1, start=start)


def driver_killed(folder: Path) -> Result:
    """The driver gets SIGKILL when some shards are written, and is started again."""
    start = time.perf_counter()
    command = [sys.executable, __file__, "--drive", str(folder)]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while shards(folder) < 3:
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    time.sleep(5)  # its workers end with it, each at most one shard later
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return judge("driver killed and restarted", folder, num_deaths=WORKERS, start=start)


def shards(folder: Path) -> int:
    """Shards that are there."""
    return len(list((folder / "bank" / "shards").glob("*.safetensors")))


CASES: tuple[Callable[[Path], Result], ...] = (
    undisturbed,
    worker_killed,
    poison,
    killer,
    memory_asked,
    memory_eaten,
    node_lost,
    driver_killed,
)


def main() -> int:
    """Runs the cases that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help=", ".join(case.__name__ for case in CASES))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        run(options.drive, rough(options.drive))
        return 0
    results = []
    for case in CASES:
        if options.cases and case.__name__ not in options.cases:
            continue
        with tempfile.TemporaryDirectory() as folder:
            result = case(Path(folder))
        results.append(result)
        print(f"{'ok' if result.holds else 'FAILED':7}{json.dumps(dataclasses.asdict(result))}", flush=True)
    if options.out:
        rows = [dataclasses.asdict(result) for result in results]
        write_json(options.out, {"units": NUM, "workers": WORKERS, "shard_size": SETTINGS.shard_size, "cases": rows})
    print(f"{sum(result.holds for result in results)} of {len(results)} cases kept every promise")
    return int(not all(result.holds for result in results))


if __name__ == "__main__":
    sys.exit(main())
