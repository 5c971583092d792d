"""The look of all plots, and their way into a page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from pullback.analyses.record import Rows, column, interval, of_pairs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, COLOURS = "#1f1c18", "#8a8378", ("#0b6a61", "#c05a1c", "#4b6cb7", "#8d5aa8", "#6b7a1e", "#a33a4a")
NULL_STYLE = {"color": SOFT, "linestyle": "--", "linewidth": 1.2}
DPI = 110
POOLS: Mapping[Literal["none", "sum"], str] = {"none": "whole h", "sum": "sum-pooled h"}
"""Of figures that show both readings of h, with what their curves are called."""
LEAST_OF_PAIRS = 3
"""Samples whose means over all others have an interval."""
Colour = str | tuple[float, float, float, float]


def panels(num: int, *, width: float = 4.2, height: float = 3.2, num_rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of ``num`` plots side by side, in rows of equal length, without pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    num_columns = num // num_rows
    figure = Figure(figsize=(width * num_columns, height * num_rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(np.ravel(figure.subplots(num_rows, num_columns)))
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    return figure, axes


def line_of_means(
    axis: Axes,
    rows: Rows,
    *,
    x: str,
    y: str,
    at: Sequence[float],
    label: str,
    colour: Colour,
    is_of_pairs: bool = False,
    style: str = "o-",
    **where: str | float,
) -> None:
    """Mean over rows at each x, with the 95 % interval as a band; ``is_of_pairs``: a row is a mean over all others."""
    values = [column(rows, y, **{x: value, **where}) for value in at]
    bands = np.array([_band(each, is_of_pairs=is_of_pairs) for each in values])
    axis.plot(at, bands[:, 0], style, color=colour, markersize=3.5, linewidth=1.5, label=label)
    axis.fill_between(at, bands[:, 1], bands[:, 2], color=colour, alpha=0.18, linewidth=0)


def dots(
    axis: Axes,
    groups: Mapping[str, NDArray[np.float64]],
    *,
    colours: Sequence[str] = COLOURS,
    is_of_pairs: bool = False,
    has_interval: bool = True,
) -> None:
    """Every value of each group, and beside them the mean with its 95 % interval.

    Args:
        axis: Where to.
        groups: Values by name.
        colours: Of the groups, in turn.
        is_of_pairs: Whether a value is the mean over all others of its group.
        has_interval: Whether the values are independent units; if not, the mean stands alone.
    """
    for place, (values, colour) in enumerate(zip(groups.values(), cycle(colours), strict=False)):
        mean, low, high = _band(values, is_of_pairs=is_of_pairs) if has_interval else [float(values.mean())] * 3
        axis.plot(np.full(len(values), place - 0.12), values, ".", color=colour, alpha=0.35, markersize=4)
        axis.errorbar([place + 0.12], [mean], [[mean - low], [high - mean]], fmt="o", color=colour, markersize=4)
    axis.set_xticks(range(len(groups)), list(groups), fontsize=7, rotation=30 if len(groups) > 3 else 0)
    axis.set_xlim(-0.5, max(len(groups), 1) - 0.5)


def shades(num: int) -> list[Colour]:
    """Colours of an ordered row of lines, light to dark."""
    from matplotlib import colormaps

    return [colormaps["viridis"](0.9 * (1 - i / max(num - 1, 1))) for i in range(num)]


def heat(axis: Axes, values: NDArray[np.float64], labels: Sequence[str], *, title: str) -> None:
    """A square map of distances with its numbers."""
    image = axis.imshow(values, cmap="viridis", vmin=0)
    axis.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)
    axis.set_yticks(range(len(labels)), labels, fontsize=7)
    axis.set_title(title, fontsize=9)
    if len(labels) <= 8:
        for i, j in np.ndindex(*values.shape):
            light = values[i, j] < 0.6 * max(float(values.max()), 1e-12)
            axis.text(j, i, f"{values[i, j]:.1f}", ha="center", va="center", fontsize=6, color="w" if light else "k")
    axis.figure.colorbar(image, ax=axis, fraction=0.046, pad=0.04)


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def evenly(num: int, *, most: int = 9) -> NDArray[np.intp]:
    """Which of so many pictures a row shows: at most ``most`` of them, both ends among them.

    >>> evenly(3).tolist(), evenly(31, most=4).tolist()
    ([0, 1, 2], [0, 10, 20, 30])
    """
    return np.linspace(0, num - 1, min(num, most)).round().astype(np.intp)


def sheet(rows: Sequence[Sequence[NDArray[np.uint8]]], *, gap: int = 4, scale: int = 2) -> bytes:
    """Pictures `(H, W, 3)` in rows and columns as one PNG file, enlarged by whole pixels."""
    from PIL import Image

    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    canvas = np.full((len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            canvas[i * (height + gap) : i * (height + gap) + height, j * (width + gap) : j * (width + gap) + width] = (
                picture
            )
    image = Image.fromarray(canvas)
    image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _band(values: NDArray[np.float64], *, is_of_pairs: bool = False) -> tuple[float, float, float]:
    """Mean and 95 % interval; too few values for one have none."""
    if len(values) >= (LEAST_OF_PAIRS if is_of_pairs else 2):
        return interval(of_pairs(values) if is_of_pairs else values)
    mean = float(values.mean())
    return mean, mean, mean
