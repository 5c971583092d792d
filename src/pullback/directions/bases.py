"""Bases of several samples, checked to be of one kind."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pullback.errors import MismatchError, OptionError, RankError, ShapeError
from pullback.geometry.compare import differing
from pullback.geometry.tangent import TangentBasis


def check_alike(bases: Sequence[TangentBasis], *, at_least: int) -> list[TangentBasis]:
    """One basis for each sample, of one feature map, rank and D.

    Raises:
        OptionError: If there are too few samples.
        MismatchError: If the bases come from different maps.
        RankError: If their ranks differ, or are 0.
        ShapeError: If their D differ.
    """
    samples = [sample for basis in bases for sample in basis.samples()]
    if len(samples) < at_least:
        raise OptionError(
            wanted=f"bases of at least {at_least} samples", got=str(len(samples)), hint="compute more local bases"
        )
    first = samples[0]
    for other in samples[1:]:
        names = differing(first.origin, other.origin)
        if names:
            raise MismatchError(
                wanted="bases of one feature map",
                got=f"different {', '.join(names)}",
                hint="compare bases of one model, layer, t, pooling and condition",
            )
        if other.u.shape[1] != first.u.shape[1]:
            raise ShapeError(
                wanted=f"features of {first.u.shape[1]} values",
                got=str(other.u.shape[1]),
                hint="use one layer and pool",
            )
    ranks = {sample.rank for sample in samples}
    if ranks != {first.rank} or first.rank == 0:
        raise RankError(
            wanted="bases of one rank, at least 1", got=str(sorted(ranks)), hint="ask for the same rank everywhere"
        )
    return samples


def stacked(samples: Sequence[TangentBasis]) -> Tensor:
    """U of all samples, shape `(B, k, D)`."""
    return torch.stack([sample.u for sample in samples])
