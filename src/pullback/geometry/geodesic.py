"""The shortest way between two latents under the metric of H, on the shell where noise lives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pullback.errors import OptionError
from pullback.geometry.jacobian import JacobianAt
from pullback.geometry.paths import lerp, slerp
from pullback.geometry.plan import Plan
from pullback.types import FeatureMap

MAX_HALVINGS = 20


@dataclass(frozen=True, eq=False)
class PullbackGeodesic:
    """A path of n segments.

    Attributes:
        points: Latents, shape `(n + 1, *x_shape)`; the ends are those that were given.
        objective: ``sum |dh|^2 + lambda sum |dx|^2`` of the start and after each iteration up to this path; it falls.
        weight: lambda, absolute.
        h_length: ``sum |dh|`` of the path.
        start_h_length: The same of the start.
        start: Which line it began from: ``"lerp"`` or ``"slerp"``.
    """

    points: Tensor
    objective: tuple[float, ...]
    weight: float
    h_length: float
    start_h_length: float
    start: str


def pullback_geodesic(
    f: FeatureMap,
    a: Tensor,
    b: Tensor,
    *,
    num_segments: int = 30,
    relative_weight: float = 0.1,
    max_iterations: int = 60,
    tol: float = 1e-4,
    chunk: int = 32,
    plan: Plan | None = None,
) -> PullbackGeodesic:
    """Minimise ``sum |f(x_{i+1}) - f(x_i)|^2 + lambda sum |x_{i+1} - x_i|^2`` over the points between a and b.

    Point i keeps the norm ``(1 - i/n) |a| + (i/n) |b|``: the shell of typical norms. It begins from lerp or slerp,
    brought onto the shell, whichever has the lower objective (the shorter of two polygons may only be the more uneven
    one); every step lowers the objective, and the last point of the descent is returned whose h-length is at or below
    the start's. Conjugate gradients, preconditioned by the path's own Laplacian.

    With lambda = 0 the path may become straight in H by way of latents that no noise process visits.

    Args:
        f: The feature map.
        a: Start, shape `x_shape`.
        b: End.
        num_segments: n.
        relative_weight: lambda in units of slerp's ``sum |dh|^2 / sum |dx|^2``, so that a number means the same
            for every model; 0 or more.
        max_iterations: Each costs one reverse product a point, and one or more encoder passes.
        tol: Relative fall of the objective in an iteration at which to stop.
        chunk: Latents in one pass.
        plan: How products are computed.

    Returns:
        The path, its objective after each iteration, its h-length and the start's.

    Raises:
        OptionError: If there is no segment, or the weight is negative.
        ShapeError, NumericalError: If no great circle joins the ends, as for `slerp`.

    Example:
        >>> from pullback.testing import LinearMap
        >>> f = LinearMap(torch.diag(torch.tensor([1.0, 0.1])))
        >>> path = pullback_geodesic(f, torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), num_segments=8)
        >>> path.h_length <= path.start_h_length
        True
    """
    if num_segments < 1 or relative_weight < 0:
        raise OptionError(
            wanted="num_segments >= 1 and relative_weight >= 0",
            got=f"{num_segments} and {relative_weight}",
            hint="relative_weight=0.1 keeps most of the freedom",
        )
    path = _Path(f, a, b, num_segments, chunk, plan)
    starts = {name: path.on_shell(line(a, b, path.fractions)) for name, line in (("slerp", slerp), ("lerp", lerp))}
    weight = relative_weight * path.ratio(starts["slerp"])
    start = min(starts, key=lambda name: path.objective(starts[name], weight))
    longest = path.h_length(starts[start])
    points, history = _descend(path, starts[start], weight, longest, max_iterations, tol)
    return PullbackGeodesic(points, tuple(history), weight, path.h_length(points), longest, start)


def _descend(
    path: _Path, points: Tensor, weight: float, longest: float, max_iterations: int, tol: float
) -> tuple[Tensor, list[float]]:
    """Preconditioned conjugate gradients (Polak-Ribiere) with backtracking; points stay on the shell."""
    history, kept, num_kept = [path.objective(points, weight)], points, 1
    along, slope, gradient, size = None, 1.0, None, 0.125 / max(path.ratio(points) + weight, 1e-300)
    for _ in range(max_iterations if len(points) > 2 else 0):
        before, gradient = gradient, path.gradient(points, weight)
        downhill = path.tangent(points, path.precondition(-gradient))
        turned = 0.0 if before is None else max(0.0, float((downhill * (before - gradient)).sum()) / slope)
        slope = float(-(downhill * gradient).sum())
        if not slope > 0:
            break
        along = downhill if along is None else downhill + turned * path.tangent(points, along)
        if float((along * gradient).sum()) >= 0:
            along = downhill
        found, size = _line_search(path, points, along, weight, history[-1], 4 * size)
        if found is None:
            break
        points = found
        history.append(path.objective(points, weight))
        if path.h_length(points) <= longest:
            kept, num_kept = points, len(history)
        if history[-2] - history[-1] <= tol * history[-2]:
            break
    return kept, history[:num_kept]


def _line_search(
    path: _Path, points: Tensor, along: Tensor, weight: float, objective: float, size: float
) -> tuple[Tensor | None, float]:
    """The first of ever shorter steps that lowers the objective."""
    for _ in range(MAX_HALVINGS):
        trial = points.clone()
        trial[1:-1] += size * along.to(points)
        trial = path.on_shell(trial)
        if path.objective(trial, weight) < objective:
            return trial, size
        size /= 2
    return None, size


class _Path:
    """Points between two fixed ends: their features, objective and gradient."""

    def __init__(self, f: FeatureMap, a: Tensor, b: Tensor, n: int, chunk: int, plan: Plan | None) -> None:
        self.f, self.a, self.b, self.chunk, self.plan = f, a, b, chunk, plan
        self.fractions = torch.linspace(0, 1, n + 1, dtype=torch.float64)
        ends = [float(torch.linalg.vector_norm(end.double())) for end in (a, b)]
        self.norms = lerp(torch.tensor(ends[0]).double(), torch.tensor(ends[1]).double(), self.fractions)
        inner = torch.eye(n - 1, dtype=torch.float64)
        self.laplacian = 2 * inner - inner.roll(1, 0).tril(-1) - inner.roll(-1, 0).triu(1)
        self._kept: tuple[Tensor, Tensor] | None = None

    def on_shell(self, points: Tensor) -> Tensor:
        """Each point scaled to its norm; the ends as they were given."""
        flat = points.double().flatten(1)
        scaled = flat * (self.norms.to(flat) / flat.norm(dim=1).clamp_min(1e-300))[:, None]
        scaled = scaled.reshape(points.shape).to(self.a)
        scaled[0], scaled[-1] = self.a, self.b
        return scaled

    def features(self, points: Tensor) -> Tensor:
        """All points' h in float64, `(n + 1, D)`; the last answer is kept."""
        if self._kept is None or self._kept[0] is not points:
            with torch.no_grad():
                parts = points.to(self.f.device, self.f.dtype).split(self.chunk)
                self._kept = (points, torch.cat([self.f(part).flatten(1) for part in parts]).double())
        return self._kept[1]

    def h_length(self, points: Tensor) -> float:
        """``sum |dh|``."""
        return float(self.features(points).diff(dim=0).norm(dim=1).sum())

    def ratio(self, points: Tensor) -> float:
        """``sum |dh|^2 / sum |dx|^2``."""
        in_x = float(points.double().flatten(1).diff(dim=0).square().sum())
        return float(self.features(points).diff(dim=0).square().sum()) / in_x if in_x > 0 else 0.0

    def objective(self, points: Tensor, weight: float) -> float:
        """``sum |dh|^2 + weight sum |dx|^2``."""
        in_x = float(points.double().flatten(1).diff(dim=0).square().sum())
        return float(self.features(points).diff(dim=0).square().sum()) + weight * in_x

    def gradient(self, points: Tensor, weight: float) -> Tensor:
        """Along the shell, at the inner points, float64 `(n - 1, *x_shape)`."""
        bend = -self.features(points).diff(n=2, dim=0)  # (n - 1, D)
        pulled = [
            JacobianAt(self.f, part, plan=self.plan).vjp(rows[:, None].to(self.f.dtype))[:, 0]
            for part, rows in zip(points[1:-1].split(self.chunk), bend.split(self.chunk), strict=True)
        ]
        in_x = -points.double().diff(n=2, dim=0)
        return self.tangent(points, 2 * torch.cat(pulled).double().to(in_x) + 2 * weight * in_x)

    def tangent(self, points: Tensor, rows: Tensor) -> Tensor:
        """Rows at the inner points without their part along the radius."""
        unit = points[1:-1].double().flatten(1)
        unit = unit / unit.norm(dim=1, keepdim=True)
        flat = rows.flatten(1)
        return (flat - (flat * unit).sum(1, keepdim=True) * unit).reshape(rows.shape)

    def precondition(self, rows: Tensor) -> Tensor:
        """Rows with the coupling of neighbours undone: 30 segments then converge as fast as 3."""
        flat = rows.flatten(1)
        return torch.linalg.solve(self.laplacian.to(flat), flat).reshape(rows.shape)
