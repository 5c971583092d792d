"""The arithmetic of a large bank, printed: hours, storage, traffic, files, memory, and what gives out first.

    python tools/bank_scale.py [--seconds-per-product 0.006] [--workers 64] [--rank 8] [--toys FILE]
    python tools/bank_scale.py --measure [16] [--rank 8] [--group 1]

Sizes are those of Stable Diffusion at 512 pixels: x of 4 x 64 x 64, h of 1280 x 8 x 8, or its sum over positions. The
bank's own figures are read from what tools/bank_toys.py measured, but for memory: 20,000 units that are names alone are
written to a temporary folder and opened. Seconds a product are yours to measure: `pullback discover` prints them before
it starts. The default is an estimate, and is called so in the output. Products are by the
law that was measured on the portrait model at t/T 0.8: a sixth more at 0.5, a third more at 0.2.

With --measure nothing is estimated: so many units of the portrait model are computed into a bank of a temporary folder,
with the plan that is fastest here, and units a second and bytes a unit are printed.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import sys
import tempfile
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import torch

from pullback.bank import Bank, RunSettings, Storage, run_here
from pullback.bank.index import DONE, JOURNAL_SUFFIX, SHARDS, Keys, build_index
from pullback.bank.journal import line_of
from pullback.bank.request import BasisWork, ModelWork, Request, dims_of, measured_plan
from pullback.bank.shard import SUFFIX
from pullback.bank.storage import KeepU
from pullback.geometry.cost import GUARD, expected_products

DIM_X, DIM_H, CHANNELS = 4 * 64 * 64, 1280 * 8 * 8, 1280
NETWORK_PER_ENCODER = 4.0
"""A whole network call costs 3.4 to 4.7 times the encoder up to the mid block."""
STEPS = 10
"""Network calls that make x_t from noise, on average over t."""
ENCODER_TFLOP, SUSTAINED_TFLOPS = 0.17, 30.0
"""A quarter of the 0.68 TFLOP of one network call; float32 without TF32 on one H100 class card, at under half of its
67 TFLOP/s. Neither was measured here."""
SHARD = 64
NUM_OPENED = 20_000
"""Units of the bank that is opened to see what that takes."""
COUNTS = (10**6, 10**8)


@dataclass(frozen=True)
class Unit:
    """What one unit costs.

    Attributes:
        seconds: On one GPU.
        num_bytes: On disk.
    """

    seconds: float
    num_bytes: float


@dataclass(frozen=True)
class Memory:
    """Bytes a unit.

    Attributes:
        opening: The peak while the index is made.
        reader: What a reader keeps of it.
        driver: What a driver keeps.
    """

    opening: float
    reader: float
    driver: float


def main() -> int:
    """Prints everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds-per-product", type=float)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--toys", type=Path, default=Path("docs/results/bank_toys.json"))
    parser.add_argument("--measure", nargs="?", type=int, const=16, metavar="UNITS")
    parser.add_argument("--group", type=int, default=1)
    options = parser.parse_args()
    if options.measure:
        print(measured(options.measure, rank=options.rank, group=options.group))
        return 0
    toys = json.loads(options.toys.read_text())
    per_product = options.seconds_per_product or ENCODER_TFLOP * 1.5 / SUSTAINED_TFLOPS
    origin = "as given" if options.seconds_per_product else "an estimate: 0.17 TFLOP x 1.5 at 30 TFLOP/s"
    print(f"seconds a product   {per_product:.4f} ({origin})")
    with tempfile.TemporaryDirectory() as folder:
        memory = opened(Path(folder))
    print(f"memory a unit       opening {memory.opening:.0f} bytes, then {memory.reader:.0f} (reader)")
    print(f"                    or {memory.driver:.0f} (driver); measured on {NUM_OPENED:,} units")
    kinds: tuple[tuple[str, int, KeepU], ...] = (
        ("whole h, u fp16", DIM_H, "fp16"),
        ("whole h, u sketch", DIM_H, "sketch"),
        ("whole h, u none", DIM_H, "none"),
        ("summed h, u fp16", CHANNELS, "fp16"),
    )
    units = {name: unit(per_product, dim_h, keep, options.rank, toys) for name, dim_h, keep in kinds}
    for name, each in units.items():
        print(f"\n{name}: {each.seconds:.2f} s and {each.num_bytes / 1e6:.3f} MB a unit, rank {options.rank}")
        for count in COUNTS:
            report(count, each, options.workers, toys, memory)
    return 0


def measured(num: int, *, rank: int, group: int) -> str:
    """Computes units of the portrait model, and says what they took; loading and measuring the plan are left out."""
    begun = ModelWork(Request("portraits", num_samples=num, rank=rank), {})()
    plan, storage = measured_plan(begun, group=group), Storage(u="fp16", v="fp16")
    work = BasisWork(begun.model, begun.request, plan)
    with tempfile.TemporaryDirectory() as folder:
        bank = Bank.make(folder, RunSettings(storage=storage, group=group, plan=plan))
        start = time.perf_counter()
        tally = run_here(bank, work.units(), lambda: work)
        seconds = (time.perf_counter() - start) / num
        if tally.num_computed < num:
            sys.exit(f"{len(tally.failed)} units failed")
        num_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / num
        facts = [row.facts for row in bank.reader().rows()]
    products = sum(each["jvp"] + each["vjp"] for each in facts) / num
    dim_h, dim_x = dims_of(work)
    announced = storage.bytes_per_unit(rank=rank, dim_h=dim_h, dim_x=dim_x)
    return "\n".join(
        (
            f"portraits at t/T 0.8, rank {rank}, {num} units, {group} at a time, {torch.get_num_threads()} threads",
            f"units a second      {1 / seconds:.3f}: {seconds:.2f} s a unit, {products:.0f} products each",
            f"bytes a unit        {num_bytes:,.0f} on disk, {announced:,.0f} announced",
        )
    )


def opened(folder: Path) -> Memory:
    """Opens a bank of names alone, and says what it took."""
    for part in (SHARDS, DONE):
        (folder / part).mkdir()
    lines = []
    for start in range(0, NUM_OPENED, SHARD):
        name = f"main-{start:09d}{SUFFIX}"
        (folder / SHARDS / name).write_bytes(b"x")
        places = range(start, min(start + SHARD, NUM_OPENED))
        ids = [hashlib.sha256(str(i).encode()).hexdigest()[:32] for i in places]
        lines.append(line_of({"shard": name, "bytes": 1, "keys": ids, "ids": ids}))
    (folder / DONE / f"main{JOURNAL_SUFFIX}").write_bytes(b"".join(lines))
    build_index(folder)  # what is imported or cached once is no unit's
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    index = build_index(folder)
    gc.collect()
    kept, peak = tracemalloc.get_traced_memory()
    keys = Keys(index.keys)
    del index
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del keys
    return Memory(*((value - before) / NUM_OPENED for value in (peak, kept, held)))


def unit(per_product: float, dim_h: int, keep: KeepU, rank: int, toys: dict[str, float]) -> Unit:
    """Seconds and bytes of one unit."""
    products = min(expected_products(rank + GUARD, 1), dim_h)
    walk = STEPS * NETWORK_PER_ENCODER * per_product / 1.5  # forward passes alone
    tensors = Storage(u=keep, v="fp16").bytes_per_unit(rank=rank, dim_h=dim_h, dim_x=DIM_X)
    names = toys["bytes_per_unit_on_disk"]  # a toy's tensors are 180 of them; what is left is names, ids, facts
    return Unit(products * per_product + walk, tensors + names)


def report(count: int, each: Unit, workers: int, toys: dict[str, float], memory: Memory) -> None:
    """One count of units."""
    gpu_hours = count * each.seconds / 3600
    days = gpu_hours / workers / 24
    storage = count * each.num_bytes
    per_second = workers * each.num_bytes / each.seconds
    resume_us = toys["resume_seconds"] / toys["units"] * 1e6
    figures = {
        "GPU-hours": f"{gpu_hours:,.0f} = {count:,} x {each.seconds:.2f} s / 3600",
        f"days on {workers}": f"{days:,.1f}",
        "storage": f"{storage / 1e12:,.2f} TB = {count:,} x {each.num_bytes / 1e6:.3f} MB",
        "traffic while it runs": f"{per_second / 1e6:,.1f} MB/s from {workers} workers",
        "one pass of a mean": f"{storage / 1e9 / 3600:,.1f} h at 1 GB/s",
        "files": f"{count / SHARD:,.0f} of {SHARD} units, {each.num_bytes * SHARD / 1e6:,.0f} MB each",
        "memory while opening": f"{count * memory.opening / 1e9:,.2f} GB at {memory.opening:.0f} bytes a unit",
        "memory of reader, driver": f"{count * memory.reader / 1e9:,.2f} and {count * memory.driver / 1e9:,.2f} GB",
        "to find what is left": f"{count * resume_us / 1e6 / 60:,.1f} min at {resume_us:.0f} us a unit",
        "bank's own share": f"{toys['ms_per_unit_beyond_computation'] / 1e3 / each.seconds:.3%} of the time",
    }
    print(f"  {count:,} units")
    for name, value in figures.items():
        print(f"    {name:26}{value}")
    print(f"    {'gives out first':26}{first_limit(days, storage, count)}")


def first_limit(days: float, storage: float, count: int) -> str:
    """What a group with 64 GPUs and a 100 TB file system meets first."""
    if storage > 100e12:
        return "storage, above 100 TB: drop or sketch u, or lower the rank"
    if count / SHARD > 1e6:
        return "files in one folder, above a million: split the run by seeds into several banks"
    return f"GPU time: {days:,.1f} days"


if __name__ == "__main__":
    sys.exit(main())
