"""``python -m benchmarks run | compare | plot``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import tyro
from tyro.conf import Positional

from benchmarks.record import Record, Row, compared, medians, say

RANKS = (10, 50)
LARGE = ("exact", "celebahq-64px", "celebahq-64px-wide", "celebahq-256px")
OFTEN = ("memory", "discover", "edit", "batching", "growth", "planner", "engines", "algebra", "pooled", "compiled")
NUM_RUNS = 3
"""Of parts whose times differ from run to run; others have medians of their own, count products, or take an hour."""


def run(
    out: Positional[Path],
    *,
    only: tuple[str, ...] = (),
    num: int = 8,
    runs: int | None = None,
    large: bool = False,
    first: Path | None = None,
) -> None:
    """Measure, print the tables, write JSON; tables that are in the file already and not asked for are kept.

    Args:
        out: JSON file; a run into an existing one replaces the tables it measures.
        only: Parts to run: accuracy10, accuracy50, memory, discover, edit, batching, growth, planner, engines, algebra,
            ideas, starts, pooled, compiled, spectra, gpu-256px, gpu-portraits, gpu-batches, gpu-replayed; exact,
            celebahq-64px, celebahq-64px-wide and celebahq-256px when named, or with --large.
        num: Samples at each timestep of the accuracy tables.
        runs: Runs of each part, of which the tables have medians and ranges: 3 by default of parts whose times differ.
        first: A worktree of the first version (git worktree add PATH 154b00b), for `discover` to run beside ours.
        large: Also what takes hours on a CPU: the dense confirmation, and the 256-px architecture.
    """
    parts = _parts(num, first)
    names = only or tuple(name for name in parts if large or name not in LARGE)
    unknown = [name for name in names if name not in parts]
    if unknown:
        sys.exit(f"unknown part {', '.join(unknown)}; parts are {', '.join(parts)}")
    record = Record.load(out) if out.exists() else Record()
    if others := record.elsewhere():
        sys.exit(f"{out} was measured on another machine or with other versions ({others}); write to another file")
    for name in names:
        start = time.perf_counter()
        print(f"{name} ...", file=sys.stderr, flush=True)
        record.add(medians([parts[name]() for _ in range(runs or (NUM_RUNS if name in OFTEN else 1))]))
        record.save(out)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    print(record.markdown())


def show(record: Positional[Path]) -> None:
    """Print the tables of a run.

    Args:
        record: JSON that `run` wrote.
    """
    print(Record.load(record).markdown())


def compare(before: Positional[Path], after: Positional[Path]) -> None:
    """Print ratios of two runs.

    Args:
        before: JSON of the one.
        after: JSON of the other.
    """
    print(compared(Record.load(before), Record.load(after)))


def plot(record: Positional[Path], picture: Positional[Path]) -> None:
    """Draw growth with rank, image size and batch.

    Args:
        record: JSON that `run` wrote.
        picture: PNG to write.
    """
    from benchmarks.growth import plot as draw

    draw(Record.load(record), picture)


def _parts(num: int, first: Path | None) -> dict[str, Callable[[], list[Row]]]:
    from benchmarks import gpu, ideas, large, memory, pipeline, planner, starts, traced
    from benchmarks.growth import growth_rows
    from benchmarks.solvers import portraits_rows

    return {
        **{f"accuracy{rank}": partial(portraits_rows, rank=rank, num=num, progress=say) for rank in RANKS},
        "memory": memory.memory_rows,
        "discover": partial(pipeline.discover_rows, first=first),
        "edit": pipeline.edit_rows,
        "batching": pipeline.batching_rows,
        "growth": growth_rows,
        "planner": planner.planner_rows,
        "engines": ideas.engine_rows,
        "algebra": ideas.algebra_rows,
        "ideas": ideas.idea_rows,
        "starts": partial(starts.portraits_rows, num=min(num, 2)),
        "pooled": ideas.pooled_rows,
        "compiled": traced.traced_rows,
        "spectra": ideas.spectrum_rows,
        **gpu.gpu_parts(),
        "exact": large.dense_rows,
        "celebahq-64px": partial(large.celebahq_small_rows, num=num),
        "celebahq-64px-wide": partial(large.celebahq_wide_rows, num=num),
        "celebahq-256px": large.celebahq_rows,
    }


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "show": show, "compare": compare, "plot": plot})
