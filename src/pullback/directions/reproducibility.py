"""Whether a direction comes out again when it is made from other samples."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from pullback.directions.bases import check_alike
from pullback.directions.global_ import Match, global_directions
from pullback.directions.types import Direction
from pullback.errors import NotConvergedWarning, OptionError
from pullback.geometry.linalg import generator_or_fixed, orthonormal_rows, randn
from pullback.geometry.tangent import TangentBasis

QUANTILE = 0.95
Make = Callable[[Sequence[TangentBasis]], list[Direction]]


class Reproducibility(NamedTuple):
    """Split-half agreement of one direction, and the 95 % of its matched null; both from 0 to 1."""

    value: float
    null: float


def split_half(
    bases: Sequence[TangentBasis],
    *,
    rank: int | None = None,
    match: Match = "nearest",
    num_splits: int = 10,
    num_null: int = 10,
    generator: torch.Generator | None = None,
) -> list[Reproducibility]:
    """For each global direction, how alike its counterparts from two halves of the samples are.

    The samples are split at random into halves; each half gives its own global directions; of each half the one nearest
    to the direction of all samples is taken, and |cos| of these two is averaged over splits. The null goes through the
    very same steps with every basis rotated at random inside its own span, all directions of all rotations together.

    Args:
        bases: Local bases of one feature map at four or more samples, single or batched.
        rank: As for `global_directions`.
        match: As for `global_directions`.
        num_splits: Random splits.
        num_null: Random rotations of all bases, each with as many splits.
        generator: For splits and rotations.

    Returns:
        One pair for each direction of ``global_directions(bases, rank=rank, match=match)``, in its order. Costs no
        product.

    Raises:
        OptionError: If there are fewer than four samples, or no split or rotation.
        MismatchError, ShapeError, RankError: As `global_directions`.
    """
    samples = check_alike(bases, at_least=4)
    if num_splits < 1 or num_null < 1:
        raise OptionError(
            wanted="num_splits >= 1 and num_null >= 1", got=f"{num_splits} and {num_null}", hint="10 of each"
        )
    generator = generator_or_fixed(generator)
    make = partial(global_directions, rank=rank, match=match)
    whole = make(samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)  # of a mean subspace: said once, for all samples
        values = _agreements(samples, whole, make, num_splits, generator)
        chance = [_chance(samples, make, num_splits, generator) for _ in range(num_null)]
    null = float(torch.cat(chance).quantile(QUANTILE))
    return [Reproducibility(value, null) for value in values.tolist()]


def _chance(samples: Sequence[TangentBasis], make: Make, num_splits: int, generator: torch.Generator) -> Tensor:
    turned = _rotated(samples, generator)
    return _agreements(turned, make(turned), make, num_splits, generator)


def _agreements(
    samples: Sequence[TangentBasis],
    directions: Sequence[Direction],
    make: Make,
    num_splits: int,
    generator: torch.Generator,
) -> Tensor:
    """Mean over splits of |cos| between the counterparts of each direction, shape `(r,)`, float64."""
    whole = _rows(directions)
    total = torch.zeros(len(whole), dtype=torch.float64)
    for _ in range(num_splits):
        order = torch.randperm(len(samples), generator=generator).tolist()
        half = len(samples) // 2
        parts = [_rows(make([samples[i] for i in part])) for part in (order[:half], order[half:])]
        first, second = (part[(whole @ part.mT).abs().argmax(1)] for part in parts)
        total += (first * second).sum(1).abs()
    return total / num_splits


def _rows(directions: Sequence[Direction]) -> Tensor:
    return torch.stack([direction.vector for direction in directions]).to("cpu", torch.float64)


def _rotated(samples: Sequence[TangentBasis], generator: torch.Generator) -> list[TangentBasis]:
    turned = []
    for basis in samples:
        turn, _ = orthonormal_rows(randn((1, basis.rank, basis.rank), generator, like=basis.u))
        turned.append(dataclasses.replace(basis, u=turn[0] @ basis.u))
    return turned
