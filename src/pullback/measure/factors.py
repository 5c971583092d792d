"""Gain and recall: which known factors a feature sees, and which a tangent basis holds, before any edit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pullback.errors import ShapeError
from pullback.geometry.jacobian import JacobianAt
from pullback.geometry.tangent import TangentBasis
from pullback.types import FeatureMap

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Visibility:
    """How well each factor is seen at one (layer, pool, t), averaged over samples.

    Attributes:
        energy: Share of the picture's tangent energy, ``|g_j|^2 / sum_l |g_l|^2``, shape `(F,)`.
        gain: ``(|J g_j|^2 / sum_l |J g_l|^2) / energy_j``: above 1, h weighs the factor more than pixels do; `(F,)`.
        recall_x: ``|V_k g_j|^2 / |g_j|^2``, share of the tangent inside the basis, `(F,)`.
        recall_h: ``|U_k J g_j|^2 / |J g_j|^2``, share of its push-forward inside the basis, `(F,)`.
        null_x: Expected recall of a random direction, k / N.
        null_h: The same in H, k / D.
    """

    energy: Array
    gain: Array
    recall_x: Array
    recall_h: Array
    null_x: float
    null_h: float


def visibility(f: FeatureMap, x: Tensor, tangents: Tensor, basis: TangentBasis) -> Visibility:
    """Measures gain and recall; costs F forward products a sample.

    Args:
        f: Feature map at t.
        x: Latents of known factors at t, shape `(B, *x_shape)`.
        tangents: Exact tangents of the clean samples, shape `(B, F, *x_shape)`; the factor sqrt(abar) cancels.
        basis: Tangent bases at x, with a leading B.

    Returns:
        Means over the samples, of squared lengths before any ratio is taken for energy and gain.

    Raises:
        ShapeError: If tangents or bases do not belong to ``x``.
    """
    if tangents.shape[0] != len(x) or tangents.shape[2:] != x.shape[1:] or basis.v.ndim != x.ndim + 1:
        raise ShapeError(
            wanted="one set of tangents and one basis for each latent",
            got=f"x {tuple(x.shape)}, tangents {tuple(tangents.shape)}, v {tuple(basis.v.shape)}",
            hint="use the same samples for all three",
        )
    pushed = JacobianAt(f, x, plan=basis.plan).jvp(tangents.to(x)).double()  # (B, F, D)
    g, v, u = tangents.flatten(2).double(), basis.v.flatten(2).double(), basis.u.double()
    length_x, length_h = g.square().sum(-1), pushed.square().sum(-1)
    inside_x = (g @ v.mT).square().sum(-1) / length_x.clamp_min(1e-30)
    inside_h = (pushed @ u.mT).square().sum(-1) / length_h.clamp_min(1e-30)
    energy, share_h = (_share(length) for length in (length_x, length_h))
    return Visibility(
        energy=energy,
        gain=share_h / np.maximum(energy, 1e-12),
        recall_x=_mean(inside_x),
        recall_h=_mean(inside_h),
        null_x=v.shape[1] / v.shape[2],
        null_h=u.shape[1] / u.shape[2],
    )


def _mean(values: Tensor) -> Array:
    return values.mean(dim=0).cpu().numpy()


def _share(lengths: Tensor) -> Array:
    total = _mean(lengths)
    return total / total.sum()
