"""How long a path between two latents is: in x, in h, and in meaning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pullback.errors import OptionError, ShapeError
from pullback.geometry.compare import check_made_with, comparable
from pullback.geometry.grassmann import geodesic_distance
from pullback.geometry.tangent import TangentBasis
from pullback.types import FeatureMap

BasisAt = Callable[[Tensor], TangentBasis]
"""x, shape `x_shape`, to the tangent basis there: ``lambda x: local_basis(f, x, rank=10)``."""


@dataclass(frozen=True, eq=False)
class PathLengths:
    """Lengths of the n segments of a path, all float64.

    Attributes:
        x: ``|x_{i+1} - x_i|``, shape `(n,)`.
        h: ``|f(x_{i+1}) - f(x_i)|``, shape `(n,)`.
        curvedness: Geodesic distance of the ends' T_h in radians, shape `(n,)`: the local warpage.
        miss: ``|end - target| / |target - start|``, 0 where no target was given.
    """

    x: Tensor
    h: Tensor
    curvedness: Tensor
    miss: float = 0.0

    @property
    def x_length(self) -> float:
        """Sum over segments."""
        return float(self.x.sum())

    @property
    def h_length(self) -> float:
        """Sum over segments: the length under the pulled-back metric."""
        return float(self.h.sum())

    @property
    def semantic_length(self) -> float:
        """Sum of the curvedness of all segments, in radians: the semantic path length."""
        return float(self.curvedness.sum())

    @property
    def semantic_per_h(self) -> float:
        """Semantic path length for each unit of h-length; 0 for a path along which h does not move."""
        return self.semantic_length / self.h_length if self.h_length > 0 else 0.0


def path_lengths(
    f: FeatureMap,
    points: Tensor,
    bases: Sequence[TangentBasis] | BasisAt,
    *,
    target: Tensor | None = None,
    chunk: int = 32,
) -> PathLengths:
    """Lengths of the path through the given points  (2302.12469: curvedness, semantic path length).

    Args:
        f: The feature map.
        points: n + 1 latents in order, shape `(n + 1, *x_shape)`.
        bases: Tangent bases at the points, or how to make one.
        target: Where the path was meant to end, `x_shape`.
        chunk: Latents in one forward pass.

    Returns:
        Lengths segment by segment. Costs n + 1 bases, if they are still to be made, and as many encoder passes.

    Raises:
        OptionError: If there are fewer than two points.
        MismatchError, RankError, ShapeError: If the bases are not of this map and of one rank, one for each point.

    Example:
        >>> from pullback.testing import LinearMap
        >>> from pullback.geometry import JacobianAt, lerp, top_singular
        >>> f, points = LinearMap(torch.eye(2)), lerp(torch.zeros(2), torch.ones(2), [0.0, 0.5, 1.0])
        >>> found = path_lengths(f, points, lambda x: top_singular(JacobianAt(f, x), 1))
        >>> round(found.h_length, 4), round(found.semantic_length, 4)
        (1.4142, 0.0)
    """
    if len(points) < 2:
        raise OptionError(wanted="a path of at least 2 points", got=str(len(points)), hint="give both ends")
    made = [bases(x) for x in points] if callable(bases) else list(bases)
    u = comparable(made)
    check_made_with(made, f)
    if len(u) != len(points):
        raise ShapeError(
            wanted=f"a basis at each of {len(points)} points", got=str(len(u)), hint="or pass how to make one"
        )
    with torch.no_grad():
        h = torch.cat([f(part.to(f.device, f.dtype)).flatten(1) for part in points.split(chunk)]).double()
    flat = points.double().flatten(1)
    miss = 0.0 if target is None else float((flat[-1] - target.to(flat).flatten()).norm())
    span = 0.0 if target is None else float((flat[0] - target.to(flat).flatten()).norm())
    return PathLengths(
        x=(flat[1:] - flat[:-1]).norm(dim=1).cpu(),
        h=(h[1:] - h[:-1]).norm(dim=1).cpu(),
        curvedness=geodesic_distance(u[:-1], u[1:]).cpu(),
        miss=miss / span if span > 0 else miss,
    )
