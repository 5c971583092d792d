"""Do spectra flatten as t goes to 0? Singular values, effective rank and the rank rule against t, pooled and whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pullback.analyses.context import Context
from pullback.analyses.halves import NOT_MADE, Half, estimated_half, exact_half, random_half, where_exact
from pullback.analyses.plotting import COLOURS, NULL_STYLE, POOLS, line_of_means, panels, shades
from pullback.analyses.record import Outcome, Rows, column, distinct, finding
from pullback.analyses.sizes import Size
from pullback.geometry import TangentBasis
from pullback.geometry.nulls import random_spectra
from pullback.geometry.spectra import effective_rank, participation_ratio
from pullback.models import NetworkFeatureMap
from pullback.types import Pool

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Spectra of the Jacobian"
CAPTION = (
    "Singular values relative to the first, by timestep, and the effective rank of the same number of them: the number "
    "of directions that would count if all counted alike. Its most is the rank of the bases. Last, how many of all "
    "directions hold half of the sum of s^2: of the sum-pooled h from all its singular values, of the whole h from "
    "those of a basis and an estimate of the rest; a triangle where it takes more than a basis has. Dashed: the same "
    "of matrices of independent Gaussian entries of the shape of J, in which no direction stands out, and "
    "which are therefore as flat as the shape allows."
)
PAPER = (
    "2302.12469 chooses how many directions count by the share of the spectrum that they hold, and reports more "
    "of them near t = 0 than near T."
)


def num_bases(size: Size) -> int:
    """Two poolings; the same as for `psd`. The rank rule takes products besides, and no basis: see `halves`."""
    return 2 * size.num_samples * len(size.t_fractions)


def run(context: Context) -> Outcome:
    """Spectra of every sample, timestep and pooling."""
    size, rows, nulls = context.size, [], {}
    for place, t_fraction in enumerate(size.t_fractions):
        x = context.latents(t_fraction, size.num_samples)
        for pool in POOLS:
            f = context.feature_map(t_fraction, pool=pool)
            bases = context.bases(f, x)
            found = _halves(context, f, x, bases, pool=pool, place=place)
            shape = bases[0].u.shape[1], bases[0].v[0].numel()
            if shape not in nulls:
                nulls[shape] = _null(context, shape, is_whole=found[0].is_exact)
            for sample, (basis, half) in enumerate(zip(bases, found, strict=True)):
                where = {"t_fraction": t_fraction, "pool": str(pool), "sample": sample}
                rows += [{**where, **row} for row in _rows(basis, half, *nulls[shape])]
    change = _at(rows, min(size.t_fractions)) - _at(rows, max(size.t_fractions))
    return Outcome(rows, [finding("spectra flatten", change)], num=size.num_samples, note=note_of(rows))


def _halves(
    context: Context, f: NetworkFeatureMap, x: Tensor, bases: Sequence[TangentBasis], *, pool: Pool, place: int
) -> list[Half]:
    """The rank rule at each latent of one timestep; pooled, exact where that is affordable, and then only there."""
    plan, dims = context.plan(f, x), (bases[0].u.shape[1], bases[0].v[0].numel())
    size = context.size
    num, places = where_exact(dims, rank=size.rank, num_samples=len(x), num_times=len(size.t_fractions))
    if pool == "none" or num == 0:
        generator = context.generator(place)
        return [
            estimated_half(f, latent, basis, plan=plan, generator=generator)
            for latent, basis in zip(x, bases, strict=True)
        ]
    made: list[Half] = []
    for part in x[:num].split(context.batch) if place in places else ():
        made += exact_half(f, part, rank=size.rank, plan=plan)
    return made + [NOT_MADE] * (len(x) - len(made))


def _null(context: Context, shape: tuple[int, int], *, is_whole: bool) -> tuple[Tensor, float]:
    """Spectra of random matrices, and the rank rule of one where it is known of J."""
    spectra = random_spectra(shape, context.size.rank, generator=context.generator())
    return spectra, random_half(shape, generator=context.generator()) if is_whole else float("nan")


def _rows(basis: TangentBasis, half: Half, null: Tensor, half_null: float) -> list[dict[str, float]]:
    """A row for each singular value of a basis, with what they are together."""
    flat = (null / null.norm(dim=1, keepdim=True)).mean(0) * float(basis.s.norm())  # as long as the sample's own
    figures = {
        "effective_rank": float(effective_rank(basis.s)),
        "participation_ratio": float(participation_ratio(basis.s)),
        "effective_rank_null": float(effective_rank(null).mean()),
        "rank_half": half.squares,
        "rank_half_of_s": half.values,
        "rank_half_null": half_null,
        "share_held": half.held,
        "is_exact": int(half.is_exact),
    }
    return [{"index": i, "s": float(s), "s_null": float(flat[i]), **figures} for i, s in enumerate(basis.s)]


def note_of(rows: Rows) -> str:
    """What the rank rule gives at both ends, by pooling."""
    rank, told = len(distinct(rows, "index")), []
    times = [float(t) for t in distinct(rows, "t_fraction")]
    for pool, label in POOLS.items():
        once = _once(rows, pool)
        first, last = (_told([row for row in once if row["t_fraction"] == t], rank) for t in (max(times), min(times)))
        num = len(distinct([row for row in once if row["is_exact"]], "sample"))
        how = f"exactly, of {num} samples" if num else "by an estimate of the total"
        told.append(f"{label} {first} at t/T = {max(times):g} and {last} at {min(times):g} ({how})")
    return f"Effective rank of the first {rank} singular values. Half of the sum of s^2 is held by: {'; '.join(told)}."


def _told(rows: Rows, rank: int) -> str:
    """The mean rank, or that it is above that of the bases, with the share that they hold."""
    ranks = _known(column(rows, "rank_half"))
    if np.isfinite(ranks).all():
        of_s = _known(column(rows, "rank_half_of_s"))
        return f"{ranks.mean():.1f}" + (f" (of s: {of_s.mean():.1f})" if len(of_s) else "")
    return f"more than {rank}, which hold {_known(column(rows, 'share_held')).mean():.0%},"


def _at(rows: Rows, t_fraction: float) -> np.ndarray:
    """Effective rank of the whole h of each sample."""
    return column(_once(rows, "none"), "effective_rank", t_fraction=t_fraction)


def _once(rows: Rows, pool: str) -> Rows:
    """One row a sample and timestep."""
    return [row for row in rows if row["pool"] == pool and float(row["index"]) == 0]


def _known(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]


def draw(rows: Rows) -> Figure:
    """Relative spectra of whole and pooled h; effective rank, and the rank rule where it was measured, against t."""
    times = [float(t) for t in distinct(rows, "t_fraction")]
    has_rule = "rank_half" in rows[0]  # not in tables of before the rule was measured
    figure, axes = panels(4 if has_rule else 3, num_rows=2 if has_rule else 1)
    for axis, (pool, label) in zip(axes, POOLS.items(), strict=False):
        _spectra(axis, [row for row in rows if row["pool"] == pool], times)
        axis.set(xlabel="index", ylabel="s / s_1", title=label, yscale="log")
    axes[0].legend(frameon=False, fontsize=6, ncols=2, loc="upper right", bbox_to_anchor=(1, 0.96))  # below the null
    for (pool, label), colour in zip(POOLS.items(), COLOURS, strict=False):
        kept = _once(rows, pool)
        line_of_means(axes[2], kept, x="t_fraction", y="effective_rank", at=times, label=label, colour=colour)
        null = [column(kept, "effective_rank_null", t_fraction=t)[0] for t in times]
        axes[2].plot(times, null, color=colour, linestyle="--", linewidth=1.0)
        if has_rule:
            _rule(axes[3], kept, times, rank=len(distinct(rows, "index")), label=label, colour=colour)
    axes[2].set(xlabel="t / T", ylabel="effective rank", ylim=(0, None))
    axes[2].legend(frameon=False, fontsize=7)
    if has_rule:
        axes[3].set(xlabel="t / T", ylabel="rank that holds half of s^2", ylim=(0, None))
        axes[3].legend(frameon=False, fontsize=7, loc="center right", bbox_to_anchor=(1, 0.36))
    return figure


def _spectra(axis: Axes, rows: Rows, times: Sequence[float]) -> None:
    """Singular values relative to each sample's first, by t, and those of the null."""
    first = {(row["t_fraction"], row["sample"]): float(row["s"]) for row in rows if float(row["index"]) == 0}
    lead = {key: max(s, 1e-30) for key, s in first.items()}
    at = [float(i) for i in distinct(rows, "index")]
    for t, shade in zip(times, shades(len(times)), strict=True):
        kept = [
            {"place": float(row["index"]) + 1, "share": float(row["s"]) / lead[row["t_fraction"], row["sample"]]}
            for row in rows
            if row["t_fraction"] == t
        ]
        places = [i + 1 for i in at]
        line_of_means(axis, kept, x="place", y="share", at=places, label=f"t/T {t:g}", colour=shade, style="-")
    null = np.array([column(rows, "s_null", index=i).mean() for i in at])
    axis.plot(np.array(at) + 1, null / null[0], label="random matrix", **NULL_STYLE)


def _rule(axis: Axes, rows: Rows, times: Sequence[float], *, rank: int, label: str, colour: str) -> None:
    """The rank rule against t where all samples reached it; where one did not, a triangle at the rank of the bases."""
    known = [row for row in rows if not np.isnan(float(row["rank_half"]))]
    at = [t for t in times if len(column(known, "rank_half", t_fraction=t))]
    reached = [t for t in at if np.isfinite(column(known, "rank_half", t_fraction=t)).all()]
    if reached:
        line_of_means(axis, known, x="t_fraction", y="rank_half", at=reached, label=label, colour=colour)
    beyond = [t for t in at if t not in reached]
    if beyond:
        axis.plot(beyond, [rank] * len(beyond), "^", color=colour, markersize=5, label=f"{label}: more than {rank}")
    null = float(rows[0]["rank_half_null"])
    if np.isfinite(null):
        axis.plot(times, [null] * len(times), color=colour, linestyle="--", linewidth=1.0)
