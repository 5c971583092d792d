"""Does normalisation keep an edit from drifting in colour and contrast?  (2302.12469)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pullback.analyses.context import Context
from pullback.analyses.moves import SCALE, edit_time, frames_of, quiet
from pullback.analyses.plotting import NULL_STYLE, dots, panels, sheet
from pullback.analyses.reading import gate_of, reader_of
from pullback.analyses.record import Outcome, Rows, column, distinct, finding
from pullback.analyses.shared import discovered
from pullback.analyses.sizes import Size
from pullback.directions import Direction, rotated
from pullback.edit import edit
from pullback.edit.apply import NormaliseOption

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Normalisation of edits"
CAPTION = (
    "Drift of the mean colour (length of its change, 0 to 1 a channel) and of the contrast (logarithm of the ratio of "
    "deviations) of edited pictures: without normalisation, with the published one (anchor: the unedited latent) and "
    "with ours (anchor: the edited one), all at the same displacement of h. Beside them, without normalisation, "
    "directions drawn at random in the span of the same ones (matched). Pictures: a row each, columns -, unedited, +."
)
PAPER = (
    "2302.12469 brings the predicted clean sample of an edit back to the mean and deviation of the unedited "
    "one, and shows pictures with and without."
)
WAYS: tuple[tuple[str, NormaliseOption], ...] = (
    ("off", "off"),
    ("original", "original"),
    ("edited", "edited"),
    ("off, rotated", "off"),
)
NUM_DIRECTIONS = 2


def num_bases(size: Size) -> int:
    """Those of the global directions."""
    return size.num_samples + size.num_held_out


def run(context: Context) -> Outcome:
    """Edits of samples that took no part, along the first global directions, four ways."""
    size, reader = context.size, reader_of(context)
    found, gate = discovered(context), gate_of(context, reader)
    num = min(NUM_DIRECTIONS, len(found))
    plain = list(found[:num])
    turned = rotated(list(found), generator=context.generator())[:num]
    x = context.latents(edit_time(size), size.num_read, held_out=True)
    still = context.pictures(x, context.model.time(t_fraction=edit_time(size)))
    base, rows, strips = frames_of(context, still), [], {}
    for name, normalise in WAYS:
        x0 = _edited(context, x, turned if name == "off, rotated" else plain, normalise)  # (K, B, 2, *x_shape)
        frames, passed = frames_of(context, x0), reader.residual(x0.flatten(0, 2)).reshape(x0.shape[:3]) <= gate
        colour, contrast = drift(frames, base[None, :, None])
        rows += [
            {
                "way": name,
                "sample": i,
                "colour_drift": float(colour[:, i].mean()),
                "contrast_drift": float(contrast[:, i].mean()),
                "pass_rate": float(passed[:, i].mean()),
            }
            for i in range(len(x))
        ]
        for k in range(num if name != "off, rotated" else 0):
            people = range(min(size.num_people, len(x)))
            strip = [each for i in people for each in (frames[k, i, 0], base[i], frames[k, i, 1])]
            strips.setdefault(f"direction-{k}", []).append(strip)
    off, published = column(rows, "colour_drift", way="off"), column(rows, "colour_drift", way="original")
    note = (
        f"{num} directions at t/T = {edit_time(size):g}, scale {SCALE:g} both ways. "
        "Rows of the pictures: off, original, edited."
    )
    findings = [finding("normalisation lowers drift", off - published)]
    return Outcome(rows, findings, {name: sheet(strip) for name, strip in strips.items()}, len(x), note)


def drift(edited: NDArray[np.uint8], base: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far the mean colour and the contrast of pictures moved, each `(...)`.

    Args:
        edited: Pictures, `(..., H, W, 3)`.
        base: The unedited ones, of a shape that fits.

    Example:
        >>> grey = np.full((1, 4, 4, 3), 51, np.uint8)
        >>> float(drift(2 * grey, grey)[0][0].round(4))
        0.3464
    """
    (mean, spread), (mean_base, spread_base) = _moments(edited), _moments(base)
    floor = 1 / 255
    contrast = np.abs(np.log(np.maximum(spread, floor)) - np.log(np.maximum(spread_base, floor)))
    return np.linalg.norm(mean - mean_base, axis=-1), contrast


def _moments(pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = pictures.astype(float) / 255
    return values.mean(axis=(-3, -2)), values.std(axis=(-3, -2, -1))


def _edited(context: Context, x: Tensor, directions: list[Direction], normalise: NormaliseOption) -> Tensor:
    t_fraction = edit_time(context.size)
    f = context.feature_map(t_fraction)
    steps = max(1, round(context.size.num_steps * t_fraction))
    with quiet():
        return edit(
            context.model,
            x,
            f.t or 0,
            directions,
            (-SCALE, SCALE),
            f=f,
            normalise=normalise,
            distance=context.distance(f),
            num_steps=steps,
        ).x0


def draw(rows: Rows) -> Figure:
    """Both drifts and the pass rate, by way."""
    figure, axes = panels(3)
    labels = {"colour_drift": "drift of the mean colour", "contrast_drift": "drift of the contrast"}
    ways = [str(way) for way in distinct(rows, "way")]
    for axis, (name, label) in zip(axes, (labels | {"pass_rate": "pass rate of the gate"}).items(), strict=True):
        dots(axis, {way: column(rows, name, way=way) for way in ways})
        axis.set(ylabel=label, ylim=(-0.02, None))
    axes[2].axhline(0.95, **NULL_STYLE)
    return figure
