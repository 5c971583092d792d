"""Exact triplets from the whole matrix.

`local_basis` takes this way where `geometry.cost.is_cheaper_whole` says so: up to the measured break-even with the
iteration, which grows with the rank.
"""

from __future__ import annotations

import torch

from pullback.geometry.jacobian import JacobianAt
from pullback.geometry.linalg import row_svd, small
from pullback.geometry.triplets import Triplets, relative


def dense_triplets(jac: JacobianAt, *, by_rows: bool) -> Triplets:
    """All min(D, N) triplets: J row by row (D reverse products) or column by column (N forward products), then its SVD.

    The D x N stack itself is factored, by QR: its D x D Gram matrix would lose the singular values below
    sqrt(eps) s_1, which in float32 is .0003 s_1.

    Args:
        jac: J at a batch of x.
        by_rows: Whether the rows are computed, rather than the columns.

    Returns:
        Every triplet; residuals are those of the assembled matrix.
    """
    dim = jac.dim_h if by_rows else jac.dim_x
    eye = torch.eye(dim, dtype=jac.dtype, device=jac.f.device).expand(jac.num_samples, -1, -1)
    matrix = jac.vjp_flat(eye) if by_rows else jac.jvp_flat(eye).mT  # (B, D, N)
    u, s, v = row_svd(matrix)
    right = torch.linalg.vector_norm(v @ matrix.mT - s[..., None].to(u) * u, dim=-1)
    left = torch.linalg.vector_norm(u @ matrix - s[..., None].to(u) * v, dim=-1)
    residual = relative(small(torch.maximum(right, left)), s)
    num_bytes = matrix.element_size() * matrix.numel()
    return Triplets(u, s, v, residual, torch.ones(jac.num_samples, dtype=torch.bool), num_bytes)
