"""Geodesic shooting: a direction followed by many small steps, re-aimed at each  (2302.12469)."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from pullback.errors import NotConvergedWarning, NumericalError, OptionError, ShapeError, TransportWarning
from pullback.geometry.lengths import BasisAt
from pullback.geometry.radius import linearity_radius
from pullback.geometry.shots import Shooting, Shot, together
from pullback.geometry.tangent import TangentBasis
from pullback.geometry.transport import Inverse, Transported, retained_null, transport
from pullback.types import FeatureMap


def shoot(
    f: FeatureMap,
    x: Tensor,
    u: Tensor,
    *,
    basis_at: BasisAt,
    step: float,
    num_steps: int,
    inverse: Inverse = "transpose",
    tolerance: float | None = 0.1,
    max_bases: int | None = None,
) -> Shot:
    """Follow u from x: ``x' = x + g v``, ``u' = U U^T u`` with U of x', ``v' = V U^T u'``, both scaled to unit length.

    Departure: a step is no longer than the linearity radius of v, so that the length ``step num_steps`` may take more
    steps than were asked for. ``tolerance=None`` takes the steps as they are, as published.

    Args:
        f: The feature map.
        x: Start, shape `x_shape`.
        u: Direction in H, shape `(D,)`. For a v in X take ``J v``; for the same as ``V U^T u`` see `aimed`.
        basis_at: Makes the tangent basis at a latent, of one rank: ``lambda x: local_basis(f, x, rank=10)``.
        step: g, in units of x.
        num_steps: How many.
        inverse: How v is made of u, as for `transport`.
        tolerance: What share of the linear displacement the remainder of a step may be, or None.
        max_bases: Bases at most besides that at x, 1 or more, ``4 num_steps`` by default; it warns when the length is
            not covered by then.

    Returns:
        The path. Costs a basis a step, and 10 to 30 encoder passes with a tolerance.

    Raises:
        OptionError: If step, num_steps or max_bases is not positive.
        ShapeError: If u does not live in H.

    Example:
        >>> from pullback.testing import UnitMap
        >>> from pullback.geometry import JacobianAt, top_singular
        >>> f, start = UnitMap(2), torch.tensor([1.0, 0.0], dtype=torch.float64)
        >>> u = torch.tensor([0.0, 1.0], dtype=torch.float64)
        >>> shot = shoot(f, start, u, basis_at=lambda x: top_singular(JacobianAt(f, x), 1), step=0.1, num_steps=40)
        >>> bool(shot.x[-1][0] < 0)  # past a quarter turn, which no straight line reaches
        True
    """
    walk = shooting(f, x, u, step=step, num_steps=num_steps, inverse=inverse, tolerance=tolerance, max_bases=max_bases)
    shot = together([walk], lambda x: [basis_at(x[0])])[0]
    _report_length(shot, step * num_steps, "max_bases")
    return shot


def shooting(
    f: FeatureMap,
    x: Tensor,
    u: Tensor,
    *,
    step: float,
    num_steps: int,
    first: TangentBasis | None = None,
    inverse: Inverse = "transpose",
    tolerance: float | None = 0.1,
    max_bases: int | None = None,
) -> Shooting:
    """`shoot`, for `together` to run: the same arguments, and in ``first`` the basis at x, if it is there already.

    A shot that does not cover the length is no warning here; see its ``is_complete``.

    Raises:
        OptionError, ShapeError: As `shoot`, when it is begun.
    """
    if not step > 0 or num_steps < 1:
        raise OptionError(wanted="step > 0 and num_steps >= 1", got=f"{step} and {num_steps}", hint="use -u to go back")
    if max_bases is not None and max_bases < 1:
        raise OptionError(wanted="max_bases >= 1, or None", got=str(max_bases), hint="None allows 4 num_steps of them")
    if x.shape != f.x_shape:
        raise ShapeError(wanted=f"x of shape {f.x_shape}", got=str(tuple(x.shape)), hint="shoot one sample at a time")
    budget = 4 * num_steps if max_bases is None else max_bases
    bases, left = [first or (yield x)], step * num_steps
    aims = [_aim(u, bases[0], inverse)]
    points, steps = [x], []
    while left > 1e-9 * step * num_steps and len(bases) <= budget:
        g = min(step, left)
        if tolerance is not None:
            radius = float(linearity_radius(f, points[-1], aims[-1].v, tolerance=tolerance, largest=g))
            g = min(g, radius) if radius > 0 else g
        points.append(points[-1] + g * aims[-1].v.to(x))
        bases.append((yield points[-1]))
        aims.append(_aim(aims[-1].u, bases[-1], inverse))
        steps.append(g)
        left -= g
    return Shot(
        x=torch.stack(points),
        u=torch.stack([aim.u for aim in aims]),
        v=torch.stack([aim.v for aim in aims]),
        step=torch.tensor(steps, dtype=torch.float64),
        retained=torch.stack([aim.retained for aim in aims]),
        retained_null=retained_null(bases[0].rank, bases[0].u.shape[-1]),
        bases=tuple(bases),
        is_complete=left <= 1e-9 * step * num_steps,
    )


def aimed(basis: TangentBasis, v: Tensor, *, inverse: Inverse = "transpose") -> Tensor:
    """The u whose v, by the given inverse, is the tangent projection ``V V^T v``: unit, shape `(D,)`.

    ``U V^T v`` for ``"transpose"``, and ``U S V^T v``, which is J v, for ``"pinv"``.

    Raises:
        NumericalError: If v is orthogonal to the tangent space.
    """
    weight = basis.v.flatten(1) @ v.to(basis.v).flatten()
    weight = weight * basis.s if inverse == "pinv" else weight
    length = torch.linalg.vector_norm(weight)
    if not float(length) > 0:
        raise NumericalError(
            wanted="a v with a part in the tangent space", got="one orthogonal to it", hint="raise the rank"
        )
    return (weight / length) @ basis.u


def shoot_towards(
    f: FeatureMap,
    a: Tensor,
    b: Tensor,
    *,
    basis_at: BasisAt,
    num_steps: int = 30,
    inverse: Inverse = "transpose",
    tolerance: float | None = None,
) -> Shot:
    """Shoot from a along the tangent projection of ``b - a``, in ``num_steps`` steps of ``|b - a| / num_steps``.

    It does not arrive at b: `path_lengths` with ``target=b`` reports the miss. Step control is off, so that every path
    has as many segments; with a tolerance it warns when the distance is not covered by ``4 num_steps``.

    Raises:
        OptionError: If num_steps is not positive.
        ShapeError: If a and b differ in shape.
        NumericalError: If they are the same, or ``b - a`` has no part in the tangent space.
    """
    walk = shooting_towards(f, a, b, num_steps=num_steps, inverse=inverse, tolerance=tolerance)
    shot = together([walk], lambda x: [basis_at(x[0])])[0]
    _report_length(shot, float(torch.linalg.vector_norm((b - a).double())), "num_steps")
    return shot


def shooting_towards(
    f: FeatureMap,
    a: Tensor,
    b: Tensor,
    *,
    num_steps: int = 30,
    inverse: Inverse = "transpose",
    tolerance: float | None = None,
) -> Shooting:
    """`shoot_towards`, for `together` to run; it raises what that does, when it is begun."""
    if a.shape != b.shape:
        raise ShapeError(
            wanted=f"b of shape {tuple(a.shape)}", got=str(tuple(b.shape)), hint="use latents of one model"
        )
    if num_steps < 1:
        raise OptionError(wanted="num_steps >= 1", got=str(num_steps), hint="30, as published")
    distance = float(torch.linalg.vector_norm((b - a).double()))
    if distance == 0:
        raise NumericalError(wanted="two different latents", got="the same twice", hint="there is nowhere to go")
    first = yield a
    aim, step = aimed(first, b - a, inverse=inverse), distance / num_steps
    return (
        yield from shooting(
            f, a, aim, step=step, num_steps=num_steps, first=first, inverse=inverse, tolerance=tolerance
        )
    )


def _aim(u: Tensor, basis: TangentBasis, inverse: Inverse) -> Transported:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TransportWarning)  # once a step is too often: the shot carries share and null
        return transport(u, basis, inverse=inverse)


def _report_length(shot: Shot, wanted: float, option: str) -> None:
    if not shot.is_complete:
        warnings.warn(
            f"shooting was to cover {wanted:.4g}; it covered {float(shot.step.sum()):.4g} in {len(shot.step)} steps of "
            f"its linearity radius; raise {option}, or pass a larger tolerance",
            NotConvergedWarning,
            stacklevel=3,  # of who called the public function
        )
