"""Directions of a region, such as the mouth, that leave the rest alone: by masks and null spaces, and LOCO-Edit's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from pullback.directions.masked_jacobian import MaskedJacobianAt, flat_masks
from pullback.directions.masks import Mask, mask_at, mask_digest, outside_share
from pullback.directions.types import Direction
from pullback.errors import NoMemoryError, NumericalError, OptionError, ShapeError
from pullback.geometry.compare import check_agreeing
from pullback.geometry.cost import is_cheaper_whole
from pullback.geometry.jacobian import JacobianAt
from pullback.geometry.linalg import deflated, orthonormal_rows, row_svd
from pullback.geometry.memory import fewer
from pullback.geometry.plan import Plan
from pullback.geometry.svd import top_singular
from pullback.geometry.tangent import TangentBasis
from pullback.types import FeatureMap, Origin

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
        MismatchError: If the map to the outside is of another model, t or condition.
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
    if outside is not None:
        check_agreeing(
            [outside.origin],
            f.origin,
            what="a map to the outside of the model and t of f",
            hint='OutputMap(den, t=f.t, kind="x0"), with the condition of f',
            may_differ=("layer", "pool"),
        )
    (basis,) = regional_bases(f, x[None], [mask], where=where, rank=rank, tol=tol, plan=plan, generator=generator)
    v, num_cleared = basis.v, 0
    if outside is not None and num_outside > 0:
        w = outside_vectors(outside, x, mask, rank=num_outside, tol=tol, plan=plan, generator=generator)
        v, num_cleared = cleared(v, restricted(w, mask) if where == "x" else w), len(w)
    origin = {**basis.origin, "estimator": f"masked {where}", "num_outside": num_cleared}
    return [
        Direction(row.clone(), "X", origin, s=float(s), index=index)
        for index, (row, s) in enumerate(zip(v, basis.s, strict=True))
    ]


def regional_bases(
    f: FeatureMap,
    x: Tensor,
    masks: Sequence[Mask],
    *,
    where: Where = "x0",
    is_outside: bool = False,
    rank: int = 10,
    tol: float = 1e-3,
    plan: Plan | None = None,
    generator: torch.Generator | None = None,
    verify: bool = True,
) -> list[TangentBasis]:
    """Top singular triplets of ``J M`` (``where="x"``) or ``M J`` at each of several latents, found together.

    In fewer and fewer at a time, and with a warning, once memory runs out.

    Args:
        f: The map.
        x: Latents `(B, *x_shape)`; one latent several times where several regions of it are wanted.
        masks: One for each.
        where: As in `regional_directions`. With ``"x"`` each v lies inside its mask, to the last bit; residuals are
            those before what the tolerance left of it elsewhere was taken away.
        is_outside: Whether the masks mark what is not meant: ``1 - M`` in place of M.
        rank: How many triplets.
        tol: Largest residual.
        plan: How products are computed.
        generator: For starting vectors.
        verify: As in `local_basis`; its probes are most of the products of a low rank at a wide tolerance.

    Returns:
        A basis each, whose origin names its mask.

    Raises:
        OptionError: If ``where`` is unknown, or a mask is empty.
        NoMemoryError: If one latent alone is too many.
        ShapeError: If a latent or a mask does not fit, or there are not as many masks as latents.
        NumericalError: If a direction has no part inside its mask in x, as beyond the rank of ``J M``.

    Example:
        >>> from pullback.testing import ConvMap
        >>> from pullback.directions.masks import Rectangle
        >>> left, right = Rectangle(0, 0, 1, 0.5), Rectangle(0, 0.5, 1, 1)
        >>> found = regional_bases(ConvMap(), torch.zeros(2, 3, 8, 8).double(), [left, right], where="x", rank=1)
        >>> [float(basis.v[..., 4:].norm()) > 0.5 for basis in found]
        [False, True]
    """
    if where not in get_args(Where):
        raise OptionError(wanted="where x, h or x0", got=repr(where), hint="x0 is the picture that the latent becomes")
    if tuple(x.shape[1:]) != tuple(f.x_shape) or len(masks) != len(x):
        raise ShapeError(
            wanted=f"latents (B, {', '.join(map(str, f.x_shape))}) and a mask for each",
            got=f"{tuple(x.shape)} and {len(masks)} masks",
            hint="repeat a latent of which several regions are wanted",
        )
    is_x = where == "x"
    rows = flat_masks(masks, f.x_shape if is_x else f.h_shape)
    rows = 1 - rows if is_outside else rows
    bases: list[TangentBasis] = []
    num = len(x)
    while len(bases) < len(x):
        part = slice(len(bases), len(bases) + num)
        in_x, in_h = (rows[part], None) if is_x else (None, rows[part])
        jac = MaskedJacobianAt(f, x[part], in_x=in_x, in_h=in_h, plan=plan)
        method = "pooled" if is_cheaper_whole(jac.dim_h, rank) else "lanczos"
        try:
            found = top_singular(jac, rank, method=method, tol=tol, generator=generator, verify=verify)
        except (RuntimeError, NoMemoryError) as error:
            num = fewer(len(jac.x), error)
            continue
        bases += found.samples()
    named = f"outside {where}" if is_outside else where
    for i, (basis, row) in enumerate(zip(bases, rows, strict=True)):
        mask = row.reshape(f.x_shape if is_x else f.h_shape)
        origin: Origin = {**basis.origin, "mask": mask_digest(mask), "mask_on": named}
        v = _inside(basis.v, mask, tol) if is_x else basis.v
        bases[i] = dataclasses.replace(basis, v=v, origin=origin | {"anchor": mask_digest(x[i])} if is_x else origin)
    return bases


def _inside(v: Tensor, mask: Tensor, tol: float) -> Tensor:
    """Right vectors of ``J M``, `(k, *x_shape)`, without what an iteration to a tolerance leaves of them elsewhere.

    One with ``s > 0`` lies inside, to within the tolerance; of one that lies elsewhere only that is found inside.
    """
    inside = v * (mask > 0).to(v)
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
    (basis,) = regional_bases(f, x[None], [mask], is_outside=True, rank=rank, tol=tol, plan=plan, generator=generator)
    return seen_vectors(basis)


def seen_vectors(basis: TangentBasis) -> Tensor:
    """The v `(r, *x_shape)` of one latent's basis that move h at all; none, if J is 0, as outside a full mask."""
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
