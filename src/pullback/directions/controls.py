"""Directions that know nothing of the Jacobian, or only its span: what a claim is held against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from pullback.directions.origins import check_together
from pullback.directions.types import Direction
from pullback.errors import OptionError, RankError
from pullback.geometry.linalg import generator_or_fixed, orthonormal_rows, randn, row_svd, work_dtype
from pullback.geometry.tangent import signs
from pullback.types import FeatureMap


def random_h(f: FeatureMap, *, rank: int, generator: torch.Generator | None = None) -> list[Direction]:
    """``rank`` independent random directions of H.

    Example:
        >>> from pullback.testing import UnitMap
        >>> [direction.vector.shape for direction in random_h(UnitMap(3), rank=2)]
        [torch.Size([3]), torch.Size([3])]
    """
    return _random(f, (math.prod(f.h_shape),), "H", rank, generator)


def random_x(f: FeatureMap, *, rank: int, generator: torch.Generator | None = None) -> list[Direction]:
    """``rank`` independent random directions of X, as latents.

    Example:
        >>> from pullback.testing import ConvMap
        >>> random_x(ConvMap(), rank=1)[0].vector.shape
        torch.Size([3, 8, 8])
    """
    return _random(f, f.x_shape, "X", rank, generator)


def rotated(directions: Sequence[Direction], *, generator: torch.Generator | None = None) -> list[Direction]:
    """The matched control: a random orthonormal basis of the span of the given directions.

    It has all that their span has; if it does as well as they do, the single vectors do not matter.

    Args:
        directions: At least one, linearly independent, of one space.
        generator: For the rotation.

    Returns:
        As many directions, without s or agreement.

    Raises:
        OptionError: If the list is empty.
        ShapeError, MismatchError: If the directions are of different spaces or maps.
    """
    if not directions:
        raise OptionError(wanted="at least one direction", got="none", hint="find directions first")
    check_together(directions)
    generator = generator_or_fixed(generator)
    span, _ = orthonormal_rows(torch.stack([direction.vector.flatten() for direction in directions])[None])
    turn, _ = orthonormal_rows(randn((1, len(directions), len(directions)), generator, like=span))
    rows = (turn @ span)[0]
    first = directions[0]
    return [
        Direction(
            vector=row.reshape(first.vector.shape),
            space=first.space,
            origin={**first.origin, "estimator": "rotated"},
            index=index,
        )
        for index, row in enumerate(rows)
    ]


def pca_of_h(f: FeatureMap, xs: Tensor, *, rank: int, batch: int = 16) -> list[Direction]:
    """Principal axes of h over samples: no Jacobian, only where features lie  (GANSpace, 2004.02546, on H).

    Args:
        f: The feature map.
        xs: Latents at its t, shape `(B, *x_shape)`.
        rank: How many axes, 1 to min(B - 1, D).
        batch: Latents in one forward pass.

    Returns:
        Directions of H by falling standard deviation, which is their ``s``.

    Raises:
        RankError: If there are too few samples for that many axes.
    """
    largest = min(len(xs) - 1, math.prod(f.h_shape))
    if not 1 <= rank <= largest:
        raise RankError(
            wanted=f"rank must be between 1 and min(B - 1, D) = {largest}", got=str(rank), hint="give more samples"
        )
    with torch.no_grad():
        h = torch.cat([f(part).flatten(1) for part in xs.split(batch)])
    h = h.to(work_dtype(h.dtype))
    _, s, axes = row_svd((h - h.mean(0))[None])
    axes = (signs(axes) * axes)[0, :rank]
    origin = {**f.origin, "estimator": "pca_of_h", "num_samples": len(xs)}
    return [
        Direction(axis.clone(), "H", origin, s=float(size) / math.sqrt(len(xs) - 1), index=index)
        for index, (axis, size) in enumerate(zip(axes, s[0], strict=False))
    ]


def _random(
    f: FeatureMap, shape: tuple[int, ...], space: Literal["H", "X"], rank: int, generator: torch.Generator | None
) -> list[Direction]:
    if rank < 0:
        raise RankError(wanted="rank must be at least 0", got=str(rank), hint="ask for a number of directions")
    generator = generator_or_fixed(generator)
    rows = torch.randn((rank, *shape), generator=generator, dtype=torch.float64)
    origin = {**f.origin, "estimator": "random"}
    return [
        Direction((row / torch.linalg.vector_norm(row)).to(f.device, work_dtype(f.dtype)), space, origin, index=index)
        for index, row in enumerate(rows)
    ]
