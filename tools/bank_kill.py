"""Kills runs of toy units with SIGKILL, at every step of the write protocol and at random times, and finishes them.

    python tools/bank_kill.py [--folder DIR] [--times 20] [--out docs/results/bank_kill.csv]

With --folder it does so there: try the network file system that you mean to use. Exits with 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import tempfile
import time
from pathlib import Path

import torch

from pullback.bank import RunSettings
from pullback.bank.toy import STEPS, KillAt
from pullback.bank.trial import Outcome, strike, undisturbed
from pullback.files import write_atomic

SETTINGS = RunSettings(shard_size=16, group=2)
NUM = 400
OCCURRENCES = (1, 2, 9)
FIELDS = ("kill", "landed", "units safe", "units again", "equal", "orphans after clean", "kept")


def main() -> int:
    """Strikes, prints a line a kill, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows, num_kept = [], 0
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        start = time.perf_counter()
        wanted = undisturbed(Path(place) / "whole", num=NUM, settings=SETTINGS)
        seconds = time.perf_counter() - start
        for number, (name, kill, after) in enumerate(kills(options.times, seconds)):
            outcome, num_tries = None, 0
            while outcome is None or not outcome.was_killed:  # a run may be over before its time comes: strike again
                folder = Path(place) / f"{number}-{num_tries}"
                after_now = after / (1 + num_tries)
                outcome = strike(folder, num=NUM, settings=SETTINGS, wanted=wanted, kill=kill, after=after_now)
                num_tries += 1
                if num_tries > 5:
                    break
            is_kept = outcome.holds(SETTINGS.shard_size) and outcome.was_killed
            num_kept += is_kept
            rows.append(row(name, outcome, is_kept))
            print("\t".join(map(str, rows[-1])), flush=True)
    if options.out:
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows([FIELDS, *rows])
        write_atomic(options.out, table.getvalue().encode())
    print(f"{num_kept} of {len(rows)} kills kept every promise; {NUM} units, {SETTINGS.shard_size} a shard")
    return int(num_kept < len(rows))


def kills(num_times: int, seconds: float) -> list[tuple[str, KillAt | None, float]]:
    """Every step at its first, second and ninth occurrence; and times drawn evenly over most of a run's length."""
    steps = [(f"{step} {nth}", KillAt(step, nth), 0.0) for step in STEPS for nth in OCCURRENCES]
    times = (torch.rand(num_times, generator=torch.Generator().manual_seed(0)) * 0.7 * seconds).tolist()
    return [*steps, *[(f"after {after:.3f} s", None, after) for after in times]]


def row(name: str, outcome: Outcome, is_kept: bool) -> tuple[object, ...]:
    """One line of the table."""
    wreck = outcome.wreck
    return (name, wreck.place, wreck.num_stored, outcome.num_again, outcome.is_equal, outcome.num_orphans, is_kept)


if __name__ == "__main__":
    sys.exit(main())
