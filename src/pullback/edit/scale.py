"""The calibrated scale: how far an edit goes, in a unit that means the same for every direction.

Scale 1 moves h by 10 % of the median distance between the features of two random samples at that t.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from pullback.edit.batches import in_chunks
from pullback.edit.steps import one_step
from pullback.errors import NotConvergedWarning, NumericalError, ShapeError
from pullback.models import Denoiser
from pullback.types import FeatureMap

Move = Callable[[Tensor, Tensor, Tensor], Tensor]  # (x (B, *x_shape), v (B, *x_shape), g (B,)) -> edited x


@dataclass(frozen=True, eq=False)
class Calibration:
    """The step of scale 1 for each sample.

    Attributes:
        unit: g of scale 1, shape `(B,)`.
        displacement: |h(x') - h(x)| reached there, shape `(B,)`.
        target: The displacement that was wanted.
        num_calls: Encoder passes a sample it took.
        is_reached: Whether the target was met within the tolerance, shape `(B,)`.
    """

    unit: Tensor
    displacement: Tensor
    target: float
    num_calls: int
    is_reached: Tensor


@torch.no_grad()
def typical_distance(f: FeatureMap, x: Tensor, *, chunk: int = 64) -> float:
    """Return the median of |h(a) - h(b)| over all pairs of the latents `(B, *x_shape)`, B >= 2.

    Raises:
        ShapeError: If there is no pair.
        NumericalError: If all features are the same.
    """
    if len(x) < 2:
        raise ShapeError(wanted="at least 2 latents to compare", got=f"{len(x)}", hint="sample_latent(seeds=range(16))")
    distance = float(torch.pdist(features(f, x, chunk=chunk)).median())
    if not distance > 0:
        raise NumericalError(
            wanted="features that differ between samples",
            got=f"median distance {distance}",
            hint="choose another layer",
        )
    return distance


@torch.no_grad()
def calibrate(
    f: FeatureMap,
    x: Tensor,
    v: Tensor,
    *,
    distance: float,
    move: Move = one_step,
    share: float = 0.1,
    tolerance: float = 0.01,
    max_calls: int = 24,
    chunk: int = 64,
) -> Calibration:
    """Return the step g of scale 1: the root of ``|h(move(x, v, g)) - h(x)| = share distance``.

    All samples are solved side by side: secants through the origin (for a displacement linear in g
    the second call lands), kept inside a bracket by bisection. The positive side alone is measured.

    Args:
        f: The feature map.
        x: Latents at its t, shape `(B, *x_shape)`.
        v: Unit directions in X, shape `(*x_shape)` or `(B, *x_shape)`.
        distance: ``typical_distance`` of samples at this t.
        move: ``move(x, v, g)`` with g `(B,)`: one step, or all that happens to x, such as
            x-guidance followed by normalisation.
        share: What part of the distance scale 1 is.
        tolerance: Relative error of the displacement at which to stop.
        max_calls: Encoder passes a sample at most; it warns when the target is not met by then.
        chunk: Rows a pass.

    >>> from pullback.geometry.jacobian import as_feature_map
    >>> x, v = torch.ones(1, 2), torch.tensor([0.0, 1.0])
    >>> calibrate(as_feature_map(lambda x: 3 * x, x), x, v, distance=60.0).unit.round(decimals=3)
    tensor([2.])

    Raises:
        ShapeError: If the direction does not live where x does.
    """
    v = v.expand_as(x)
    goal, h = share * distance, features(f, x, chunk=chunk)
    low, high = h.new_zeros(len(x)), h.new_full((len(x),), torch.inf)
    length = x.flatten(1).norm(dim=1).to(h)
    g = 0.05 * length.where(length > 0, 1.0)
    best, reached = g, torch.full_like(g, torch.inf)
    num_calls = 0
    while num_calls < max_calls and ((reached - goal).abs() > tolerance * goal).any():
        num_calls += 1
        moved = in_chunks(move, x, v, g.to(x), chunk=chunk)
        displacement = (features(f, moved, chunk=chunk) - h).norm(dim=1).nan_to_num(nan=torch.inf)  # an overflow
        is_better = (displacement - goal).abs() < (reached - goal).abs()
        best, reached = g.where(is_better, best), displacement.where(is_better, reached)
        low, high = g.where(displacement < goal, low), g.where(displacement >= goal, high)
        secant, middle = g * goal / displacement, torch.where(high.isinf(), 2 * low, (low + high) / 2)
        g = secant.where((secant > low) & (secant < high), middle)
    is_reached = (reached - goal).abs() <= tolerance * goal
    _warn_unless(is_reached, reached, goal)
    return Calibration(best, reached, goal, num_calls, is_reached)


@dataclass(frozen=True)
class UsableRange:
    """Scales between which an edit still does what its scale says.

    Attributes:
        low: Smallest usable scale, at most 0.
        high: Largest usable scale, at least 0.
        rank_correlation: Spearman's, of |scale| and displacement inside, the worse of both sides.
        loss_limit: The denoising loss not to be passed, 95 % of unedited pictures lie below it.
    """

    low: float
    high: float
    rank_correlation: float
    loss_limit: float


def usable_range(
    scale: Sequence[float], displacement: Tensor, loss: Tensor, unedited_loss: Tensor, *, quantile: float = 0.95
) -> UsableRange:
    """Return how far the scales go before an edit saturates, turns back, or leaves the data.

    Going out from 0 on either side, a scale is usable while, in the median over samples, the
    displacement grows (Spearman > .95 with |scale|) at no less than 25 % of its first slope, and
    the edited picture's denoising loss stays below the ``quantile`` of unedited ones.

    Args:
        scale: S scales, in any order; 0 counts as unmoved whether it is among them or not.
        displacement: |h(x') - h(x)|, shape `(B, S)`, as ``Edited`` holds them.
        loss: ``denoising_loss`` of the edited pictures, shape `(B, S)`.
        unedited_loss: That of unedited pictures, shape `(M,)`.
        quantile: Share of unedited pictures below the limit.

    >>> usable_range([-1, 1, 2, 3], torch.tensor([[1.0, 1, 2, 2.1]]), torch.ones(1, 4), torch.tensor([2.0])).high
    2.0

    Raises:
        ShapeError: If the tensors are not of shape (B, S).
    """
    if displacement.shape != loss.shape or displacement.shape[-1:] != (len(scale),):
        raise ShapeError(
            wanted=f"displacement and loss of shape (B, {len(scale)})",
            got=f"{tuple(displacement.shape)} and {tuple(loss.shape)}",
            hint="one column a scale",
        )
    limit = float(torch.quantile(unedited_loss.double(), quantile))
    columns = np.asarray(scale, dtype=float)
    moved, losses = (each.double().median(dim=0).values.cpu().numpy() for each in (displacement, loss))
    ends, correlations = zip(*(_reach(sign * columns, moved, losses <= limit) for sign in (-1, 1)), strict=True)
    return UsableRange(-ends[0], ends[1], min(correlations), limit)


def _reach(
    outward: NDArray[np.float64], moved: NDArray[np.float64], is_natural: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the last usable scale on the positive side of ``outward``, and Spearman's up to it."""
    order = [int(i) for i in np.argsort(outward) if outward[i] > 0]
    reached, places, heights, first = 0.0, [0.0], [0.0], None
    for i in order:
        slope = (moved[i] - heights[-1]) / (outward[i] - places[-1])
        first = slope if first is None else first
        places, heights = [*places, float(outward[i])], [*heights, float(moved[i])]
        if not (is_natural[i] and slope > 0 and slope >= 0.25 * first and _spearman(places, heights) > 0.95):
            places, heights = places[:-1], heights[:-1]
            break
        reached = float(outward[i])
    return reached, _spearman(places, heights)


def _spearman(places: list[float], heights: list[float]) -> float:
    return float(np.corrcoef(rankdata(places), rankdata(heights))[0, 1]) if len(places) > 1 else 1.0


@torch.no_grad()
def denoising_loss(
    den: Denoiser,
    x0: Tensor,
    *,
    generator: torch.Generator,
    t_fraction: float = 0.5,
    num_noises: int = 4,
    cond: Any = None,
    chunk: int = 64,
) -> Tensor:
    """Return the mean of |eps(x_t) - eps|^2 a value, shape `(B,)`: high where x0 is unlike the data.

    ``x_t = alpha x0 + sigma eps``. The same ``num_noises`` draws serve every sample, so losses of a
    picture and its edits are paired. Costs ``num_noises`` network calls a sample.
    """
    t, losses = den.schedule.timestep(t_fraction), []
    for _ in range(num_noises):
        eps = torch.randn(den.x_shape, generator=generator).to(x0)  # (*x_shape)
        error = in_chunks(lambda rows, eps=eps: den.eps(den.noise(rows, t, eps), t, cond) - eps, x0, chunk=chunk)
        losses.append(error.flatten(1).square().mean(1))
    return torch.stack(losses).mean(0)


@torch.no_grad()
def features(f: FeatureMap, x: Tensor, *, chunk: int = 64) -> Tensor:
    """Return f(x) flat, `(B, D)`, in float32 at least, ``chunk`` rows a pass."""
    return in_chunks(lambda rows: f(rows).flatten(1), x, chunk=chunk).to(torch.promote_types(x.dtype, torch.float32))


def _warn_unless(is_reached: Tensor, reached: Tensor, goal: float) -> None:
    if is_reached.all():
        return
    missed = reached[~is_reached]
    warnings.warn(
        f"calibration wanted an h-displacement of {goal:.4g}; {len(missed)} of {len(reached)} samples reached "
        f"{float(missed[0]):.4g} at best; the direction hardly moves h there: take another, or a smaller share",
        NotConvergedWarning,
        stacklevel=3,
    )
