"""Whether results may be set side by side: of one model, layer, pooling, timestep and condition."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from pullback.errors import MismatchError, OptionError, RankError, ShapeError
from pullback.geometry.tangent import TangentBasis
from pullback.types import FeatureMap, Origin


def differing(wanted: Mapping[str, str | int | float], got: Mapping[str, str | int | float]) -> list[str]:
    """Names whose values differ, or that only one of the two has."""
    return sorted(
        name for name in {*wanted, *got} if name not in got or name not in wanted or wanted[name] != got[name]
    )


def check_agreeing(
    origins: Iterable[Origin], wanted: Origin, *, what: str, hint: str, may_differ: Collection[str] = ()
) -> None:
    """Raises unless nothing that origins say contradicts another; what one of the two does not say is not compared.

    Args:
        origins: Of what is to be used.
        wanted: That of the map it is to be used with.
        what: What it is, for the message.
        hint: What to do.
        may_differ: Names that do not matter here.

    Raises:
        MismatchError: Naming what differs.
    """
    for origin in origins:
        both = (wanted.keys() & origin.keys()).difference(may_differ)
        names = sorted(name for name in both if wanted[name] != origin[name])
        if names:
            raise MismatchError(
                wanted=f"{what} ({', '.join(f'{name} {wanted[name]}' for name in names)})",
                got=", ".join(f"{name} {origin[name]}" for name in names),
                hint=hint,
            )


def check_made_with(bases: Sequence[TangentBasis], f: FeatureMap) -> None:
    """Raises unless bases are of a feature map.

    Raises:
        MismatchError: Naming what differs.
    """
    origins = (basis.origin for basis in bases)
    check_agreeing(origins, f.origin, what="bases of this feature map", hint="make them anew: local_basis(f, x)")


def comparable(bases: Sequence[TangentBasis], *, at_least: int = 2, may_differ: Collection[str] = ()) -> Tensor:
    """U of every sample, `(B, k, D)`, if the bases may be compared.

    Args:
        bases: Tangent bases, single or batched.
        at_least: How many samples are needed.
        may_differ: Names of the origin that are allowed to differ: ``{"t"}`` for a comparison across timesteps,
            ``{"condition"}`` across prompts.

    Returns:
        The rows of all samples, flat in H.

    Raises:
        OptionError: If there are too few samples.
        MismatchError: If they come from different maps; latents of different t are the usual case.
        RankError, ShapeError: If they differ in rank or D.
    """
    samples = [sample for basis in bases for sample in basis.samples()]
    if len(samples) < at_least:
        raise OptionError(
            wanted=f"bases of at least {at_least} samples", got=str(len(samples)), hint="compute more local bases"
        )
    first = samples[0]
    for other in samples[1:]:
        names = [name for name in differing(first.origin, other.origin) if name not in may_differ]
        if names:
            raise MismatchError(
                wanted="bases of one feature map",
                got=", ".join(f"{name} {first.origin.get(name)} and {other.origin.get(name)}" for name in names),
                hint="use one model, layer, t, pool and condition, or name in may_differ what is compared",
            )
        if other.u.shape[1] != first.u.shape[1]:
            raise ShapeError(
                wanted=f"features of {first.u.shape[1]} values",
                got=str(other.u.shape[1]),
                hint="use one layer and pool",
            )
        if other.rank != first.rank:
            raise RankError(
                wanted=f"bases of rank {first.rank}", got=str(other.rank), hint="ask for the same rank everywhere"
            )
    return torch.stack([sample.u for sample in samples]) if samples else torch.zeros(0, 0, 0)
