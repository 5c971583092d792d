"""Four ways from one latent to another."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from pullback.errors import OptionError
from pullback.geometry.geodesic import pullback_geodesic
from pullback.geometry.lengths import BasisAt
from pullback.geometry.paths import lerp, slerp
from pullback.geometry.shooting import shoot_towards
from pullback.geometry.transport import Inverse
from pullback.types import FeatureMap

PathKind = Literal["lerp", "slerp", "shooting", "geodesic"]


def path_between(
    f: FeatureMap,
    a: Tensor,
    b: Tensor,
    *,
    kind: PathKind,
    num_segments: int = 30,
    basis_at: BasisAt | None = None,
    inverse: Inverse = "transpose",
    relative_weight: float = 0.1,
) -> Tensor:
    """Points on a path from a to b: denoise them to interpolate between two pictures.

    Args:
        f: The feature map; lerp and slerp do not ask it.
        a: Start, shape `x_shape`.
        b: End. Shooting leaves a towards b and ends near it at best.
        kind: ``"lerp"``, ``"slerp"``, ``"shooting"`` (`shoot_towards`) or ``"geodesic"`` (`pullback_geodesic`).
        num_segments: n.
        basis_at: For shooting: makes the tangent basis at a latent.
        inverse: For shooting.
        relative_weight: For the geodesic.

    Returns:
        Latents, shape `(n + 1, *x_shape)`.

    Raises:
        OptionError: If the kind is unknown, n is below 1, or shooting has no ``basis_at``.
        ShapeError, NumericalError: As the way itself does.

    Example:
        >>> from pullback.testing import UnitMap
        >>> a, b = torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 1.0]).double()
        >>> path_between(UnitMap(2), a, b, kind="lerp", num_segments=2)
        tensor([[1.0000, 0.0000],
                [0.5000, 0.5000],
                [0.0000, 1.0000]], dtype=torch.float64)
    """
    if kind not in get_args(PathKind) or num_segments < 1 or (kind == "shooting" and basis_at is None):
        raise OptionError(
            wanted=f"a kind among {', '.join(get_args(PathKind))}, num_segments >= 1, and basis_at for shooting",
            got=f"{kind!r}, {num_segments}, basis_at={basis_at}",
            hint="basis_at=lambda x: local_basis(f, x, rank=10)",
        )
    if kind == "shooting" and basis_at is not None:
        return shoot_towards(f, a, b, basis_at=basis_at, num_steps=num_segments, inverse=inverse).x
    if kind == "geodesic":
        return pullback_geodesic(f, a, b, num_segments=num_segments, relative_weight=relative_weight).points
    return (lerp if kind == "lerp" else slerp)(a, b, torch.linspace(0, 1, num_segments + 1).tolist())
