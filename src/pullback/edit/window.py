"""Edits during a window of steps, and noise put back at the end of the walk."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pullback.directions.origins import check_found_with
from pullback.edit.vectors import vectors_at
from pullback.errors import OptionError
from pullback.models import Denoiser
from pullback.models.ddim import posterior_std
from pullback.models.schedule import Time
from pullback.types import FeatureMap

if TYPE_CHECKING:
    from pullback.edit.apply import SomeDirection


@dataclass(frozen=True)
class Window:
    """The steps of a walk that start at t/T from ``start`` down to ``end``, both included.

    >>> Window(0.8, 0.4).holds(0.4), Window(0.8, 0.4).holds(0.3)
    (True, False)

    Raises:
        OptionError: If it is not within [0, 1], or runs upwards.
    """

    start: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.end <= self.start <= 1:
            raise OptionError(
                wanted="1 >= start >= end >= 0",
                got=f"{self.start} and {self.end}",
                hint="Window(0.8, 0.4), noise first",
            )

    def holds(self, t_fraction: float) -> bool:
        """Return whether a step that starts there belongs to the window."""
        return self.end - 1e-9 <= t_fraction <= self.start + 1e-9


@dataclass(frozen=True)
class Boost:
    """Noise put back on the last part of a walk: eta 1 there, 0 before  (quality boosting, off unless asked for).

    Attributes:
        share: Part of the steps, from the clean end; .2 as published, see `pullback.edit.preset`.
        seed: Of the noise, which is the same for every row of a batch: frames stay comparable.

    Raises:
        OptionError: If the share is outside [0, 1].
    """

    share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise OptionError(wanted="a share in [0, 1]", got=str(self.share), hint="0.2 is the published one")


@torch.no_grad()
def denoise_boosted(
    den: Denoiser, x: Tensor, t: Time, *, boost: Boost, num_steps: int = 20, cond: Any = None
) -> Tensor:
    """Return x0 `(B, *x_shape)` of latents at t, with eta 1 on the last ``boost.share`` of the steps.

    Before these the walk is that of ``denoise``, bit for bit.

    >>> from pullback.models import gaussian_denoiser
    >>> den = gaussian_denoiser()
    >>> denoise_boosted(den, den.draw([0]), 600, boost=Boost(seed=3), num_steps=10).shape
    torch.Size([1, 1, 4, 4])

    Raises:
        ShapeError, NumericalError: If x is no finite batch of latents.
    """
    x, generator = den.check_finite(x), torch.Generator().manual_seed(boost.seed)
    steps = den.schedule.steps(t, num_steps)
    first_boosted = len(steps) - math.ceil(boost.share * len(steps) - 1e-9)
    for index, (here, there) in enumerate(steps):
        x0, eps = den.x0_and_eps(x, here, cond)
        alpha, sigma = den.amounts(there)
        fresh = posterior_std(*den.amounts(here), alpha, sigma) if index >= first_boosted else 0.0
        x = alpha * x0 + math.sqrt(sigma**2 - fresh**2) * eps
        if fresh > 0:
            x = x + fresh * torch.randn(den.x_shape, generator=generator).to(x)
    return x


@torch.no_grad()
def edit_in_window(
    den: Denoiser,
    x: Tensor,
    t: Time,
    direction: "SomeDirection",
    g: float | Sequence[float],
    *,
    f_at: Callable[[Time], FeatureMap],
    window: Window,
    num_steps: int = 20,
    cond: Any = None,
    allow_mismatch: bool = False,
) -> Tensor:
    """Return x0 after a step along a direction at every timestep of a window, DDIM in between.

    At each of them ``x <- x + g v``, v made anew on the sample as it is then: by one product for a direction of H.

    Args:
        den: The model.
        x: Latents at t, `(B, *x_shape)`.
        t: Where the walk starts.
        direction: Of H or X.
        g: Length of each step; a number, or one for each latent.
        f_at: The feature map at a timestep: ``lambda t: den.feature_map(t=t)``. For a direction of X, at t alone.
        window: Where to edit.
        num_steps: Steps of the walk.
        cond: Condition.
        allow_mismatch: Whether a direction of another model, layer, pool or condition may be used.

    >>> from pullback.directions import random_h
    >>> from pullback.models import toy_denoiser
    >>> den = toy_denoiser()
    >>> u = random_h(den.feature_map(t=600), rank=1)[0]
    >>> args = {"f_at": lambda t: den.feature_map(t=t), "window": Window(0.5, 0.2), "num_steps": 4}
    >>> edit_in_window(den, den.draw([0]), 600, u, 0.1, **args).shape
    torch.Size([1, 3, 8, 8])

    Raises:
        ShapeError, NumericalError: If x is no finite batch, or the direction does not fit or vanishes.
        MismatchError: If the direction is of another model, layer, pool or condition.
        OptionError: If no step of the walk lies in the window.
    """
    x = den.check_finite(x)
    if not allow_mismatch:  # of which t it is does not matter, since it is used at several
        check_found_with([direction.origin], f_at(t).origin, may_differ=("t",))
    steps = den.schedule.steps(t, num_steps)
    if not any(window.holds(den.schedule.fraction(here)) for here, _ in steps):
        raise OptionError(
            wanted="a step of the walk inside the window",
            got=f"steps at {', '.join(f'{den.schedule.fraction(here):.2f}' for here, _ in steps[:8])}",
            hint="widen the window, or take more steps",
        )
    length = torch.as_tensor(g, dtype=x.dtype, device=x.device).reshape(-1, *[1] * (x.ndim - 1))
    for here, there in steps:
        if window.holds(den.schedule.fraction(here)):
            f = f_at(here if direction.space == "H" else t)
            x = x + length * vectors_at(f, x, [direction])[0]
        x0, eps = den.x0_and_eps(x, here, cond)
        alpha, sigma = den.amounts(there)
        x = alpha * x0 + sigma * eps
    return x
