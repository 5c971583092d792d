"""A fixed seeded orthonormal map of H onto fewer coordinates.

``S C R``, with R random signs, C the cosine transform and S a choice of coordinates: its rows are rows of an orthogonal
matrix; it costs D log D and stores nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from pullback.geometry.grassmann import geodesic_distance

SEED = 4096
"""Of the signs and the choice. It belongs to the format: a change of it would make old banks incomparable with new."""


def sketch(rows: Tensor, dim: int) -> Tensor:
    """Rows of H in ``dim`` coordinates.

    A span keeps its angles to another up to an error that shrinks as ``sqrt(k / dim)``; the rows themselves are no
    longer orthonormal, which `geodesic_distance` allows for.

    Args:
        rows: Shape `(..., D)`.
        dim: Coordinates to keep; at most D.

    Returns:
        Shape `(..., dim)`, in the dtype of ``rows``.

    Example:
        >>> rows = torch.eye(64)[:2]
        >>> bool(torch.allclose(sketch(rows, 64) @ sketch(rows, 64).mT, torch.eye(2), atol=1e-6))
        True
    """
    from scipy.fft import dct

    signs, chosen = _draw(rows.shape[-1], dim)
    turned = dct((rows.double() * signs).numpy(), type=2, norm="ortho", axis=-1)
    return torch.from_numpy(turned)[..., chosen].to(rows.dtype)


def sketch_error(bases: Sequence[Tensor], dim: int) -> float:
    """The largest ``|d' - d| / d`` over pairs of bases: how wrong distances of sketches are, on what is at hand.

    Args:
        bases: U's, each `(k, D)`.
        dim: Coordinates to keep.

    Returns:
        A share, 0 if there are no two different bases.
    """
    small = [sketch(u, dim).to(torch.float16) for u in bases]
    worst = 0.0
    for i in range(len(bases)):
        for j in range(i):
            d = float(geodesic_distance(bases[i], bases[j]))
            if d > 0:
                worst = max(worst, abs(float(geodesic_distance(small[i], small[j])) - d) / d)
    return worst


@lru_cache(maxsize=8)
def _draw(size: int, dim: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(SEED)
    signs = torch.randint(2, (size,), generator=generator).double() * 2 - 1
    return signs, torch.randperm(size, generator=generator)[:dim].sort().values
