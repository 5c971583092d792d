"""Sums over all singular values of J, estimated from a few products, each with an interval."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from scipy.stats import t as student
from torch import Tensor

from pullback.errors import OptionError, ShapeError
from pullback.geometry.jacobian import JacobianAt
from pullback.geometry.linalg import deflated, generator_or_fixed, orthonormal_rows, randn, small
from pullback.geometry.tangent import TangentBasis

CONFIDENCE = 0.95


class Total(NamedTuple):
    """An estimate with its 95 % interval, and the products it took."""

    value: float
    low: float
    high: float
    num_products: int


def total_squares(
    jac: JacobianAt,
    *,
    num_probes: int = 20,
    sketch: int = 10,
    basis: TangentBasis | None = None,
    generator: torch.Generator | None = None,
) -> Total:
    """``sum s^2 = tr(J^T J)`` by Hutch++: exact on a subspace Q, random probes on what is left  (2010.09649).

    Q is the V of a basis, if one is at hand (its part is then ``sum s_i^2``, for nothing), or the range of a sketch
    ``J^T J G``. The rest is the mean of ``|J (I - Q Q^T) g|^2`` over Gaussian g.

    Args:
        jac: J at one x.
        num_probes: g's, 2 or more: the interval is Student's, from their spread.
        sketch: Columns of G (3 products each), if no basis is given; 0 leaves plain Hutchinson.
        basis: Tangent basis at the same x.
        generator: For G and g.

    Returns:
        The total; the interval covers the random part alone.

    Raises:
        ShapeError: If J is of a batch, or the basis of another shape.
        OptionError: If there are fewer than two probes, or a negative sketch.

    Example:
        >>> from pullback.testing import planted_spectrum
        >>> f = planted_spectrum([3.0, 2.0], dim_x=8, dim_h=6)
        >>> round(total_squares(JacobianAt(f, torch.zeros(8)), sketch=2).value, 6)
        13.0
    """
    _check(jac, num_probes, sketch, basis)
    generator, before = generator_or_fixed(generator), jac.products.total
    with torch.no_grad():
        q, inside = _known(jac, min(sketch, jac.dim_x, jac.dim_h), basis, generator)
        probes = deflated(randn((1, num_probes, jac.dim_x), generator, like=q), q)
        squares = small(jac.jvp_flat(probes)).square().sum(-1)[0]
    low, high = _interval(squares, squares)
    return Total(inside + float(squares.mean()), inside + low, inside + high, jac.products.total - before)


def total_values(
    jac: JacobianAt,
    *,
    num_probes: int = 10,
    num_steps: int = 20,
    basis: TangentBasis | None = None,
    generator: torch.Generator | None = None,
) -> Total:
    """``sum s = tr (J^T J)^(1/2)`` by stochastic Lanczos quadrature  (Golub and Meurant; Ubaru et al. 2017).

    Each Gaussian probe g starts a Golub-Kahan bidiagonalisation of m steps, whose B gives two quadratures of
    ``g^T (J^T J)^(1/2) g``: Gauss, from the m x m part, which is never too small, and Gauss-Radau with a node at 0,
    from the m x (m + 1) part, which is never too large. The value is their mean; the interval goes from the lower end
    of the one to the upper end of the other, so that it holds the error of the quadrature as well as the spread.

    Args:
        jac: J at one x.
        num_probes: g's, 2 or more.
        num_steps: m; 2 products each and probe.
        basis: Tangent basis at the same x: its V is taken out of the probes, and its s are added exactly.
        generator: For the probes.

    Returns:
        The total with its interval.

    Raises:
        ShapeError: If J is of a batch, or the basis of another shape.
        OptionError: If there are fewer than two probes or no step.

    Example:
        >>> from pullback.testing import LinearMap
        >>> found = total_values(JacobianAt(LinearMap(2 * torch.eye(9)), torch.zeros(9)), num_probes=40)
        >>> found.low < 18 < found.high
        True
    """
    _check(jac, num_probes, num_steps - 1, basis)
    generator, before = generator_or_fixed(generator), jac.products.total
    with torch.no_grad():
        q = jac.x.new_zeros(1, 0, jac.dim_x, dtype=jac.dtype) if basis is None else _rows(jac, basis)
        inside = 0.0 if basis is None else float(small(basis.s).sum())
        probes = deflated(randn((1, num_probes, jac.dim_x), generator, like=q), q)[0]
        square = bidiagonal(jac, probes, max(1, min(num_steps, jac.dim_x - q.shape[1], jac.dim_h)), q)
    weight = small(probes).square().sum(-1)
    upper, lower = (weight * _quadrature(matrix) for matrix in (square[:, :, :-1], square))
    low, high = _interval(lower, upper)
    value = inside + float((upper.mean() + lower.mean()) / 2)
    return Total(value, inside + low, inside + high, jac.products.total - before)


def bidiagonal(jac: JacobianAt, starts: Tensor, num_steps: int, outside: Tensor) -> Tensor:
    """Golub-Kahan bidiagonal matrices of several starts side by side, with full re-orthogonalisation.

    Args:
        jac: J at one x.
        starts: Shape `(p, N)`.
        num_steps: m.
        outside: Orthonormal rows `(1, k, N)` that the Krylov spaces keep out of.

    Returns:
        Shape `(p, m, m + 1)`, float64 on the CPU: diagonal alpha, superdiagonal beta; zeros after a breakdown.
    """
    v = _unit(starts)
    rights, lefts, matrix = [v], [], torch.zeros(len(starts), num_steps, num_steps + 1, dtype=torch.float64)
    for step in range(num_steps):
        u, alpha = _new(jac.jvp_flat(rights[-1][None])[0], lefts)
        lefts.append(u)
        v, beta = _new(deflated(jac.vjp_flat(u[None]), outside)[0], rights)
        rights.append(v)
        matrix[:, step, step], matrix[:, step, step + 1] = small(alpha), small(beta)
    return matrix


def _new(rows: Tensor, earlier: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Each row without its part along its own earlier vectors, scaled to unit length, and that length; 0 stays 0."""
    whole = torch.linalg.vector_norm(rows, dim=-1)
    if earlier:
        basis = torch.stack(earlier, 1)  # (p, j, N)
        rows = deflated(rows[:, None], basis)[:, 0]
    length = torch.linalg.vector_norm(rows, dim=-1)
    length = torch.where(length > 10 * torch.finfo(rows.dtype).eps * whole, length, 0.0)
    return torch.where(length[:, None] > 0, rows / length.clamp_min(1e-30)[:, None], 0.0), length


def _unit(rows: Tensor) -> Tensor:
    return rows / torch.linalg.vector_norm(rows, dim=-1, keepdim=True).clamp_min(1e-30)


def _quadrature(matrix: Tensor) -> Tensor:
    """``e_1^T (B^T B)^(1/2) e_1`` for each B, shape `(p,)`."""
    _, s, right = torch.linalg.svd(matrix, full_matrices=False)
    return (right[..., 0].square() * s).sum(-1)


def _known(
    jac: JacobianAt, sketch: int, basis: TangentBasis | None, generator: torch.Generator
) -> tuple[Tensor, float]:
    """Orthonormal rows Q `(1, r, N)`, and ``|J Q^T|^2``."""
    if basis is not None:
        return _rows(jac, basis), float(small(basis.s).square().sum())
    start = randn((1, sketch, jac.dim_x), generator, like=jac.x.new_zeros(0, dtype=jac.dtype))
    if sketch == 0:
        return start, 0.0
    q, _ = orthonormal_rows(jac.vjp_flat(jac.jvp_flat(start)))
    return q, float(small(jac.jvp_flat(q)).square().sum())


def _rows(jac: JacobianAt, basis: TangentBasis) -> Tensor:
    return basis.v.flatten(1)[None].to(jac.x.device, jac.dtype)


def _interval(lower: Tensor, upper: Tensor) -> tuple[float, float]:
    """From the lower end for the mean of one list of draws to the upper end for that of the other, not below 0."""
    wide = float(student.ppf((1 + CONFIDENCE) / 2, len(lower) - 1)) / math.sqrt(len(lower))
    return max(0.0, float(lower.mean() - wide * lower.std())), float(upper.mean() + wide * upper.std())


def _check(jac: JacobianAt, num_probes: int, at_least_zero: int, basis: TangentBasis | None) -> None:
    if jac.is_batched or (basis is not None and (basis.is_batched or basis.v.shape[1:] != jac.f.x_shape)):
        raise ShapeError(wanted="J and basis at one x", got="a batch, or another map's", hint="take one sample")
    if num_probes < 2 or at_least_zero < 0:
        raise OptionError(
            wanted="at least 2 probes, and a positive number of steps",
            got=f"{num_probes} probes",
            hint="one probe has no spread to make an interval of",
        )
