"""Distances between tangent spaces, as points of a Grassmann manifold."""

from __future__ import annotations

import torch
from torch import Tensor

from pullback.errors import RankError, ShapeError


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
    if ua.shape[-2] != ub.shape[-2]:
        raise RankError(
            wanted=f"both spaces must have rank {ua.shape[-2]}",
            got=str(ub.shape[-2]),
            hint="cut the larger basis to the smaller rank",
        )
    return torch.linalg.vector_norm(principal_angles(ua, ub), dim=-1)
