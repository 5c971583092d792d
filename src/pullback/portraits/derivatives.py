"""Exact tangents of the world: how the picture moves with each factor, and how much of its energy a factor holds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pullback.portraits.factors import FACTORS, NUM_FACTORS, Array, World, sample
from pullback.portraits.renderer import render

STEP = 0.25
"""Half-step of the central difference, in standard deviations."""


def tangents(z: Array, *, size: int = 64, world: World = "easy") -> NDArray[np.float32]:
    """Central differences of the picture by each factor: ``g_j = (x0(z + e_j) - x0(z - e_j)) / 2e``.

    A switch is taken from off to on: its tangent is half of that difference, per unit of its z in {-1, 1}.

    Args:
        z: Factors in standard units, shape `(N, 16)`.
        size: Pixels.
        world: Which world.

    Returns:
        Tangents of the clean sample in [-1, 1] (twice those of the picture in [0, 1]), shape `(N, 16, 3, size, size)`.

    Example:
        >>> tangents(sample(1, seed=0), size=8).shape
        (1, 16, 3, 8, 8)
    """
    g = np.empty((len(z), NUM_FACTORS, 3, size, size), dtype=np.float32)
    for j in range(NUM_FACTORS):
        low, high, width = _ends(z, j)
        change = render(high, size=size, world=world) - render(low, size=size, world=world)
        g[:, j] = 2 * change.transpose(0, 3, 1, 2) / width
    return g


def energy_shares(num: int = 64, *, seed: int = 0, world: World = "easy") -> dict[str, float]:
    """Each factor's share of the picture's energy: ``mean |g_j|^2 / sum_l mean |g_l|^2`` at one sd each.

    Args:
        num: Portraits averaged over.
        seed: Of their factors.
        world: Which world.

    Returns:
        Share by factor name; sums to 1.
    """
    energy = np.square(tangents(sample(num, seed=seed, world=world), world=world), dtype=np.float64).sum(
        axis=(0, 2, 3, 4)
    )
    energy *= [f.share_on * (1 - f.share_on) * 4 if f.kind == "switch" else 1.0 for f in FACTORS]
    return {f.name: float(share) for f, share in zip(FACTORS, energy / energy.sum(), strict=True)}


def _ends(z: Array, column: int) -> tuple[Array, Array, float]:
    low, high = z.copy(), z.copy()
    if FACTORS[column].kind == "switch":
        low[:, column], high[:, column] = -1.0, 1.0
        return low, high, 2.0
    low[:, column] -= STEP
    high[:, column] += STEP
    return low, high, 2 * STEP
