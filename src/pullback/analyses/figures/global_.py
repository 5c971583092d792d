"""Directions that samples share: found again in others? By three kinds of mean, and against local ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch
from torch import Tensor

from pullback.analyses.context import Context
from pullback.analyses.moves import SCALE, edit_time, flat, frames_of, moved, odd
from pullback.analyses.plotting import NULL_STYLE, SOFT, dots, panels, sheet
from pullback.analyses.reading import reader_of, told
from pullback.analyses.record import Finding, Outcome, Rows, column, distinct, redrawn
from pullback.analyses.shared import discovered
from pullback.analyses.sizes import Size
from pullback.directions import Direction, agreement, split_half, with_agreement
from pullback.directions.estimators import directions_of
from pullback.directions.global_ import Match, medoid
from pullback.edit import vectors_at
from pullback.geometry import TangentBasis
from pullback.measure.score import transfer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Directions that samples share"
CAPTION = (
    "Agreement of each direction with samples that took no part, less the 95 % of its matched null: the same samples' "
    "bases turned at random inside their own spans. Three kinds of mean, and the local directions of one typical "
    "sample. Split-half: how alike a direction comes out of two halves of the samples, against its own null (ticks). "
    "Transfer: how alike its effects are on held-out samples; chance gives 0."
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
    size, f, reader = context.size, context.feature_map(edit_time(context.size)), reader_of(context)
    rows, pictures = [], {}
    for kind in KINDS:
        found, halves = _directions(context, kind)
        shown = found[: size.num_shown]
        held_out = context.latents(edit_time(size), size.num_held_out, held_out=True)
        moves = moved(context, f, held_out, vectors_at(f, held_out, shown).transpose(0, 1))
        spread = transfer(odd(reader.factors(flat(moves)), moves).transpose(1, 0, 2))  # (num_shown,)
        rows += [
            {
                "kind": kind,
                "index": i,
                "agreement": each.agreement or 0.0,
                "null": each.agreement_null or 0.0,
                "split_half": halves[i][0],
                "split_half_null": halves[i][1],
                "transfer": float(spread[i]) if i < len(shown) else UNKNOWN,
            }
            for i, each in enumerate(found)
        ]
        if kind in ("nearest", "local"):
            pictures |= {f"{kind}-{k}": picture for k, picture in enumerate(_pictures(context, held_out, moves.x0))}
    found = discovered(context)
    note = (
        f"n is the number of held-out samples; {len(found)} directions at t/T = {edit_time(size):g}. {told(context)} "
        f"Pictures: rows are held-out samples, columns scales -{SCALE:g}, 0, {SCALE:g}."
    )
    return Outcome(rows, [found_again(found, found.held_out_bases)], pictures, size.num_held_out, note)


def found_again(directions: Sequence[Direction], held_out: Sequence[TangentBasis]) -> Finding:
    """Agreement less its null, mean over directions; directions and held-out samples drawn again for the interval.

    Args:
        directions: With their nulls.
        held_out: Bases of the samples that agreement was measured on.
    """
    each = np.array([[agreement(u, [basis]) for basis in held_out] for u in directions])  # (K, B)
    gained = each - np.array([u.agreement_null or 0.0 for u in directions])[:, None]
    ends = redrawn(lambda rows, samples: float(gained[rows][:, samples].mean()), *gained.shape)
    return Finding("global directions are found again", float(gained.mean()), *ends, 0.0, min(gained.shape))


def _directions(context: Context, kind: str) -> tuple[Sequence[Direction], list[tuple[float, float]]]:
    """Directions with their agreement, and the split-half agreement and null of each."""
    match = MEAN_OF.get(kind, "nearest")
    found = discovered(context, match=match)
    if kind == "local":
        typical = found.bases[medoid(torch.stack([basis.u for basis in found.bases]))]
        local = with_agreement(directions_of(typical), found.held_out_bases, generator=context.generator())
        return local, [(UNKNOWN, UNKNOWN)] * len(local)
    if len(found.bases) < LEAST_TO_SPLIT:
        return found, [(UNKNOWN, UNKNOWN)] * len(found)
    halves = split_half(found.bases, rank=context.size.rank, match=match, generator=context.generator())
    return found, [(each.value, each.null) for each in halves]


def _pictures(context: Context, x: Tensor, x0: Tensor) -> list[bytes]:
    """A sheet a direction: rows are samples; columns -, unedited, +."""
    num = min(context.size.num_people, len(x))
    still = context.pictures(x[:num], context.model.time(t_fraction=edit_time(context.size)))
    frames, middle = frames_of(context, x0[:num]), frames_of(context, still)
    return [sheet([[frames[i, k, 0], middle[i], frames[i, k, 1]] for i in range(num)]) for k in range(frames.shape[1])]


def draw(rows: Rows) -> Figure:
    """Agreement above its null, split-half agreement, transfer, each by kind."""
    figure, axes = panels(3)
    kinds = [str(kind) for kind in distinct(rows, "kind")]
    dots(axes[0], {k: column(rows, "agreement", kind=k) - column(rows, "null", kind=k) for k in kinds})
    axes[0].axhline(0, **NULL_STYLE)
    axes[0].set(ylabel="agreement above the 95 % of its null")
    for axis, name, label in ((axes[1], "split_half", "split-half |cos|"), (axes[2], "transfer", "transfer")):
        known = {k: _known(column(rows, name, kind=k)) for k in kinds}
        known = {k: values for k, values in known.items() if len(values)}
        axis.set(ylabel=label)
        if not known:
            axis.text(0.5, 0.5, f"needs {LEAST_TO_SPLIT} samples", transform=axis.transAxes, ha="center", color=SOFT)
            continue
        dots(axis, known)
        for place, k in enumerate(known if name == "split_half" else ()):
            null = float(_known(column(rows, "split_half_null", kind=k)).max())
            axis.plot([place - 0.3, place + 0.3], [null, null], **NULL_STYLE)
        axis.set_ylim(min(0.0, *(float(values.min()) for values in known.values())), 1.02)
    axes[2].axhline(0, **NULL_STYLE)
    return figure


def _known(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]
