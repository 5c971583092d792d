"""Top singular triplets of J by four methods, each with its residual and its cost."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Literal, get_args

import torch

from pullback.errors import ModelError, NoMemoryError, NotConvergedError, NotConvergedWarning, OptionError, RankError
from pullback.geometry.cost import best_block
from pullback.geometry.exact import dense_triplets
from pullback.geometry.jacobian import JacobianAt
from pullback.geometry.lanczos import Goal, lanczos
from pullback.geometry.linalg import generator_or_fixed, precision, small
from pullback.geometry.plan import JvpEngine, Plan, Products
from pullback.geometry.power import power_iteration
from pullback.geometry.tangent import TangentBasis, signs
from pullback.geometry.triplets import Triplets, relative

Method = Literal["lanczos", "power", "pooled", "dense"]
EXACT: tuple[JvpEngine, ...] = ("double_backward", "vmap")
"""Engines that check what finite differences have found."""


def top_singular(
    jac: JacobianAt,
    rank: int,
    *,
    method: Method = "lanczos",
    tol: float = 1e-3,
    block: int | None = None,
    guard: int = 5,
    max_products: int | None = None,
    generator: torch.Generator | None = None,
    verify: bool = True,
    strict: bool = False,
) -> TangentBasis:
    """The ``rank`` largest singular triplets: ``J v_i = + s_i u_i``, ``J^T u_i = s_i v_i``.

    * ``"lanczos"``: block Golub-Kahan-Lanczos, see `lanczos`.
    * ``"power"``: the published subspace iteration (2307.12868) with its published settings, see `power_iteration`.
    * ``"pooled"``: D reverse passes and a dense SVD: exact; the fastest where D is small, see `is_cheaper_whole`.
    * ``"dense"``: min(D, N) products of the cheaper kind and a dense SVD.

    Args:
        jac: J at one x or at a batch of them.
        rank: How many, 0 to min(D, N).
        method: See above.
        tol: Largest ``max(|Jv - su|, |J^T u - sv|) / s_1``. Lanczos goes on until the span is right as well, see
            `Goal.is_met`.
        block: Directions of a sample in one step of Lanczos; by default `best_block` of the plan, 1 to 10: narrow
            blocks take fewer products, wide ones cheaper ones.
        guard: Triplets beyond the rank that must have shown themselves, by which the gap behind the rank is known.
        max_products: Budget of Lanczos for each sample, apart from probes, ``200 + 40 (rank + guard)`` by default. It
            always takes the two or three blocks without which there would be no ``rank + guard`` triplets.
        generator: For starting vectors and probes; a fixed seed by default.
        verify: Whether Lanczos probes for a larger singular value outside its answer (15 products a sample), and what
            finite differences found is checked by exact products (2k); without those it is not called verified.
        strict: Whether too large a residual is an error rather than a warning.

    Returns:
        A basis with its residuals, clusters, gap and cost.

    Raises:
        RankError: If the rank does not fit.
        OptionError: If another argument has no meaning.
        NotConvergedError: If ``strict`` and the residual of a returned triplet stayed above ``tol``.

    Example:
        >>> from pullback.testing import planted_spectrum
        >>> f = planted_spectrum([3.0, 2.0, 1.0], dim_x=8, dim_h=6)
        >>> top_singular(JacobianAt(f, torch.zeros(8)), 2).s
        tensor([3.0000, 2.0000], dtype=torch.float64)
    """
    _check(jac, rank, method, tol, block, guard)
    generator = generator_or_fixed(generator)
    guarded = min(rank + guard, jac.dim_h, jac.dim_x)
    before, by_rows = jac.products_each, method == "pooled" or (method == "dense" and jac.dim_h <= jac.dim_x)
    with torch.no_grad(), precision():
        if guarded == 0:
            found = _nothing(jac)
        elif method == "lanczos":
            budget = 200 + 40 * guarded if max_products is None else max_products
            goal = Goal(rank, guarded, tol, budget, is_probed=verify, noise=_noise(jac))
            block = block or best_block(jac.plan, jac.num_samples, guarded)
            found = lanczos(jac, goal, block=min(block, guarded), generator=generator)
        elif method == "power":
            found = power_iteration(jac, rank, generator=generator)
        else:
            found = dense_triplets(jac, by_rows=by_rows)
        if jac.plan.jvp_engine == "finite_difference" and guarded and not by_rows:  # by rows J^T u alone is needed
            found = _checked(jac, found, rank, tol) if verify else _unverified(found)
    spent = tuple(now - then for now, then in zip(jac.products_each, before, strict=True))
    basis = _basis(jac, found, rank, method, spent)
    if method != "power":
        _report_convergence(basis, tol, strict)
    return basis


def _noise(jac: JacobianAt) -> float:
    """Relative residual that rounding of products leaves."""
    eps = 2.0**-11 if jac.plan.dtype == "tf32" else torch.finfo(jac.dtype).eps
    is_exact = jac.plan.jvp_engine != "finite_difference"
    return min(100 * eps, eps**0.5) if is_exact else eps**0.5


def _checked(jac: JacobianAt, found: Triplets, rank: int, tol: float) -> Triplets:
    """An answer of finite differences with the residuals of exact products, 2k of them; unverified if there are none.

    Quantised weights have no exact Jv: their J^T u is exact, but a residual of that side alone proves nothing.
    """
    u, s, v = found.u[:, :rank], found.s[:, :rank].to(found.u)[..., None], found.v[:, :rank]
    for engine in EXACT:
        exact = jac.by(Plan.fixed(engine, jac.plan.vjp_engine, chunk=jac.plan.chunk))
        try:
            errors = exact.jvp_flat(v) - s * u, exact.vjp_flat(u) - s * v
        except (ModelError, NoMemoryError, NotImplementedError, RuntimeError):
            continue
        sizes = (small(torch.linalg.vector_norm(error, dim=-1)) for error in errors)
        residual = found.residual.clone()
        residual[:, :rank] = relative(torch.maximum(*sizes), found.s[:, :rank])
        is_small = (residual[:, :rank] <= tol).all(-1)
        return replace(found, residual=residual, is_verified=found.is_verified & is_small)
    return _unverified(found)


def _unverified(found: Triplets) -> Triplets:
    return replace(found, is_verified=torch.zeros_like(found.is_verified))


def _nothing(jac: JacobianAt) -> Triplets:
    u = jac.x.new_zeros(jac.num_samples, 0, jac.dim_h, dtype=jac.dtype)
    v = jac.x.new_zeros(jac.num_samples, 0, jac.dim_x, dtype=jac.dtype)
    s = torch.zeros(jac.num_samples, 0, dtype=torch.float64)
    return Triplets(u, s, v, s, torch.ones(jac.num_samples, dtype=torch.bool))


def _basis(jac: JacobianAt, found: Triplets, rank: int, method: str, spent: tuple[Products, ...]) -> TangentBasis:
    u, s, v, residual = found.u[:, :rank], found.s[:, :rank], found.v[:, :rank], found.residual[:, :rank]
    sign = signs(u)
    s_next = found.s[:, rank] if found.s.shape[1] > rank else torch.zeros(len(s), dtype=s.dtype)
    v = (sign * v).unflatten(-1, jac.f.x_shape)
    can_verify = jac.f.dtype in (torch.float32, torch.float64) and jac.plan.dtype != "tf32"
    parts = (sign * u, s.to(u), v, residual.to(u), s_next.to(u), found.is_verified & can_verify)
    u, s, v, residual, s_next, is_verified = parts if jac.is_batched else (part[0] for part in parts)
    return TangentBasis(
        u=u,
        s=s,
        v=v,
        residual=residual,
        s_next=s_next,
        is_verified=is_verified,
        products_each=spent,
        plan=jac.plan,
        method=method,
        krylov_bytes=found.krylov_bytes,
        origin=dict(jac.f.origin),
    )


def _check(jac: JacobianAt, rank: int, method: str, tol: float, block: int | None, guard: int) -> None:
    largest = min(jac.dim_h, jac.dim_x)
    if not 0 <= rank <= largest:
        raise RankError(
            wanted=f"rank must be between 0 and min(D, N) = {largest}",
            got=str(rank),
            hint="ask for fewer directions, or for a layer with a larger feature",
        )
    if method not in get_args(Method):
        raise OptionError(
            wanted=f"method must be one of {', '.join(get_args(Method))}",
            got=repr(method),
            hint="lanczos fits all maps",
        )
    if not tol > 0 or guard < 0 or (block is not None and block < 1):
        raise OptionError(
            wanted="tol > 0, guard >= 0 and block >= 1",
            got=f"tol={tol}, guard={guard}, block={block}",
            hint="tol=1e-3 and guard=5 are the defaults",
        )


def _report_convergence(basis: TangentBasis, tol: float, strict: bool) -> None:
    worst = float(basis.residual.max()) if basis.residual.numel() else 0.0
    if worst <= tol:
        return
    error = NotConvergedError(
        wanted=f"residuals of at most {tol:g}",
        got=f"{worst:.2g} after {basis.products.total} products",
        hint="raise max_products or tol; the basis carries the residual of each triplet",
    )
    if strict:
        raise error
    warnings.warn(str(error), NotConvergedWarning, stacklevel=3)
