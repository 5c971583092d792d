"""The published solver, on our engine, for comparison."""

from __future__ import annotations

import torch
from torch import Tensor

from pullback.geometry.jacobian import JacobianAt
from pullback.geometry.linalg import orthonormal_rows, randn, row_svd, small
from pullback.geometry.triplets import Triplets, relative

MIN_ITERATIONS = 10


def power_iteration(
    jac: JacobianAt,
    rank: int,
    *,
    generator: torch.Generator,
    max_iterations: int = 50,
    atol: float = 1e-4,
    is_stop_sign_free: bool = False,
    residual_tol: float | None = None,
) -> Triplets:
    """Block power iteration as published with 2307.12868, then one Rayleigh-Ritz step.

    Repeat ``U = J V``, ``B = U^T J``, V = right singular vectors of B, until every ``|V - V_prev| < atol`` after more
    than 10 iterations. Signs of singular vectors flip freely from step to step, so the published test may never fire.

    Departure: the published u is ``J V_prev``, neither unit nor signed to match v. Here a last pass (2 k products)
    rotates V so that ``J v_i = + s_i u_i``, and measures the residual.

    Args:
        jac: J at a batch of x.
        rank: k.
        generator: For the first V.
        max_iterations: 50 in the published driver, 100 in its library.
        atol: 1e-4 in the published driver, 1e-3 in its library.
        is_stop_sign_free: Whether V is compared with V_prev up to the sign of each row.
        residual_tol: Stop when every ``|J^T u - s v| / s_1`` of the iterate is at most this, instead of the published
            test: what the comparison at equal residual needs. It costs no product.

    Returns:
        k triplets, never verified. Costs 2 k products an iteration and 2 k at the end.
    """
    v, _ = orthonormal_rows(randn((jac.num_samples, rank, jac.dim_x), generator, like=jac.x).to(jac.dtype))
    done: dict[int, Tensor] = {}
    active = list(range(jac.num_samples))
    part = jac
    for iteration in range(max_iterations if rank else 0):
        pushed = part.jvp_flat(v)
        pulled = part.vjp_flat(pushed)
        _, _, after = row_svd(pulled)
        if residual_tol is None:
            change = _change(after, v, is_stop_sign_free)
            stopped = change < atol if iteration > MIN_ITERATIONS else torch.zeros_like(change, dtype=torch.bool)
            v = after
        else:
            stopped = _residual(v, pushed, pulled) <= residual_tol
            v = torch.where(stopped.to(v.device)[:, None, None], v, after)
        if bool(stopped.any()):
            done |= {active[i]: v[i] for i in range(len(active)) if stopped[i]}
            keep = [i for i in range(len(active)) if not stopped[i]]
            v, active = v[keep], [active[i] for i in keep]
            if not active:
                break
            part = jac.subset(active)
    done |= dict(zip(active, v, strict=True))
    return _signed(jac, torch.stack([done[i] for i in range(jac.num_samples)]))


def _change(after: Tensor, before: Tensor, is_sign_free: bool) -> Tensor:
    """Largest change of an entry, sample by sample."""
    if is_sign_free:
        sign = torch.where((after * before).sum(-1, keepdim=True) < 0, -1.0, 1.0).to(after)
        after = sign * after
    return small((after - before).abs().flatten(1).amax(1))


def _residual(v: Tensor, pushed: Tensor, pulled: Tensor) -> Tensor:
    """Largest relative residual of the Ritz triplets of span V, sample by sample, out of products already made."""
    rotation, s, _ = row_svd(pushed)  # J V^T = U^T S rotation, for rows: J^T u_i = rotation_i pulled / s_i
    inverse = torch.where(s > 0, 1 / s, 0.0)[..., None].to(v)
    left = torch.linalg.vector_norm(inverse * (rotation @ pulled) - s[..., None].to(v) * (rotation @ v), dim=-1)
    return relative(small(left), s).amax(-1)


def _signed(jac: JacobianAt, v: Tensor) -> Triplets:
    """Rotate V inside its span so that J v_i = + s_i u_i."""
    rotation, s, u = row_svd(jac.jvp_flat(v))  # J V^T = U^T S rotation, for rows
    v = rotation @ v
    left = torch.linalg.vector_norm(jac.vjp_flat(u) - s[..., None].to(v) * v, dim=-1)
    return Triplets(u, s, v, relative(small(left), s), torch.zeros(len(v), dtype=torch.bool))
