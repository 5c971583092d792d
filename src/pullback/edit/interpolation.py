"""From one picture to another, along any of the four ways between their latents."""

from typing import Any

import torch
from torch import Tensor

from pullback.errors import OptionError, ShapeError
from pullback.geometry.between import PathKind, path_between
from pullback.geometry.lengths import BasisAt
from pullback.geometry.transport import Inverse
from pullback.models import Denoiser, NetworkFeatureMap, denoise, invert
from pullback.models.ddim import FIXED_POINT_ITERATIONS


@torch.no_grad()
def interpolate(
    den: Denoiser,
    x0: Tensor,
    *,
    f: NetworkFeatureMap,
    kind: PathKind = "slerp",
    num_segments: int = 8,
    basis_at: BasisAt | None = None,
    inverse: Inverse = "transpose",
    relative_weight: float = 0.1,
    num_steps: int = 20,
    cond: Any = None,
    chunk: int = 64,
) -> Tensor:
    """Return clean samples on the way from one to another: both are inverted to f's t, joined there, and denoised.

    The ends come back as inversion and DDIM bring them back; shooting ends near the second at best.

    Args:
        den: The model.
        x0: The two clean samples, `(2, *x_shape)`; ``den.encode_image`` makes them of pictures.
        f: The feature map, whose t is where the path runs.
        kind: ``"lerp"``, ``"slerp"``, ``"shooting"`` or ``"geodesic"``.
        num_segments: n.
        basis_at: For shooting: makes the tangent basis at a latent, ``lambda x: local_basis(f, x, rank=10)``.
        inverse: For shooting.
        relative_weight: For the geodesic.
        num_steps: DDIM steps, each way.
        cond: Condition.
        chunk: Rows in one network call.

    >>> from pullback.models import toy_denoiser
    >>> den = toy_denoiser()
    >>> interpolate(den, den.draw([0, 1]), f=den.feature_map(t=600), num_segments=2, num_steps=2).shape
    torch.Size([3, 3, 8, 8])

    Raises:
        ShapeError: If x0 does not hold two samples.
        OptionError: If f has no timestep, or as `path_between`.
        NumericalError: If no great circle joins the latents.
    """
    if len(den.check_finite(x0)) != 2:
        raise ShapeError(wanted="two clean samples, (2, ...)", got=str(tuple(x0.shape)), hint="torch.cat([a, b])")
    if f.t is None:
        raise OptionError(wanted="a feature map at a timestep", got="one without", hint="den.feature_map(t=...)")
    a, b = invert(den, x0, f.t, num_steps=num_steps, cond=cond, fixed_point_iterations=FIXED_POINT_ITERATIONS)
    with torch.enable_grad():
        points = path_between(
            f,
            a,
            b,
            kind=kind,
            num_segments=num_segments,
            basis_at=basis_at,
            inverse=inverse,
            relative_weight=relative_weight,
        )
    return torch.cat([denoise(den, part, f.t, num_steps=num_steps, cond=cond) for part in points.split(chunk)])
