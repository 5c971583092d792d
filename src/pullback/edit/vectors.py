"""Directions of H or X as unit vectors in X at given samples, and whether they belong there."""

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from pullback.directions.origins import check_found_with
from pullback.errors import MismatchError, NumericalError, OptionError, ShapeError
from pullback.geometry.compare import check_made_with
from pullback.geometry.tangent import TangentBasis
from pullback.geometry.transport import one_product, transport
from pullback.types import FeatureMap, Origin

Make = Literal["one_product", "transport"]


def vectors_at(
    f: FeatureMap,
    x: Tensor,
    directions: Sequence[Any],
    *,
    make: Make = "one_product",
    basis: TangentBasis | None = None,
) -> Tensor:
    """Return each direction as a unit vector in X at each sample, shape `(K, B, *x_shape)`.

    A direction of X is the same everywhere. One of H becomes ``J^T u / |J^T u|``, one reverse
    product for each sample, or is transported to the basis there.

    Args:
        f: The feature map.
        x: Latents, shape `(B, *x_shape)`.
        directions: K directions, with ``vector`` and ``space``.
        make: ``"one_product"`` or ``"transport"``.
        basis: For transport: the tangent basis at x, batched as x is (a single one for one sample).

    Raises:
        OptionError: If ``make`` is unknown, or transport has no basis.
        ShapeError: If a vector or the basis does not fit f and x.
        MismatchError: If the basis is of another map.
        NumericalError: If a direction vanishes in X.
    """
    if make not in get_args(Make) or (make == "transport" and basis is None):
        raise OptionError(
            wanted=f"make {' or '.join(get_args(Make))}, and a basis at x for transport",
            got=f"{make!r} with{'out' if basis is None else ''} a basis",
            hint="one_product needs no basis",
        )
    out = x.new_empty(len(directions), *x.shape)
    in_h = [index for index, each in enumerate(directions) if each.space == "H"]
    for index, each in enumerate(directions):
        if index not in in_h:
            out[index] = _checked(each.vector, f.x_shape).to(x)
    if in_h:
        u = torch.stack([_checked(directions[i].vector, (math.prod(f.h_shape),)) for i in in_h]).to(x)  # (m, D)
        out[in_h] = (
            (one_product(f, x, u) if make == "one_product" else _transported(u, x, f, basis)).transpose(0, 1).to(x)
        )
    length = out.flatten(2).norm(dim=2)
    if not (length > 0).all():
        raise NumericalError(
            wanted="a direction that x can move", got="J^T u = 0 on a sample", hint="h does not move along it; drop it"
        )
    return out / length.reshape(*length.shape, *[1] * (x.ndim - 1))


def _transported(u: Tensor, x: Tensor, f: FeatureMap, basis: TangentBasis | None) -> Tensor:
    """Return `(B, m, *x_shape)`."""
    bases = basis.samples() if basis is not None else ()
    check_made_with(bases, f)
    if len(bases) != len(x):
        raise ShapeError(wanted=f"a basis at each of {len(x)} samples", got=f"{len(bases)}", hint="local_basis(f, x)")
    return torch.stack([transport(u, each).v for each in bases])


def _checked(vector: Tensor, shape: Sequence[int]) -> Tensor:
    if tuple(vector.shape) != tuple(shape):
        raise ShapeError(
            wanted=f"a vector of shape {tuple(shape)}",
            got=f"{tuple(vector.shape)}",
            hint="is it of this layer and pool?",
        )
    return vector


def check_origin(origins: Sequence[Origin], f: FeatureMap, t: float) -> None:
    """Raise unless directions were found with this feature map, and it is a map at t.

    What an origin does not say is not compared, nor what it was loaded in spite of.

    Raises:
        MismatchError: Naming what differs.
    """
    if f.origin.get("t", t) != t:
        raise MismatchError(
            wanted=f"a feature map at t = {t}", got=f"one at t = {f.origin['t']}", hint=f"feature_map(t={t})"
        )
    check_found_with(origins, f.origin)
