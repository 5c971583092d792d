"""Directions of a region, such as the mouth, that leave the rest alone: by masks and null spaces, and LOCO-Edit's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from pullback.directions.local import local_basis
from pullback.directions.masked_maps import MaskedInput, MaskedOutput
from pullback.directions.masks import Mask, mask_at, outside_share
from pullback.directions.types import Direction
from pullback.errors import NumericalError, OptionError, ShapeError
from pullback.geometry.jacobian import JacobianAt
from pullback.geometry.linalg import deflated, orthonormal_rows, row_svd
from pullback.geometry.plan import Plan
from pullback.geometry.tangent import TangentBasis
from pullback.types import FeatureMap

Where = Literal["x", "h", "x0"]
NUM_OUTSIDE = 5
"""Right vectors of the outside that LOCO-Edit takes out."""
SEEN = 1e-6
"""Of the outside's s_1: what moves it less is no part of its row space. Of a unit vector: a part that is not there."""


def regional_directions(
    f: FeatureMap,
    x: Tensor,
    mask: Mask,
    *,
    where: Where = "x0",
    rank: int = 10,
    outside: FeatureMap | None = None,
    num_outside: int = NUM_OUTSIDE,
    tol: float = 1e-3,
    plan: Plan | None = None,
    generator: torch.Generator | None = None,
) -> list[Direction]:
    """Directions at x that act inside a mask: right vectors of ``J M``, or of ``M J``, cleared of the outside.

    * ``where="x"``: only x inside the mask may move: ``J M``.
    * ``where="h"``: only h inside the mask counts: ``M J``, h unpooled.
    * ``where="x0"``: the same for a map to x0; `loco_directions` with f the x0-prediction.

    Then, with a map ``outside`` to x0, ``v <- (I - W^T W) v``, scaled, W the top right vectors of ``(1 - M) d x0/dx``:
    to first order v leaves alone what these see of the outside. With ``where="x"`` it is `restricted` to the mask
    first: v becomes orthogonal to W and still moves x inside the mask alone.

    Args:
        f: The map whose directions are wanted.
        x: One latent, `x_shape`.
        mask: An array, a rectangle or a function, in the space of ``where``.
        where: ``"x"``, ``"h"`` or ``"x0"``.
        rank: How many directions.
        outside: ``OutputMap(den, t=t, kind="x0")``, or None to leave out the second step. Its mask is the same: give a
            rectangle or a function where the spaces differ in size.
        num_outside: Rows of W.
        tol: Largest residual of the bases.
        plan: How products are computed.
        generator: For starting vectors.

    Returns:
        Directions of X with the s of the masked map; not orthogonal to each other after the second step.

    Raises:
        OptionError: If ``where`` is unknown, or the mask is empty.
        ShapeError: If x or the mask does not fit.
        NumericalError: If nothing of a direction is left: by the second step, or inside a mask in x, as beyond the rank
            of ``J M``.

    Example:
        >>> from pullback.testing import ConvMap
        >>> from pullback.directions.masks import Rectangle
        >>> x = torch.zeros(3, 8, 8).double()
        >>> found = regional_directions(ConvMap(), x, Rectangle(0, 0, 0.5, 1), where="x", rank=2, plan=Plan.fixed())
        >>> float(found[0].vector[:, 4:].abs().max()) < 1e-12
        True
    """
    if where not in get_args(Where):
        raise OptionError(wanted="where x, h or x0", got=repr(where), hint="x0 is the picture that the latent becomes")
    masked = MaskedInput(f, x, mask) if where == "x" else MaskedOutput(f, mask, where=where)
    basis = local_basis(masked, x, rank=rank, tol=tol, plan=plan or Plan.fixed(), generator=generator)
    origin = {**masked.origin, "estimator": f"masked {where}", "num_outside": 0}
    v = _inside(basis.v, mask, tol) if where == "x" else basis.v
    if outside is not None and num_outside > 0:
        w = outside_vectors(outside, x, mask, rank=num_outside, tol=tol, plan=plan or Plan.fixed(), generator=generator)
        v, origin["num_outside"] = cleared(v, restricted(w, mask) if where == "x" else w), len(w)
    return [
        Direction(row.clone(), "X", origin, s=float(s), index=index)
        for index, (row, s) in enumerate(zip(v, basis.s, strict=True))
    ]


def _inside(v: Tensor, mask: Mask, tol: float) -> Tensor:
    """Right vectors of ``J M``, `(k, *x_shape)`, without what an iteration to a tolerance leaves of them elsewhere.

    One with ``s > 0`` lies inside, to within the tolerance; of one that lies elsewhere only that is found inside.
    """
    inside = v * (mask_at(mask, v.shape[1:]) > 0).to(v)
    length = torch.linalg.vector_norm(inside.flatten(1), dim=1)
    num = int((length > max(tol, SEEN)).sum())
    if num < len(v):
        raise NumericalError(
            wanted=f"{len(v)} directions with a part inside the mask",
            got=f"{num} of them: J M has no higher rank",
            hint=f"ask for rank={num} at most, or mark a larger part",
        )
    return inside / length.reshape(-1, *[1] * (v.ndim - 1))


def loco_directions(
    f: FeatureMap,
    x: Tensor,
    mask: Mask,
    *,
    rank: int = 1,
    num_outside: int = NUM_OUTSIDE,
    tol: float = 1e-3,
    plan: Plan | None = None,
    generator: torch.Generator | None = None,
) -> list[Direction]:
    """LOCO-Edit's: v from ``d(M x0)/dx``, then ``v <- (I - W^T W) v``, W the top-5 right vectors of ``d((1-M) x0)/dx``.

    Args:
        f: The posterior mean, ``OutputMap(den, t=t, kind="x0")``.
        x: One latent, `x_shape`.
        mask: In x0. A full one gives the plain directions of d x0/dx.
        rank: How many directions; the method uses one at a time.
        num_outside: Rows of W.
        tol: Largest residual of the bases.
        plan: How products are computed.
        generator: For starting vectors.

    Returns:
        Directions of X.

    Raises:
        OptionError, ShapeError, NumericalError: As `regional_directions`.
    """
    found = regional_directions(
        f,
        x,
        mask,
        where="x0",
        rank=rank,
        outside=f,
        num_outside=num_outside,
        tol=tol,
        plan=plan,
        generator=generator,
    )
    return [dataclasses.replace(each, origin={**each.origin, "estimator": "loco"}) for each in found]


def outside_vectors(
    f: FeatureMap,
    x: Tensor,
    mask: Mask,
    *,
    rank: int = NUM_OUTSIDE,
    tol: float = 1e-3,
    plan: Plan | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """W: top right vectors of ``(1 - M) J``, orthonormal, shape `(r, *x_shape)`; fewer where the outside sees less.

    Raises:
        ShapeError, OptionError: If x or the mask does not fit, or the mask is empty. A full one gives no rows.
    """
    if bool((mask_at(mask, f.h_shape) == 1).all()):
        return x.new_zeros(0, *x.shape)
    masked = MaskedOutput(f, mask, is_outside=True, where="x0")
    basis: TangentBasis = local_basis(masked, x, rank=rank, tol=tol, plan=plan or Plan.fixed(), generator=generator)
    return basis.v[basis.s > SEEN * basis.s[:1]]


def restricted(w: Tensor, mask: Mask) -> Tensor:
    """Orthonormal vectors that span what of w `(r, *x_shape)` lies inside a mask in x: r of them, or fewer.

    A v that stays inside the mask is orthogonal to w if it is orthogonal to these.

    Raises:
        ShapeError, OptionError: If the mask does not fit x, or is empty.

    Example:
        >>> from pullback.directions.masks import Rectangle
        >>> restricted(torch.full((1, 1, 2, 2), 0.5), Rectangle(0, 0, 1, 0.5)).abs().flatten()
        tensor([0.7071, 0.0000, 0.7071, 0.0000])
    """
    inside = w * (mask_at(mask, w.shape[1:]) > 0).to(w)
    _, s, right = row_svd(inside.flatten(1)[None])
    return right[0][(s[0] > SEEN).to(right.device)].unflatten(1, w.shape[1:])


def cleared(v: Tensor, against: Tensor) -> Tensor:
    """``(I - W^T W) v``, scaled to unit length: directions of X without what lies in the span of others.

    Args:
        v: Shape `(m, *x_shape)`.
        against: Linearly independent vectors, shape `(r, *x_shape)`; they need not be orthonormal.

    Returns:
        Unit vectors, shape `(m, *x_shape)`.

    Raises:
        ShapeError: If they live in different spaces.
        NumericalError: If nothing of a direction is left.

    Example:
        >>> cleared(torch.tensor([[1.0, 1.0]]), torch.tensor([[0.0, 2.0]]))
        tensor([[1., 0.]])
    """
    if v.shape[1:] != against.shape[1:]:
        raise ShapeError(
            wanted=f"vectors of shape {tuple(v.shape[1:])}", got=str(tuple(against.shape[1:])), hint="compare within X"
        )
    flat, rows = v.flatten(1), against.to(v).flatten(1)
    if len(rows):
        flat = deflated(flat, orthonormal_rows(rows[None])[0][0])
    length = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    if bool((length <= 1e-6 * torch.linalg.vector_norm(v.flatten(1), dim=1, keepdim=True)).any()):
        raise NumericalError(
            wanted="directions with a part outside the span of the others",
            got="one that lies within it",
            hint="take fewer vectors to clear, or another direction",
        )
    return (flat / length).reshape(v.shape)


def first_order_outside(directions: Sequence[Direction], f: FeatureMap, x: Tensor, mask: Mask) -> Tensor:
    """Share of ``J v`` that falls outside the mask, to first order, for each direction of X; shape `(m,)`, float64.

    Args:
        directions: Of X.
        f: A map to pictures or features (C, H, W), such as the x0-prediction.
        x: The latent, `x_shape`.
        mask: In the space of f's output.
    """
    pushed = JacobianAt(f, x).jvp(torch.stack([each.vector for each in directions]).to(x))
    return outside_share(pushed.unflatten(-1, f.h_shape), mask)
