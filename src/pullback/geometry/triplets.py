"""What every solver hands back, before signs are fixed and shapes restored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Triplets:
    """Singular triplets of a batch, flat; one or more beyond the rank where they came for nothing.

    Attributes:
        u: Shape `(B, k, D)`.
        s: Decreasing, float64 on the CPU, shape `(B, k)`.
        v: Shape `(B, k, N)`.
        residual: ``max(|J v - s u|, |J^T u - s v|) / s_1``, float64 on the CPU, shape `(B, k)`.
        is_verified: Shape `(B,)`.
        krylov_bytes: Peak size of the bases that were kept.
    """

    u: Tensor
    s: Tensor
    v: Tensor
    residual: Tensor
    is_verified: Tensor
    krylov_bytes: int = 0


def relative(residual: Tensor, s: Tensor) -> Tensor:
    """Residuals as a share of s_1; those of a zero Jacobian are 0."""
    if s.shape[-1] == 0:
        return residual
    largest = s[..., :1]
    return torch.where(largest > 0, residual / largest, residual)
