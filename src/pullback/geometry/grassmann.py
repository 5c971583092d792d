"""Distances between tangent spaces, as points of a Grassmann manifold."""

from __future__ import annotations

import torch
from torch import Tensor

from pullback.errors import NumericalError, RankError, ShapeError
from pullback.geometry.linalg import each_on_a_thread

ORTHONORMAL_TOLERANCE = 1e-2
"""U in half precision is off by 2e-3; anything beyond is not a basis."""
TANGENT_TOLERANCE = 1e-2
CUT_LOCUS = 1e-12
"""Cosine below which the shortest way between two spans is not unique in float64."""


def principal_angles(ua: Tensor, ub: Tensor) -> Tensor:
    """Principal angles of two spans, increasing  (Bjorck and Golub 1973).

    From cosines, the singular values of ``Qa Qb^T``, above pi/4, and below it from sines, the singular values of
    ``Qb - Qb Qa^T Qa``: an arccosine loses angles below 1e-8.

    Args:
        ua: Rows that span the first, shape `(k, D)`, or `(..., k, D)`. They need not be orthonormal.
        ub: Rows that span the second, shape `(l, D)`, or `(..., l, D)`.

    Returns:
        Radians in float64, shape `(min(k, l),)`, or `(..., min(k, l))`.

    Raises:
        ShapeError: If they live in different spaces.

    Example:
        >>> principal_angles(torch.eye(3)[:2], torch.eye(3)[1:])
        tensor([0.0000, 1.5708], dtype=torch.float64)
    """
    if ua.shape[-1] != ub.shape[-1]:
        raise ShapeError(
            wanted=f"both spans must live in {ua.shape[-1]} dimensions",
            got=str(ub.shape[-1]),
            hint="compare bases of one layer and one pooling, with h flat",
        )
    if ua.shape[-2] < ub.shape[-2]:
        ua, ub = ub, ua
    lead = torch.broadcast_shapes(ua.shape[:-2], ub.shape[:-2])
    if ua.device.type != "cpu" or not lead.numel() > 1:
        return _angles(ua, ub)
    pairs = (rows.expand(*lead, *rows.shape[-2:]).flatten(0, len(lead) - 1) for rows in (ua, ub))
    return torch.stack(each_on_a_thread(_angles, *pairs)).unflatten(0, lead)


def _angles(ua: Tensor, ub: Tensor) -> Tensor:
    qa, qb = (torch.linalg.qr(rows.double().mT)[0].mT for rows in (ua, ub))
    overlap = qb @ qa.mT
    cosine = torch.linalg.svdvals(overlap).clamp(0, 1)  # decreasing: angles increase
    sine = torch.linalg.svdvals(qb - overlap @ qa).flip(-1)[..., : cosine.shape[-1]].clamp(0, 1)
    return torch.where(cosine**2 > 0.5, sine.asin(), cosine.acos())


def geodesic_distance(ua: Tensor, ub: Tensor) -> Tensor:
    """``sqrt(sum theta_i^2)`` over the principal angles  (2307.12868).

    Args:
        ua: Rows that span the first, shape `(k, D)` or `(..., k, D)`: T_h of one sample.
        ub: The same for the other, of the same rank.

    Returns:
        Radians in float64, shape `()` or `(...)`; at most ``sqrt(min(k, D - k)) pi / 2``.

    Raises:
        RankError: If the ranks differ.
        ShapeError: If they live in different spaces.

    Example:
        >>> round(float(geodesic_distance(torch.eye(4)[:2], torch.eye(4)[2:]) / torch.pi), 4)
        0.7071
    """
    _check_alike(ua, ub)
    return torch.linalg.vector_norm(principal_angles(ua, ub), dim=-1)


def grassmann_exp(a: Tensor, tangent: Tensor) -> Tensor:
    """The span reached from a along a tangent: ``L cos(Theta) L^T A + L sin(Theta) R``, ``X = L Theta R``.

    (Edelman, Arias and Smith 1998, with rows for columns.) The geodesic distance to a is ``|X|`` as long as every
    angle of X stays below pi/2.

    Args:
        a: Orthonormal rows, shape `(k, D)` or `(..., k, D)`.
        tangent: A tangent vector at a, ``X A^T = 0``, of the same shape; `grassmann_log` makes one.

    Returns:
        Orthonormal rows in float64, same shape.

    Raises:
        ShapeError: If the shapes differ.
        NumericalError: If the rows of a are not orthonormal, or X is not tangent there.

    Example:
        >>> a, x = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, torch.pi / 2]])
        >>> grassmann_exp(a, x).abs().round(decimals=6)
        tensor([[0., 1.]], dtype=torch.float64)
    """
    if a.shape != tangent.shape:
        raise ShapeError(
            wanted=f"a tangent of shape {tuple(a.shape)}", got=str(tuple(tangent.shape)), hint="as grassmann_log makes"
        )
    a, tangent = _orthonormal(a), tangent.double()
    slip = float(torch.linalg.matrix_norm(tangent @ a.mT).max()) if a.numel() else 0.0
    if slip > TANGENT_TOLERANCE * max(1.0, float(torch.linalg.matrix_norm(tangent).max()) if a.numel() else 0.0):
        raise NumericalError(
            wanted="a tangent at a: X A^T = 0", got=f"|X A^T| = {slip:.2g}", hint="subtract X A^T A from X"
        )
    left, angle, right = torch.linalg.svd(tangent, full_matrices=False)
    moved = left @ (angle.cos()[..., None] * (left.mT @ a) + angle.sin()[..., None] * right)
    return orthonormal_span(moved)  # rounding only


def grassmann_log(a: Tensor, b: Tensor) -> Tensor:
    """The tangent at a whose exponential spans b: ``X A^T = 0``, ``|X|`` = geodesic distance  (Edelman et al. 1998).

    In principal vectors ``p_i`` of a and ``q_i`` of b, at angles ``t_i``, the tangent of p_i is
    ``t_i (q_i - cos t_i p_i) / sin t_i``; one SVD of `(k, k)` gives them. Small angles lose no digits: what an
    arccosine leaves of them hardly moves ``t_i / sin t_i``, which is 1 there.

    Args:
        a: Rows that span the first, shape `(k, D)` or `(..., k, D)`, orthonormal.
        b: Rows that span the second, of the same rank; they need not be orthonormal.

    Returns:
        A tangent at a in float64, same shape.

    Raises:
        RankError, ShapeError: If ranks or dimensions differ.
        NumericalError: If the rows of a are not orthonormal, or an angle is pi/2: there two ways are equally short.

    Example:
        >>> grassmann_log(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]]))
        tensor([[0.0000, 0.7854]], dtype=torch.float64)
    """
    _check_alike(a, b)
    return log_of_orthonormal(_orthonormal(a), orthonormal_span(b))


def log_of_orthonormal(a: Tensor, b: Tensor) -> Tensor:
    """`grassmann_log` of rows that are orthonormal in float64; leading shapes broadcast.

    Args:
        a: Shape `(..., k, D)`.
        b: Shape `(..., k, D)`.

    Raises:
        NumericalError: If an angle is pi/2.
    """
    left, cosine, right = torch.linalg.svd(a @ b.mT)
    if cosine.numel() and float(cosine[..., -1].min()) < CUT_LOCUS:
        raise NumericalError(
            wanted="angles below pi / 2", got="a direction of b orthogonal to all of a", hint="use a smaller rank"
        )
    per_sine = 1 / torch.sinc(cosine.clamp(max=1).acos() / torch.pi)  # t / sin t
    across = right @ b - cosine[..., None] * (left.mT @ a)
    return left @ (per_sine[..., None] * across)


def orthonormal_span(rows: Tensor) -> Tensor:
    """Orthonormal rows of the same span and orientation, in float64; shape `(..., k, D)`."""
    q, r = torch.linalg.qr(rows.double().mT)
    return (q * torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(q)[..., None, :]).mT


def _orthonormal(a: Tensor) -> Tensor:
    a = a.double()
    error = (a @ a.mT - torch.eye(a.shape[-2], dtype=a.dtype, device=a.device)).abs()
    if error.numel() and float(error.max()) > ORTHONORMAL_TOLERANCE:
        raise NumericalError(
            wanted="orthonormal rows at the base point", got=f"an error of {float(error.max()):.2g}", hint="use basis.u"
        )
    return orthonormal_span(a)


def _check_alike(ua: Tensor, ub: Tensor) -> None:
    if ua.shape[-1] != ub.shape[-1]:
        raise ShapeError(
            wanted=f"both spans must live in {ua.shape[-1]} dimensions",
            got=str(ub.shape[-1]),
            hint="compare bases of one layer and one pooling, with h flat",
        )
    if ua.shape[-2] != ub.shape[-2]:
        raise RankError(
            wanted=f"both spaces must have rank {ua.shape[-2]}",
            got=str(ub.shape[-2]),
            hint="cut the larger basis to the smaller rank",
        )
