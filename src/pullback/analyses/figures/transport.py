"""Does one sample's direction do the same to another? Transfer of h and of what is seen, against a matched null."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pullback.analyses.context import Context
from pullback.analyses.moves import SCALE, edit_time, flat, frames_of, moved, odd, quiet, unit_weights
from pullback.analyses.plotting import NULL_STYLE, dots, panels, sheet
from pullback.analyses.reading import cosines, reader_of, told
from pullback.analyses.record import Outcome, Rows, column, distinct, finding
from pullback.analyses.sizes import Size
from pullback.geometry import TangentBasis
from pullback.geometry.transport import retained_null, transport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "One sample's directions on another"
CAPTION = (
    "Top directions of a source, transported to a target; both are edited at the same scale. Cosine of what h does on "
    "the two, and of what is seen on the two; beside them the same for directions drawn at random in the source's own "
    "span, which its span alone would explain. The retained share is what is left of u in the target's tangent space; "
    "dashed, the most that a random direction of H keeps in 95 % of cases. Pictures: a source, then its targets."
)
PAPER = (
    "2307.12868 carries a direction of one sample to the tangent space of others, and shows the same attribute "
    "change there."
)
KINDS = ("own", "random in span")
NUM_TARGETS = 3


def num_bases(size: Size) -> int:
    """A source and a target for each pair."""
    return 2 * size.num_pairs


def run(context: Context) -> Outcome:
    """Pairs of samples that have no sample in common."""
    size, t_fraction = context.size, edit_time(context.size)
    f, reader = context.feature_map(t_fraction), reader_of(context)
    x = context.latents(t_fraction, 2 * size.num_pairs)
    bases = context.bases(f, x)
    num, generator, rows = min(size.num_shown, size.rank), context.generator(), []
    for pair in range(size.num_pairs):
        source, target = bases[2 * pair], bases[2 * pair + 1]
        weights = torch.cat([torch.eye(source.rank)[:num], unit_weights(num, source.rank, generator)])
        v, retained = carried(source, target, weights)
        moves = moved(context, f, x[2 * pair : 2 * pair + 2], v)
        seen = odd(reader.factors(flat(moves)), moves)  # (2, 2 num, F)
        cos_h, cos_seen = cosines(moves.odd_h[0], moves.odd_h[1]), cosines(seen[0], seen[1])
        rows += [
            {
                "pair": pair,
                "kind": KINDS[k // num],
                "index": k % num,
                "cos_h": float(cos_h[k]),
                "cos_seen": float(cos_seen[k]),
                "retained": float(retained[k]),
            }
            for k in range(2 * num)
        ]
    null = retained_null(bases[0].rank, bases[0].u.shape[1])
    own, drawn = (np.array([column(rows, "cos_seen", pair=i, kind=kind).mean() for i in range(size.num_pairs)])
                  for kind in KINDS)  # fmt: skip
    return Outcome(
        [{**row, "retained_null": null} for row in rows],
        [finding("directions carry over", own - drawn)],
        _pictures(context, x, bases),
        size.num_pairs,
        f"The first {num} directions at t/T = {t_fraction:g}, scale {SCALE:g} both ways. {told(context)}",
    )


def carried(source: TangentBasis, target: TangentBasis, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Directions ``sum_i w_i u_i`` of a source, and where they go at a target.

    Args:
        source: Basis of the sample they come from.
        target: Basis of the other.
        weights: Unit rows, `(m, k)`.

    Returns:
        v on both, `(2, m, *x_shape)`, and the share of u that the target retains, `(m,)`.
    """
    with quiet():
        there = transport(weights.to(source.u) @ source.u, target)
    here = (weights.to(source.v) @ source.v.flatten(1)).unflatten(1, source.v.shape[1:])
    return torch.stack([here, there.v.to(here)]), there.retained


def _pictures(context: Context, x: Tensor, bases: list[TangentBasis]) -> dict[str, bytes]:
    """For a few directions of the first sample: rows are it and its targets; columns the scales."""
    f, num = context.feature_map(edit_time(context.size)), min(context.size.num_shown, bases[0].rank)
    targets = range(min(NUM_TARGETS, len(x) - 1) + 1)
    with quiet():
        v = torch.stack([transport(bases[0].u[:num], bases[i]).v for i in targets])  # (4, num, *x_shape)
    frames = frames_of(context, moved(context, f, x[: len(targets)], v, scales=(-SCALE, 0.0, SCALE)).x0)
    return {f"direction-{k}": sheet([list(row) for row in frames[:, k]]) for k in range(num)}


def draw(rows: Rows) -> Figure:
    """Transfer of h, transfer of what is seen, retained share; own directions beside drawn ones."""
    figure, axes = panels(3)
    titles = ("cosine of the changes of h", "cosine of what is seen", "share of u retained")
    pairs = distinct(rows, "pair")
    for axis, name, title in zip(axes, ("cos_h", "cos_seen", "retained"), titles, strict=True):
        dots(axis, {k: np.array([column(rows, name, pair=p, kind=k).mean() for p in pairs]) for k in KINDS})
        axis.set(ylabel=title, ylim=(min(0.0, float(column(rows, name).min())), 1.02))
    axes[2].axhline(float(rows[0]["retained_null"]), **NULL_STYLE)
    return figure
