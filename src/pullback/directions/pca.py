"""Principal axes of h: over many samples in pieces, and over perturbations of one."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from pullback.directions.types import Direction
from pullback.errors import NumericalError, OptionError, RankError
from pullback.geometry.linalg import generator_or_fixed, randn, row_svd, work_dtype
from pullback.geometry.tangent import signs
from pullback.types import FeatureMap


def incremental_pca_of_h(
    f: FeatureMap, batches: Iterable[Tensor], *, rank: int, kept: int | None = None
) -> list[Direction]:
    """Principal axes of h over any number of samples, a batch in memory at a time  (Ross et al. 2008).

    After each batch the axes are those of: the old axes times their singular values, the centred batch, and one row for
    the shift of the mean. Exact while ``kept`` axes hold everything; else what was cut early cannot come back.

    Args:
        f: The feature map.
        batches: Latents at its t, each `(b, *x_shape)`.
        rank: How many axes.
        kept: Axes carried from batch to batch, ``2 rank + 10`` by default.

    Returns:
        Directions of H by falling standard deviation, which is their ``s``.

    Raises:
        OptionError: If ``kept < rank`` or rank < 1.
        RankError: If the samples, or h, have too few dimensions.

    Example:
        >>> from pullback.testing import LinearMap
        >>> f = LinearMap(torch.diag(torch.tensor([3.0, 1.0, 0.1])))
        >>> batches = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)).split(20)
        >>> incremental_pca_of_h(f, batches, rank=1)[0].vector.abs().round(decimals=1)
        tensor([1., 0., 0.])
    """
    kept = 2 * rank + 10 if kept is None else kept
    if rank < 1 or kept < rank:
        raise OptionError(wanted="rank >= 1 and kept >= rank", got=f"{rank} and {kept}", hint="keep twice the rank")
    mean, s, axes, num = torch.zeros(0), torch.zeros(0), torch.zeros(0), 0
    for batch in batches:
        h = _features(f, batch)
        own = h.mean(0)
        if num == 0:
            stack = h - own
        else:
            shift = math.sqrt(num * len(h) / (num + len(h))) * (mean - own)
            stack = torch.cat([s[:, None].to(axes) * axes, h - own, shift[None]])
        mean = own if num == 0 else (num * mean + len(h) * own) / (num + len(h))
        num += len(h)
        _, *found = row_svd(stack[None])
        s, axes = (each[0, :kept] for each in found)  # (kept,), (kept, D)
    largest = min(num - 1, math.prod(f.h_shape))
    if rank > largest:
        raise RankError(
            wanted=f"rank of at most min(B - 1, D) = {largest}",
            got=str(rank),
            hint="give more samples, or a lower rank",
        )
    origin = {**f.origin, "estimator": "incremental_pca", "num_samples": num}
    return _directions(axes, s / math.sqrt(num - 1), rank, origin)


def pca_of_perturbed(
    f: FeatureMap,
    xs: Tensor,
    *,
    rank: int,
    size: float = 0.1,
    num_perturbations: int = 64,
    batch: int = 16,
    generator: torch.Generator | None = None,
) -> list[Direction]:
    """Principal axes of h over small perturbations ``x + size e`` of samples: the Jacobian by chance.

    For one sample ``cov h = size^2 J J^T`` to first order, so that the axes approach the u as the size falls and the
    perturbations grow in number. For several samples their deviations from their own means are pooled.

    Args:
        f: The feature map.
        xs: One latent `x_shape`, or several `(B, *x_shape)`.
        rank: How many axes.
        size: Standard deviation of the perturbation, in units of x.
        num_perturbations: For each sample; one encoder pass each.
        batch: Latents in one pass.
        generator: For e.

    Returns:
        Directions of H; ``s`` is the standard deviation of h over ``size``, to be set beside singular values.

    Raises:
        OptionError: If the size is not positive.
        RankError: If there are too few perturbations for that many axes.
        NumericalError: If h does not move.

    Example:
        >>> from pullback.testing import LinearMap
        >>> f = LinearMap(torch.diag(torch.tensor([3.0, 0.1])))
        >>> pca_of_perturbed(f, torch.ones(2), rank=1)[0].vector.abs().round(decimals=1)
        tensor([1., 0.])
    """
    xs = xs if xs.ndim > len(f.x_shape) else xs[None]
    if not size > 0:
        raise OptionError(wanted="size > 0", got=str(size), hint="0.1 of the noise of a latent")
    largest = min(len(xs) * (num_perturbations - 1), math.prod(f.h_shape))
    if not 1 <= rank <= largest:
        raise RankError(wanted=f"rank between 1 and {largest}", got=str(rank), hint="raise num_perturbations")
    generator = generator_or_fixed(generator)
    deviations = []
    for x in xs:
        noise = randn((num_perturbations, *x.shape), generator, like=x)
        h = torch.cat([_features(f, part) for part in (x + size * noise).split(batch)])
        deviations.append(h - h.mean(0))
    stack = torch.cat(deviations)
    _, s, axes = row_svd(stack[None])
    if not float(s[0, 0]) > 0:
        raise NumericalError(wanted="an h that moves with x", got="no change at all", hint="raise the size")
    deviation = s[0] / math.sqrt(len(xs) * (num_perturbations - 1)) / size
    origin = {**f.origin, "estimator": "pca_perturbed", "num_samples": len(xs), "size": size}
    return _directions(axes[0], deviation, rank, origin)


def _features(f: FeatureMap, x: Tensor) -> Tensor:
    with torch.no_grad():
        h = f(x.to(f.device, f.dtype)).flatten(1)
    return h.to(work_dtype(h.dtype))


def _directions(rows: Tensor, s: Tensor, rank: int, origin: dict[str, str | int | float]) -> list[Direction]:
    rows = signs(rows[:rank]) * rows[:rank]
    return [Direction(row.clone(), "H", origin, s=float(s[index]), index=index) for index, row in enumerate(rows)]
