"""Directions that samples share: found again in others? By three kinds of mean, and against local ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch
from torch import Tensor

from pullback.analyses.context import Context
from pullback.analyses.moves import SCALE, Moved, edit_time, flat, frames_of, moved, odd
from pullback.analyses.plotting import NULL_STYLE, SOFT, dots, panels, sheet
from pullback.analyses.reading import reader_of, told
from pullback.analyses.record import Finding, Outcome, Rows, column, distinct, redrawn
from pullback.analyses.shared import discovered
from pullback.analyses.sizes import Size
from pullback.directions import Direction, agreement, rotated, split_half, with_agreement
from pullback.directions.estimators import directions_of
from pullback.directions.global_ import Match, medoid
from pullback.directions.subspace import MEAN_RESIDUAL
from pullback.edit import vectors_at
from pullback.geometry import TangentBasis
from pullback.geometry.frechet import MEAN_TOL
from pullback.measure.score import TINY, Array
from pullback.models import NetworkFeatureMap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Directions that samples share"
CAPTION = (
    "Agreement of directions with samples that took no part, less the 95 % of its matched null: the same samples' "
    "bases turned at random inside their own spans. Three kinds of mean, and the local directions of one typical "
    "sample; points are held-out samples, and so are the units of the intervals. Split-half: how alike a direction "
    "comes out of two halves of the samples; points are directions, with their mean and the largest of their nulls "
    "(ticks), and without interval. Transfer: how alike the effects on a held-out sample are to those on the others; "
    "ticks: the same for the directions turned at random among themselves (matched). Pictures: a sheet for each kind; "
    "rows are its directions, columns -, unedited, + of each held-out sample."
)
PAPER = (
    "2302.12469 averages the local directions of many samples that correspond to each other, and shows that one "
    "such direction edits samples alike."
)
MATCHES: tuple[Match, ...] = get_args(Match)
KINDS = (*MATCHES, "local")
MEAN_OF: dict[str, Match] = {name: name for name in MATCHES}
LEAST_TO_SPLIT = 4
UNKNOWN = float("nan")


def num_bases(size: Size) -> int:
    """Samples and held-out samples; the same for every mean."""
    return size.num_samples + size.num_held_out


def run(context: Context) -> Outcome:
    """Agreement, split-half agreement and transfer of all means and of local directions."""
    size, f = context.size, context.feature_map(edit_time(context.size))
    held_out = context.latents(edit_time(size), size.num_held_out, held_out=True)
    still = context.pictures(held_out[: _num_people(size)], f.t or 0)
    rows, pictures, residual = [], {}, 0.0
    for kind in KINDS:
        found, halves, bases = _directions(context, kind)
        moves = _moved(context, f, held_out, found[: size.num_shown])
        turned = rotated(list(found), generator=context.generator())[: size.num_shown]
        own, null = (transfer_of(context, each) for each in (moves, _moved(context, f, held_out, turned)))
        each = per_sample(found, bases)
        rows += [
            {
                "kind": kind,
                "index": i,
                "sample": sample,
                "agreement": float(each[i, sample]),
                "null": direction.agreement_null or 0.0,
                "split_half": halves[i][0],
                "split_half_null": halves[i][1],
                "transfer": float(own[i, sample]) if i < len(own) else UNKNOWN,
                "transfer_null": float(null[i, sample]) if i < len(null) else UNKNOWN,
            }
            for i, direction in enumerate(found)
            for sample in range(len(held_out))
        ]
        pictures[kind] = _sheet(context, still, moves.x0)
        residual = max([residual, *(float(u.origin.get(MEAN_RESIDUAL, 0.0)) for u in found)])
    found = discovered(context)
    note = (
        f"n is the number of held-out samples; {len(found)} directions at t/T = {edit_time(size):g}. {told(context)} "
        f"{stopped(residual)}The first {min(size.num_shown, len(found))} are edited, at scales -{SCALE:g}, 0, "
        f"{SCALE:g}."
    )
    return Outcome(rows, [found_again(found, found.held_out_bases)], pictures, size.num_held_out, note)


def stopped(residual: float) -> str:
    """A sentence on a mean subspace that is not one to the digits asked for.

    Example:
        >>> stopped(1e-9), stopped(2e-4)
        ('', 'The mean subspace stopped at a mean tangent of 0.0002 rad: the spaces are too far apart for one. ')
    """
    if residual <= MEAN_TOL:
        return ""
    return f"The mean subspace stopped at a mean tangent of {residual:.1g} rad: the spaces are too far apart for one. "


def _moved(context: Context, f: NetworkFeatureMap, x: Tensor, directions: Sequence[Direction]) -> Moved:
    return moved(context, f, x, vectors_at(f, x, directions).transpose(0, 1))


def transfer_of(context: Context, moves: Moved) -> Array:
    """How alike the effects of each direction on a sample are to those on the others: `(K, S)`.

    The mean over samples is `pullback.measure.score.transfer`.
    """
    effects = odd(reader_of(context).factors(flat(moves)), moves).transpose(1, 0, 2)  # (K, S, F)
    return transfer_each(effects)


def transfer_each(effects: Array) -> Array:
    """``mean_{s' != s} <e_s, e_s'> / mean_s |e_s|^2`` of effects `(K, S, F)`: `(K, S)`.

    Example:
        >>> transfer_each(np.array([[[1.0, 0.0], [1.0, 0.0], [-2.0, 0.0]]])).tolist()
        [[-0.25, -0.25, -1.0]]
    """
    products = effects @ effects.transpose(0, 2, 1)  # (K, S, S)
    energy = products.diagonal(axis1=1, axis2=2)
    alike = (products.sum(axis=2) - energy) / (effects.shape[1] - 1)
    return alike / np.maximum(energy.mean(axis=1, keepdims=True), TINY)


def per_sample(directions: Sequence[Direction], held_out: Sequence[TangentBasis]) -> Array:
    """Agreement of each direction with each held-out sample: `(K, S)`."""
    return np.array([[agreement(u, [basis]) for basis in held_out] for u in directions])


def found_again(directions: Sequence[Direction], held_out: Sequence[TangentBasis]) -> Finding:
    """Agreement less its null, mean over directions; directions and held-out samples drawn again for the interval.

    Args:
        directions: With their nulls.
        held_out: Bases of the samples that agreement was measured on.
    """
    gained = per_sample(directions, held_out) - np.array([u.agreement_null or 0.0 for u in directions])[:, None]
    ends = redrawn(lambda rows, samples: float(gained[rows][:, samples].mean()), *gained.shape)
    return Finding("global directions are found again", float(gained.mean()), *ends, 0.0, min(gained.shape))


def _directions(
    context: Context, kind: str
) -> tuple[Sequence[Direction], list[tuple[float, float]], Sequence[TangentBasis]]:
    """Directions with their agreement, split-half agreement and null of each, and the held-out bases."""
    match = MEAN_OF.get(kind, "nearest")
    found = discovered(context, match=match)
    if kind == "local":
        typical = found.bases[medoid(torch.stack([basis.u for basis in found.bases]))]
        local = with_agreement(directions_of(typical), found.held_out_bases, generator=context.generator())
        return local, [(UNKNOWN, UNKNOWN)] * len(local), found.held_out_bases
    if len(found.bases) < LEAST_TO_SPLIT:
        return found, [(UNKNOWN, UNKNOWN)] * len(found), found.held_out_bases
    halves = split_half(found.bases, rank=context.size.rank, match=match, generator=context.generator())
    return found, [(each.value, each.null) for each in halves], found.held_out_bases


def _num_people(size: Size) -> int:
    """Half as many as elsewhere, since all four kinds have their pictures."""
    return min((size.num_people + 1) // 2, size.num_held_out)


def _sheet(context: Context, still: Tensor, x0: Tensor) -> bytes:
    """A row a direction; columns -, unedited, + of each sample."""
    frames, middle = frames_of(context, x0[: len(still)]), frames_of(context, still)
    people = range(len(still))
    return sheet(
        [
            [each for i in people for each in (frames[i, k, 0], middle[i], frames[i, k, 1])]
            for k in range(frames.shape[1])
        ]
    )


def draw(rows: Rows) -> Figure:
    """Agreement above its null, split-half agreement, transfer, each by kind."""
    figure, axes = panels(3)
    kinds = [str(kind) for kind in distinct(rows, "kind")]
    gained = [{**row, "gained": float(row["agreement"]) - float(row["null"])} for row in rows]
    dots(axes[0], {kind: by_sample(gained, "gained", kind) for kind in kinds})
    axes[0].axhline(0, **NULL_STYLE)
    axes[0].set(ylabel="agreement above the 95 % of its null")
    halves = {kind: _known(column(_once(rows), "split_half", kind=kind)) for kind in kinds}
    halves = {kind: values for kind, values in halves.items() if len(values)}
    axes[1].set(ylabel="split-half |cos|")
    if halves:
        dots(axes[1], halves, has_interval=False)
        _ticks(axes[1], [float(_known(column(rows, "split_half_null", kind=kind)).max()) for kind in halves])
        axes[1].set_ylim(min(0.0, *(float(values.min()) for values in halves.values())), 1.02)
    else:
        text = f"needs {LEAST_TO_SPLIT} samples"
        axes[1].text(0.5, 0.5, text, transform=axes[1].transAxes, ha="center", color=SOFT)
    spread = {kind: by_sample(rows, "transfer", kind) for kind in kinds}
    dots(axes[2], spread, is_of_pairs=True)
    if "transfer_null" in rows[0]:  # not in tables of before there was one
        _ticks(axes[2], [float(_known(column(rows, "transfer_null", kind=kind)).mean()) for kind in kinds])
    axes[2].set(ylabel="transfer", ylim=(min(0.0, *(float(values.min()) for values in spread.values())), 1.02))
    return figure


def by_sample(rows: Rows, name: str, kind: str) -> Array:
    """Mean over directions for each held-out sample; one mean for all in tables of before samples had rows."""
    samples = distinct(rows, "sample") if "sample" in rows[0] else [None]
    kept = [row for row in rows if row["kind"] == kind]
    return np.array([_known(column([row for row in kept if row.get("sample") == i], name)).mean() for i in samples])


def _once(rows: Rows) -> Rows:
    """One row a direction."""
    return [row for row in rows if row.get("sample", 0) == 0]


def _ticks(axis: Axes, nulls: Sequence[float]) -> None:
    for place, null in enumerate(nulls):
        axis.plot([place - 0.3, place + 0.3], [null, null], **NULL_STYLE)


def _known(values: Array) -> Array:
    return values[np.isfinite(values)]
