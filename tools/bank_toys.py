"""10^5 toy units: what the bank itself costs in time, memory and bytes.

    python tools/bank_toys.py [--units 100000] [--out docs/results/bank_toys.json]

Three runs, each in a process of its own: a tenth of the units, all of them, and the finished bank again. The cost of a
unit is the run's time less that of computing the same units without a bank. Exits with 1 if a promise was broken: at
most 2 ms a unit, at most 10 s to find that nothing is left, and a peak of memory that all the units raise over a tenth
of them by less than 1 kB each. Times are judged by the processor, since other programs may share the machine, and also
by the clock, which holds waits for the disk and for them, if the load average was below half a processor at the start.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pullback.bank import Bank, RunSettings, run_here
from pullback.bank.toy import ToyWork, toy_units
from pullback.files import write_json

MS_PER_UNIT, RESUME_SECONDS, BYTES_PER_UNIT = 2.0, 10.0, 1000
QUIET_LOAD = 0.5


def main() -> int:
    """Runs, prints, judges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measured(Path(options.child[0]), int(options.child[1]))))
        return 0
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as place:
        tenth = child(Path(place) / "tenth", options.units // 10)
        shutil.rmtree(Path(place) / "tenth")
        whole = child(Path(place) / "whole", options.units)
        again = child(Path(place) / "whole", options.units)
        num_bytes = sum(path.stat().st_size for path in (Path(place) / "whole").rglob("*") if path.is_file())
    bare = {name: 50 * value for name, value in bare_seconds(options.units // 50).items()}
    result = {
        "units": options.units,
        "ms_per_unit_beyond_computation": round((whole["cpu"] - bare["cpu"]) / options.units * 1e3, 3),
        "ms_per_unit_computation": round(bare["cpu"] / options.units * 1e3, 3),
        "resume_seconds": round(again["cpu"], 2),
        "clock_ms_per_unit_beyond_computation": round((whole["clock"] - bare["clock"]) / options.units * 1e3, 3),
        "clock_resume_seconds": round(again["clock"], 2),
        "load_average_before": round(load, 1),
        "load_average": round(os.getloadavg()[1], 1),
        "resume_computed": again["computed"],
        "peak_mb_of_a_tenth": round(tenth["peak_bytes"] / 1e6, 1),
        "peak_mb": round(whole["peak_bytes"] / 1e6, 1),
        "peak_mb_of_resume": round(again["peak_bytes"] / 1e6, 1),
        "bytes_per_unit_on_disk": round(num_bytes / options.units),
    }
    growth = (whole["peak_bytes"] - tenth["peak_bytes"]) / (options.units * 0.9)
    result["peak_bytes_per_further_unit"] = round(growth)
    judged = ["cpu", "clock"] if load < QUIET_LOAD else ["cpu"]
    is_fast = all(
        (whole[each] - bare[each]) / options.units * 1e3 < MS_PER_UNIT and again[each] < RESUME_SECONDS
        for each in judged
    )
    is_kept = is_fast and again["computed"] == 0 and growth < BYTES_PER_UNIT
    for name, value in result.items():
        print(f"{name:34}{value:>14,}")
    print(f"{'every promise kept' if is_kept else 'FAILED'}, judged by {' and '.join(judged)}")
    if options.out:
        write_json(options.out, result)
    return int(not is_kept)


def child(folder: Path, num: int) -> dict[str, float]:
    """One run in a process of its own, so that its peak of memory is its own."""
    command = [sys.executable, __file__, "--child", str(folder), str(num)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measured(folder: Path, num: int) -> dict[str, float]:
    """Seconds and peak memory of a run."""
    start = time.perf_counter(), time.process_time()
    tally = run_here(Bank.make(folder, RunSettings(shard_size=64)), toy_units(num), ToyWork())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {**since(*start), "peak_bytes": peak, "computed": tally.num_computed}


def bare_seconds(num: int) -> dict[str, float]:
    """Seconds of computing units without a bank."""
    work, start = ToyWork(), (time.perf_counter(), time.process_time())
    for unit in toy_units(num):
        work.compute([unit])
    return since(*start)


def since(clock: float, cpu: float) -> dict[str, float]:
    """Seconds on the clock and of the processor."""
    return {"clock": time.perf_counter() - clock, "cpu": time.process_time() - cpu}


if __name__ == "__main__":
    sys.exit(main())
