"""Where a factor shows in a portrait: true masks, from the renderer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pullback.errors import OptionError
from pullback.portraits.factors import FACTORS, NAMES, Array, World, drawable, index
from pullback.portraits.renderer import render

REGIONS: Mapping[str, tuple[str, ...]] = {
    "eyes": ("eye open",),
    "mouth": ("smile", "mouth open"),
    "hair": ("hair tone", "hair length"),
    "background": ("background red", "background yellow"),
}
"""Factors that live there."""
VISIBLE = 0.05
"""Change of a clean sample in [-1, 1] that counts as seen."""


def factor_masks(z: Array, *, names: Sequence[str] = NAMES, size: int = 64, world: World = "easy") -> NDArray[np.bool_]:
    """Where factors show: ``|render(z + dz_j) - render(z)| > eps`` for dz_j of one deviation, up or down.

    A switch is turned over. Whatever a whole deviation reaches counts, such as where an edge comes to lie.

    Args:
        z: Factors in standard units, shape `(N, 16)`: of `sample`, or as `load_judge` reads them off pictures.
        names: Which factors.
        size: Pixels.
        world: Which world.

    Returns:
        Shape `(N, len(names), size, size)`.

    Raises:
        ShapeError: If ``z`` does not have 16 columns.

    Example:
        >>> from pullback.portraits import sample
        >>> factor_masks(sample(1, seed=0), size=8).shape
        (1, 16, 8, 8)
    """
    z = drawable(z)
    base = render(z, size=size, world=world)
    masks = np.zeros((len(z), len(names), size, size), dtype=np.bool_)
    for i, name in enumerate(names):
        j = index(name)
        for step in (-2 * z[:, j],) if FACTORS[j].kind == "switch" else (1.0, -1.0):
            moved = z.copy()
            moved[:, j] += step
            change = 2 * np.abs(render(moved, size=size, world=world) - base).max(axis=-1)  # of [-1, 1]
            masks[:, i] |= change > VISIBLE
    return masks


def region_mask(z: Array, region: str, *, size: int = 64, world: World = "easy") -> NDArray[np.float32]:
    """The mask of a region, or of one factor, for directions and edits of it: 1 where one of its factors shows.

    Args:
        z: Factors in standard units, as for `factor_masks`.
        region: One of `REGIONS`, or the name of a factor.
        size: Pixels.
        world: Which world.

    Returns:
        Shape `(N, size, size)`. A mask may be empty, as that of hidden hair.

    Raises:
        OptionError: If there is no such region or factor.
        ShapeError: If ``z`` does not have 16 columns.

    Example:
        >>> from pullback.portraits import sample
        >>> mouth = region_mask(sample(1, seed=0), "mouth")
        >>> mouth.shape, bool(mouth[0, 36:].sum() > 0.9 * mouth.sum())
        ((1, 64, 64), True)
    """
    names = REGIONS.get(region, (region,))
    if any(name not in NAMES for name in names):
        raise OptionError(
            wanted=f"a region among {', '.join(REGIONS)}, or a factor among {', '.join(NAMES)}",
            got=repr(region),
            hint="any other place is a Rectangle, an array or a function of row and column",
        )
    masks = factor_masks(z, names=names, size=size, world=world)
    return np.any(masks, axis=1, keepdims=False).astype(np.float32)  # keepdims tells the type checker of an array
