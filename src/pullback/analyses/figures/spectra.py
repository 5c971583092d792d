"""Do spectra flatten as t goes to 0? Singular values and effective rank against t, pooled and whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pullback.analyses.context import Context
from pullback.analyses.plotting import COLOURS, NULL_STYLE, line_of_means, panels
from pullback.analyses.record import Outcome, Rows, column, distinct, finding
from pullback.analyses.sizes import Size
from pullback.geometry.nulls import random_spectra
from pullback.geometry.spectra import effective_rank, participation_ratio
from pullback.types import Pool

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Spectra of the Jacobian"
CAPTION = (
    "Singular values relative to the first, by timestep, and the effective rank of the same number of them: the number "
    "of directions that would count if all counted alike. Its most is the rank of the bases. Dashed: the same of "
    "matrices of independent Gaussian entries of the shape of J (matched), in which no direction stands out, and which "
    "are therefore as flat as the shape allows."
)
PAPER = (
    "2302.12469 chooses how many directions count by the share of the spectrum that they hold, and reports more "
    "of them near t = 0 than near T."
)
POOLS: tuple[Pool, ...] = ("none", "sum")


def num_bases(size: Size) -> int:
    """Two poolings; the same as for `psd`."""
    return 2 * size.num_samples * len(size.t_fractions)


def run(context: Context) -> Outcome:
    """Spectra of every sample, timestep and pooling."""
    rows, ranks, nulls = [], {}, {}
    for where, basis in context.bases_everywhere(POOLS):
        shape = basis.u.shape[1], basis.v[0].numel()
        if shape not in nulls:
            nulls[shape] = random_spectra(shape, basis.rank, generator=context.generator())
        null = nulls[shape]
        figures = {
            "effective_rank": float(effective_rank(basis.s)),
            "participation_ratio": float(participation_ratio(basis.s)),
            "effective_rank_null": float(effective_rank(null).mean()),
        }
        flat = (null / null.norm(dim=1, keepdim=True)).mean(0) * float(basis.s.norm())  # as long as the sample's own
        ranks.setdefault((where["t_fraction"], where["pool"]), []).append(figures["effective_rank"])
        rows += [
            {**where, "index": i, "s": float(s), "s_null": float(flat[i]), **figures} for i, s in enumerate(basis.s)
        ]
    first, last = max(context.size.t_fractions), min(context.size.t_fractions)
    change = np.array(ranks[last, "none"]) - np.array(ranks[first, "none"])
    note = f"Effective rank of the first {context.size.rank} singular values."
    return Outcome(rows, [finding("spectra flatten", change)], num=context.size.num_samples, note=note)


def draw(rows: Rows) -> Figure:
    """Relative spectra of whole and pooled h, and effective rank against t."""
    times = [float(t) for t in distinct(rows, "t_fraction")]
    figure, axes = panels(3)
    for axis, pool in zip(axes, ("none", "sum"), strict=False):
        for t, shade in zip(times, np.linspace(1.0, 0.3, len(times)), strict=True):
            kept = [row for row in rows if row["t_fraction"] == t and row["pool"] == pool]
            indices = [int(float(i)) for i in distinct(kept, "index")]
            means = np.array([column(kept, "s", index=i).mean() for i in indices])
            axis.semilogy(np.array(indices) + 1, means / means[0], color=COLOURS[0], alpha=shade, label=f"t/T {t:g}")
        null = np.array([column(rows, "s_null", pool=pool, index=i).mean() for i in distinct(rows, "index")])
        axis.semilogy(np.arange(len(null)) + 1, null / null[0], label="matched", **NULL_STYLE)
        axis.set(xlabel="index", ylabel="s / s_1", title="whole h" if pool == "none" else "sum-pooled h")
    axes[0].legend(frameon=False, fontsize=7)
    once = [row for row in rows if float(row["index"]) == 0]
    for pool, colour in zip(("none", "sum"), COLOURS, strict=False):
        kept = [row for row in once if row["pool"] == pool]
        label = "whole h" if pool == "none" else "sum-pooled h"
        line_of_means(axes[2], kept, x="t_fraction", y="effective_rank", at=times, label=label, colour=colour)
        null = [column(kept, "effective_rank_null", t_fraction=t)[0] for t in times]
        axes[2].plot(times, null, color=colour, linestyle="--", linewidth=1.0)
    axes[2].set(xlabel="t / T", ylabel="effective rank", ylim=(0, None))
    axes[2].legend(frameon=False, fontsize=7)
    return figure
