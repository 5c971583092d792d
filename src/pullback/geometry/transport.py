"""A direction found at one latent, carried to another."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from scipy.special import betaincinv
from torch import Tensor

from pullback.errors import OptionError, ShapeError, TransportWarning
from pullback.geometry.jacobian import JacobianAt
from pullback.geometry.plan import Plan
from pullback.geometry.tangent import TangentBasis
from pullback.types import FeatureMap

Inverse = Literal["transpose", "pinv"]


class Transported(NamedTuple):
    """A direction at its new place: unit ``u`` in H, unit ``v`` in X, and the share of the old one that survived."""

    u: Tensor
    v: Tensor
    retained: Tensor


def transport(u: Tensor, basis: TangentBasis, *, inverse: Inverse = "transpose") -> Transported:
    """Project u on T_h of another sample and find the tangent vector there  (2302.12469, 2307.12868).

    ``u' = U_b^T U_b u``, and ``v' = V_b^T U_b u`` (``"transpose"``: the papers' form, no division by s) or
    ``v' = V_b^T S_b^-1 U_b u`` (``"pinv"``: J v' is parallel to u' for any spectrum); all scaled to unit length. This
    is a projection, not Levi-Civita transport.

    Args:
        u: Unit vectors in H, shape `(D,)` or `(m, D)`.
        basis: The basis at the other sample, not batched.
        inverse: Which v'.

    Returns:
        u' `(D,)`, v' `x_shape` and the retained share ``|U_b u| / |u|`` `()`, each with a leading m for m directions.
        Costs no product. Warns where the share is below the 95 % of random directions: nothing was transported.

    Raises:
        ShapeError: If u does not live in H of the basis, or the basis is batched.
        OptionError: If ``inverse`` is unknown.
    """
    if inverse not in get_args(Inverse):
        raise OptionError(
            wanted="inverse must be transpose or pinv", got=repr(inverse), hint="the papers use transpose"
        )
    if basis.is_batched or u.ndim not in (1, 2) or u.shape[-1] != basis.u.shape[-1]:
        raise ShapeError(
            wanted=f"u of shape (D,) or (m, D) with D = {basis.u.shape[-1]} and the basis of one sample",
            got=f"{tuple(u.shape)} and a {'batch' if basis.is_batched else 'single basis'}",
            hint="take one with basis.sample(i)",
        )
    inside = u.to(basis.u) @ basis.u.mT  # (..., k)
    retained = torch.linalg.vector_norm(inside, dim=-1) / torch.linalg.vector_norm(u.to(basis.u), dim=-1)
    null = retained_null(basis.rank, u.shape[-1])
    if bool((retained < null).any()):
        share = float(retained.min())
        warnings.warn(
            f"transport kept {share:.3f} of a direction, and a random one would keep up to {null:.3f}; "
            "nothing was transported: the two samples do not share it",
            TransportWarning,
            stacklevel=2,
        )
    weight = inside if inverse == "transpose" else inside * _inverse_of(basis.s)
    v = (weight @ basis.v.flatten(1)).unflatten(-1, basis.v.shape[1:])
    return Transported(_unit(inside @ basis.u, 1), _unit(v, basis.v.ndim - 1), retained)


def retained_null(rank: int, dim_h: int) -> float:
    """The 95 % of the share that a span of ``rank`` keeps of a random direction: ``|U u|^2 ~ Beta(k/2, (D - k)/2)``.

    Example:
        >>> round(retained_null(10, 1000), 3)
        0.135
    """
    if rank == 0 or rank >= dim_h:
        return float(rank > 0)
    return float(betaincinv(rank / 2, (dim_h - rank) / 2, 0.95) ** 0.5)


def one_product(
    f: FeatureMap | Callable[[Tensor], Tensor], x: Tensor, u: Tensor, *, plan: Plan | None = None
) -> Tensor:
    """``v' = J^T u / |J^T u|`` at x: the cheap form of transport, without a basis there.

    Args:
        f: A feature map, or a plain batched callable.
        x: One latent `x_shape`, or a batch `(B, *x_shape)`.
        u: One direction in H, shape `(D,)`, or m of them, `(m, D)`.
        plan: How to compute.

    Returns:
        Unit vectors in X: `x_shape`, with a leading B for a batch, then m for several directions. Zero where J^T u is.
        Costs one reverse product for each direction and sample.

    Raises:
        ShapeError: If x or u does not fit f.
    """
    jac = JacobianAt(f, x, plan=plan)
    rows = u.to(jac.x.device, jac.dtype).reshape(-1, u.shape[-1])
    rows = rows.expand(jac.num_samples, -1, -1) if jac.is_batched else rows
    v = _unit(jac.vjp(rows), len(jac.f.x_shape))
    return v if u.ndim == 2 else v.squeeze(int(jac.is_batched))


def _unit(rows: Tensor, num_dims: int) -> Tensor:
    length = torch.linalg.vector_norm(rows, dim=tuple(range(-num_dims, 0)), keepdim=True)
    return rows / torch.where(length > 0, length, 1.0)


def _inverse_of(s: Tensor) -> Tensor:
    """1/s, and 0 for what J does not see."""
    floor = torch.finfo(s.dtype).eps * s.shape[-1] * s.max() if len(s) else 0.0
    return torch.where(s > floor, 1 / s.clamp_min(torch.finfo(s.dtype).tiny), 0.0)
