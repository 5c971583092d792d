"""What a direction does to pictures, measured without labels or another network, and a name made of it.

All pictures are floats in [0, 1]. For samples s and a scale a, ``plus = x(a)``, ``minus = x(-a)`` and ``base = x(0)``;
the odd part ``d = (plus - minus) / 2`` is what turns around with the sign, the even part
``e = (plus + minus) / 2 - base`` is what happens either way (MEASURES.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pullback.errors import ShapeError

Array = NDArray[np.float64]

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
COLOUR_SHARE = 0.7
"""Above it a change is called colour (MEASURES.md)."""
LOW_FREQUENCY = 1 / 8
"""In cycles a pixel, relative to the largest there are (1/2 along an axis): below it a change counts as broad."""
UNCLEAR_RMS = 2 / 255
"""A change smaller than this is not named."""
REGION_SHARE = 0.18
"""A ninth of the picture that holds more of the change than this is named."""
ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "center", "right")


@dataclass(frozen=True)
class PictureChange:
    """Means over samples.

    Attributes:
        rms: Root mean square of the odd part, 0 to 1.
        magnitude: Mean absolute value of the odd part, 0 to 1.
        brightness: Mean luminance of the odd part, -1 to 1.
        warmth: Mean red minus blue of the odd part, -1 to 1.
        consistency: Share of samples whose brightness has the mean's sign, 0 to 1.
        colour_share: Share of the change that one colour map of the whole picture explains, 0 to 1.
        low_frequency_share: Share of the change's power below 1/8 of a cycle a pixel, 0 to 1.
        locality: Gini coefficient of the absolute change over pixels: 0 everywhere alike, 1 in one pixel.
        region: Where the ninth of the picture with the most change is: "top left" ... "center" ... "bottom right".
        region_share: Share of the change in that ninth, 1/9 to 1.
        symmetry: |odd|^2 / (|odd|^2 + |even|^2), 0 to 1.
    """

    rms: float
    magnitude: float
    brightness: float
    warmth: float
    consistency: float
    colour_share: float
    low_frequency_share: float
    locality: float
    region: str
    region_share: float
    symmetry: float


def describe(base: Array, plus: Array, minus: Array) -> PictureChange:
    """Measures what an edit changes.

    Args:
        base: Unedited pictures in [0, 1], `(N, H, W, 3)`.
        plus: The same edited at scale a.
        minus: The same edited at scale -a.

    Raises:
        ShapeError: If the three differ in shape, or are not RGB pictures.

    Example:
        >>> base = np.full((2, 9, 9, 3), 0.5)
        >>> describe(base, base + 0.1, base - 0.1).colour_share
        1.0
    """
    if not base.shape == plus.shape == minus.shape or base.ndim != 4 or base.shape[-1] != 3 or 0 in base.shape:
        raise ShapeError(
            wanted="three stacks of pictures (N, H, W, 3) of one shape",
            got=f"{base.shape}, {plus.shape}, {minus.shape}",
            hint="pass the frames at 0, +a and -a of the same samples",
        )
    odd, even = (plus - minus) / 2, (plus + minus) / 2 - base
    bright = (odd @ LUMINANCE).mean(axis=(1, 2))
    energy = np.square(odd).sum(axis=-1)  # (N, H, W)
    region, region_share = _region(energy)
    total = float(np.square(odd).sum() + np.square(even).sum())
    return PictureChange(
        rms=float(np.sqrt(np.square(odd).mean())),
        magnitude=float(np.abs(odd).mean()),
        brightness=float(bright.mean()),
        warmth=float((odd[..., 0] - odd[..., 2]).mean()),
        consistency=float((np.sign(bright) == np.sign(bright.mean())).mean()),
        colour_share=colour_share(base, odd),
        low_frequency_share=low_frequency_share(odd),
        locality=gini(np.abs(odd).sum(axis=-1)),
        region=region,
        region_share=region_share,
        symmetry=float(np.square(odd).sum()) / total if total > 0 else 0.0,
    )


def colour_share(base: Array, change: Array) -> float:
    """Returns ``1 - |d - A [x; 1]|^2 / |d|^2`` with the best 3 x 4 colour map A of each picture, averaged; 0 to 1.

    Args:
        base: Pictures, `(N, H, W, 3)`.
        change: Their changes d, same shape. No change at all gives 0.
    """
    shares = []
    for x, d in zip(base.reshape(len(base), -1, 3), change.reshape(len(change), -1, 3), strict=True):
        energy = float(np.square(d).sum())
        if energy == 0:
            continue
        colours = np.concatenate([x, np.ones((len(x), 1))], axis=1)  # (H*W, 4)
        fitted = colours @ np.linalg.lstsq(colours, d, rcond=None)[0]
        shares.append(1 - float(np.square(d - fitted).sum()) / energy)
    return float(np.clip(np.mean(shares), 0, 1)) if shares else 0.0


def low_frequency_share(change: Array) -> float:
    """Returns the share of the power of `(N, H, W, 3)` below 1/8 cycle a pixel, the mean included; 0 to 1."""
    spectrum = np.square(np.abs(np.fft.fft2(change, axes=(1, 2)))).sum(axis=(0, 3))  # (H, W)
    frequency = np.hypot(np.fft.fftfreq(change.shape[1])[:, None], np.fft.fftfreq(change.shape[2])[None])
    total = float(spectrum.sum())
    return float(spectrum[frequency < LOW_FREQUENCY].sum()) / total if total > 0 else 0.0


def gini(values: Array) -> float:
    """Returns the Gini coefficient of `(N, H, W)` over the pixels of each picture, averaged; 0 even, 1 one pixel.

    Example:
        >>> gini(np.ones((1, 4, 4)))
        0.0
    """
    ordered = np.sort(values.reshape(len(values), -1), axis=1)
    num = ordered.shape[1]
    weights = 2 * np.arange(1, num + 1) - num - 1
    totals = ordered.sum(axis=1)
    some = totals > 0
    return float(np.mean(ordered[some] @ weights / (num * totals[some]))) if some.any() else 0.0


def name_change(change: PictureChange) -> str:
    """Returns a name such as "colour, warmer", "top left, fine, darker" or "unclear".

    Example:
        >>> name_change(PictureChange(.1, .1, .09, 0, 1, .95, .9, .1, "center", .12, .9))
        'colour, brighter'
    """
    if change.rms < UNCLEAR_RMS or change.symmetry < 0.3:
        return "unclear"
    tone = _tone(change)
    if change.colour_share > COLOUR_SHARE:
        return f"colour, {tone}" if tone else "colour"
    where = change.region if change.region_share > REGION_SHARE else "all over"
    grain = "broad" if change.low_frequency_share > 0.8 else "fine" if change.low_frequency_share < 0.4 else ""
    words = [word for word in (where, grain, tone) if word]
    return ", ".join(words) if words != ["all over"] else "unclear"


def _tone(change: PictureChange) -> str:
    if abs(change.brightness) > 0.5 * change.magnitude and change.consistency >= 0.75:
        return "brighter" if change.brightness > 0 else "darker"
    if abs(change.warmth) > 0.7 * change.magnitude:
        return "warmer" if change.warmth > 0 else "cooler"
    return ""


def _region(energy: Array) -> tuple[str, float]:
    """The ninth of the picture that holds the largest share of ``energy`` (N, H, W)."""
    heat = energy.mean(axis=0)
    total = float(heat.sum())
    ninths = [[float(cell.sum()) for cell in np.array_split(row, 3, axis=1)] for row in np.array_split(heat, 3, axis=0)]
    row, column = divmod(int(np.argmax(ninths)), 3)
    share = ninths[row][column] / total if total > 0 else 1 / 9
    words = [word for word in (ROWS[row], COLUMNS[column]) if word not in ("middle", "center")]
    return " ".join(words) or "center", share
