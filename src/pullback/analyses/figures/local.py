"""What the top local directions of several samples do, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from pullback.analyses.context import Context
from pullback.analyses.moves import SCALE, edit_time, flat, frames_of, moved, odd, unit_weights
from pullback.analyses.plotting import dots, panels, sheet
from pullback.analyses.reading import reader_of, told
from pullback.analyses.record import Outcome, Rows, column, distinct, finding
from pullback.analyses.sizes import Size
from pullback.measure.descriptors import describe
from pullback.measure.naming import UNCLEAR, name_effects
from pullback.measure.score import purity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Local directions of several samples"
CAPTION = (
    "Each sample moved both ways along its own top singular vectors; beside them directions drawn at random in the "
    "same span (matched), which do as well if single vectors do not matter. Purity: the largest share of the change "
    "that is one factor. Colour: the share of the change that one colour map of the whole picture explains. Locality: "
    "Gini coefficient of the change over pixels. Pictures: rows are directions, columns -, unedited, +."
)
PAPER = (
    "Both papers edit samples along the top singular vectors of dh/dx at each of them, and show that single ones "
    "change attributes that can be named."
)
KINDS = ("own", "random in span")
MEASURES = ("purity", "colour_share", "locality", "symmetry")


def num_bases(size: Size) -> int:
    """The first samples, whose bases other figures use too."""
    return _num_samples(size)


def _num_samples(size: Size) -> int:
    return min(size.num_pairs, size.num_samples)


def run(context: Context) -> Outcome:
    """Edits of every sample along its own directions and along drawn ones."""
    size, t_fraction = context.size, edit_time(context.size)
    f, reader, num = context.feature_map(t_fraction), reader_of(context), min(size.num_shown, size.rank)
    x = context.latents(t_fraction, _num_samples(size))
    bases = context.bases(f, x)
    generator, v = context.generator(), []
    for basis in bases:
        weights = torch.cat([torch.eye(basis.rank)[:num], unit_weights(num, basis.rank, generator)]).to(basis.v)
        v.append((weights @ basis.v.flatten(1)).unflatten(1, basis.v.shape[1:]))
    moves = moved(context, f, x, torch.stack(v))
    still = frames_of(context, context.pictures(x, f.t or 0))
    frames, seen = frames_of(context, moves.x0), odd(reader.factors(flat(moves)), moves)
    rows = [
        {"sample": i, "kind": KINDS[k // num], "index": k % num, "share_of_s": _share(bases[i].s, k, num)}
        | measures(still[i], frames[i, k], seen[i, k])
        | {"name": _named(context, seen[i, k], reader.names)}
        for i in range(len(x))
        for k in range(2 * num)
    ]
    pictures = {
        f"sample-{i}": sheet([[frames[i, k, 0], still[i], frames[i, k, 1]] for k in range(num)])
        for i in range(min(size.num_people, len(x)))
    }
    note = f"The first {num} directions at t/T = {t_fraction:g}, scale {SCALE:g} both ways. {told(context)}"
    own, drawn = (
        np.array([column(rows, "purity", sample=i, kind=kind).mean() for i in range(len(x))]) for kind in KINDS
    )
    return Outcome(rows, [finding("local directions are semantic", own - drawn)], pictures, len(x), note)


def measures(still: NDArray[np.uint8], both: NDArray[np.uint8], seen: NDArray[np.float64]) -> dict[str, float]:
    """Figures of one edit of one sample.

    Args:
        still: The unedited picture, `(H, W, 3)`.
        both: The edited ones, `(2, H, W, 3)`, minus first.
        seen: Odd effect on what is read, `(F,)`.
    """
    base, minus, plus = (each[None].astype(float) / 255 for each in (still, both[0], both[-1]))
    change = describe(base, plus, minus)
    return {
        "purity": float(purity(seen[None, None])[0]),
        "rms": change.rms,
        "colour_share": change.colour_share,
        "locality": change.locality,
        "symmetry": change.symmetry,
    }


def _share(s: torch.Tensor, k: int, num: int) -> float:
    """s_k relative to s_1; a drawn direction has none."""
    return float(s[k] / s[0]) if k < num else float("nan")


def _named(context: Context, seen: NDArray[np.float64], names: tuple[str, ...]) -> str:
    """The factor that moved most, where factors are known."""
    return name_effects(seen[None], names) if context.judge is not None else UNCLEAR


def draw(rows: Rows) -> Figure:
    """Each measure, own directions beside drawn ones, one point a sample."""
    figure, axes = panels(len(MEASURES), width=3.0)
    samples = distinct(rows, "sample")
    for axis, name in zip(axes, MEASURES, strict=True):
        dots(axis, {k: np.array([column(rows, name, sample=i, kind=k).mean() for i in samples]) for k in KINDS})
        axis.set(ylabel=name.replace("_", " "), ylim=(0, 1.02))
    return figure
