"""How cost grows with rank, image size and batch: rows, and their plot."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cases import Case, portraits, portraits_of_size
from benchmarks.record import Record, Row
from pullback.directions import local_basis
from pullback.geometry import measure_plan

RANK_TABLE, SIZE_TABLE, BATCH_TABLE = "Growth with rank", "Growth with image size", "Growth with batch"


def growth_rows(
    *,
    ranks: Sequence[int] = (2, 5, 10, 20, 50, 100),
    sizes: Sequence[int] = (32, 64, 96, 128),
    batches: Sequence[int] = (1, 2, 4, 8),
) -> list[Row]:
    """Products and seconds of a verified basis on portraits by rank, by size of the pictures, and by batch."""
    case = portraits(t_fractions=(0.8,), num=max(batches))[0]
    rows = [_row(RANK_TABLE, case, rank, 1, float(rank)) for rank in ranks]
    rows += [_row(SIZE_TABLE, portraits_of_size(size, num=1), 10, 1, float(size)) for size in sizes]
    return rows + [_row(BATCH_TABLE, case, 10, batch, float(batch)) for batch in batches]


def _row(table: str, case: Case, rank: int, batch: int, at: float) -> Row:
    x = case.x[:batch]
    plan = measure_plan(case.f, x, rank=rank)
    start = time.perf_counter()
    basis = local_basis(case.f, x, rank=rank, plan=plan)
    seconds = time.perf_counter() - start
    figures = {
        "at": at,
        "products a sample": basis.products.total / batch,
        "products / 2k": basis.products.total / batch / (2 * rank),
        "seconds a sample": seconds / batch,
        "Krylov MiB": basis.krylov_bytes / 2**20,
    }
    return Row(table, f"{case.name}, k = {rank}, batch {batch}" if table != SIZE_TABLE else f"{at:.0f} px", figures)


def plot(record: Record, path: Path) -> None:
    """Draws the three tables of growth side by side."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    panels = ((RANK_TABLE, "rank k", "products a sample"), (SIZE_TABLE, "image size, px", "seconds a sample"))
    panels += ((BATCH_TABLE, "samples in a batch", "seconds a sample"),)
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    for axis, (table, label, figure_name) in zip(axes, panels, strict=True):
        rows = [row for row in record.rows if row.table == table]
        at = [float(row.figures["at"] or 0) for row in rows]
        axis.plot(at, [float(row.figures[figure_name] or 0) for row in rows], "o-", color="#225588", label="measured")
        if table == RANK_TABLE:
            axis.plot(at, [2 * k for k in at], "--", color="#999999", label="2k, the least with a certificate")
            axis.legend(frameon=False)
        axis.set(xlabel=label, ylabel=figure_name, title=table, ylim=(0, None), xlim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
