"""Noise schedules: how much signal and how much noise a latent holds at each timestep.

Every schedule here is the pair of ``x_t = alpha(t) x0 + sigma(t) eps``:

======================  =====================  =====================  ==========================
schedule                alpha                  sigma                  t
======================  =====================  =====================  ==========================
variance preserving     sqrt(abar_t)           sqrt(1 - abar_t)       integer, 0 .. T - 1
flow                    1 - t / T              t / T                  number in (0, T]
Karras (EDM)            1                      t                      number in [min, max]
======================  =====================  =====================  ==========================

``t=None`` means the clean end everywhere: alpha 1, sigma 0. (``t=0`` of a variance preserving
schedule still holds a little noise.)
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from pullback.errors import ModelError, OptionError
from pullback.models.predictions import Prediction, known_prediction

Time = int | float


class Schedule(ABC):
    """Signal and noise levels of one model; numbers are Python floats, so nothing is rounded."""

    num_train_timesteps: int

    @abstractmethod
    def alpha(self, t: Time | None) -> float:
        """Return the factor of ``x0`` in ``x_t``."""

    @abstractmethod
    def sigma(self, t: Time | None) -> float:
        """Return the factor of ``eps`` in ``x_t``."""

    @abstractmethod
    def timestep(self, t_fraction: float) -> Time:
        """Return the t nearest to ``t_fraction`` of T; 1 is the noisiest.

        Raises:
            OptionError: If ``t_fraction`` is outside [0, 1].
        """

    def fraction(self, t: Time) -> float:
        """Return the share of T at which t lies, the inverse of ``timestep``."""
        return self.check(t) / self.num_train_timesteps

    @abstractmethod
    def check(self, t: Time) -> Time:
        """Return ``t`` as the network expects it.

        Raises:
            OptionError: If the schedule has no such timestep.
        """

    def abar(self, t: Time | None) -> float:
        """Return the signal's share of the variance, ``alpha^2 / (alpha^2 + sigma^2)``."""
        alpha, sigma = self.alpha(t), self.sigma(t)
        return alpha**2 / (alpha**2 + sigma**2)

    def steps(
        self, t: Time, num_steps: int, until: Time | None = None, *, power: float = 1.0
    ) -> list[tuple[Time, Time | None]]:
        """Return the steps (from, to) of a walk from ``t`` down to ``until``.

        Spacing is even in t (in ``sigma^(1 / rho)`` for Karras) and counted from the noisy end, so the
        last step of a walk to the clean end starts at ``t / num_steps``. An integer schedule has
        only so many timesteps to give; a longer request takes them all. With ``power`` above 1 the
        steps grow shorter towards the end, as ``(1 - i / n)^power`` of the way is left.

        Raises:
            OptionError: If ``num_steps < 1``, or ``until`` is not below ``t``.
        """
        if num_steps < 1:
            raise OptionError(wanted="num_steps >= 1", got=f"{num_steps}", hint="one step is the least a walk takes")
        start, end = self.check(t), None if until is None else self.check(until)
        if end is not None and end >= start:
            raise OptionError(
                wanted=f"until below t = {start}", got=f"until = {end}", hint="to add noise, use invert or noise"
            )
        shares = [index / num_steps for index in range(num_steps + (end is not None))]
        shares = shares if power == 1 else [1 - (1 - share) ** power for share in shares]
        places = [self._between(start, end, share) for share in shares]
        levels: list[Time | None] = [*dict.fromkeys(places), *([None] if end is None else [])]
        return [(here, there) for here, there in pairwise(levels) if here is not None]

    def _between(self, start: Time, end: Time | None, share: float) -> Time:
        return start + share * ((end or 0) - start)


def _fraction(t_fraction: float) -> float:
    if not 0.0 <= t_fraction <= 1.0:
        raise OptionError(
            wanted="t_fraction between 0 and 1",
            got=f"{t_fraction}",
            hint="give a timestep itself as t=, a fraction of T as t_fraction=",
        )
    return t_fraction


def _in_range(t: Time, low: float, high: float, kind: str) -> Time:
    if isinstance(t, bool) or not (math.isfinite(t) and low <= t <= high):
        raise OptionError(
            wanted=f"t {kind} between {low:g} and {high:g}",
            got=f"t = {t}",
            hint="a share of the schedule is given as t_fraction=",
        )
    return t


@dataclass(frozen=True, eq=False)
class VPSchedule(Schedule):
    """Variance preserving schedule of DDPM: ``alpha^2 = abar_t``, ``sigma^2 = 1 - abar_t``.

    >>> schedule = VPSchedule.from_betas(torch.linspace(1e-4, 0.02, 1000))
    >>> schedule.timestep(0.8), round(schedule.abar(800), 5)
    (800, 0.00151)
    >>> schedule.steps(800, 4)
    [(800, 600), (600, 400), (400, 200), (200, None)]
    """

    alphas_cumprod: Tensor  # (T,) float64

    def __post_init__(self) -> None:
        abar = torch.as_tensor(self.alphas_cumprod).detach().cpu().double()
        if abar.ndim != 1 or not ((abar >= 0) & (abar <= 1)).all() or (abar.diff() > 0).any():
            raise ModelError(
                wanted="alphas_cumprod of shape (T,), falling, between 0 and 1",
                got=f"shape {tuple(abar.shape)}, from {abar.min():.3g} to {abar.max():.3g}",
                hint="VPSchedule.from_betas makes it from betas",
            )
        object.__setattr__(self, "alphas_cumprod", abar)

    @classmethod
    def from_betas(cls, betas: Tensor) -> "VPSchedule":
        """Return the schedule with ``abar_t = prod_{s <= t} (1 - beta_s)``; betas `(T,)`."""
        return cls(torch.cumprod(1 - torch.as_tensor(betas).double(), 0))

    @property
    def num_train_timesteps(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """T."""
        return len(self.alphas_cumprod)

    def _abar(self, t: Time | None) -> float:
        return 1.0 if t is None else float(self.alphas_cumprod[int(self.check(t))])

    def alpha(self, t: Time | None) -> float:
        """Return ``sqrt(abar_t)``."""
        return math.sqrt(self._abar(t))

    def sigma(self, t: Time | None) -> float:
        """Return ``sqrt(1 - abar_t)``."""
        return math.sqrt(1 - self._abar(t))

    def timestep(self, t_fraction: float) -> int:
        """Return ``t_fraction T``, rounded, at most T - 1."""
        return min(round(_fraction(t_fraction) * self.num_train_timesteps), self.num_train_timesteps - 1)

    def check(self, t: Time) -> int:
        """Return t as an integer."""
        if int(_in_range(t, 0, self.num_train_timesteps - 1, "an integer")) != t:
            raise OptionError(
                wanted="t an integer", got=f"t = {t}", hint="this model was trained at integer timesteps; round it"
            )
        return int(t)

    def _between(self, start: Time, end: Time | None, share: float) -> int:
        return round(super()._between(start, end, share))


@dataclass(frozen=True)
class FlowSchedule(Schedule):
    """Rectified flow: ``x_t = (1 - sigma) x0 + sigma eps`` with ``sigma = t / T``.

    A scheduler's resolution shift moves the grid of its sampler, not the meaning of t; grids here
    are even in sigma.
    """

    num_train_timesteps: int = 1000

    def alpha(self, t: Time | None) -> float:
        """Return ``1 - t / T``."""
        return 1 - self.sigma(t)

    def sigma(self, t: Time | None) -> float:
        """Return ``t / T``."""
        return 0.0 if t is None else self.check(t) / self.num_train_timesteps

    def timestep(self, t_fraction: float) -> float:
        """Return ``t_fraction T``."""
        return _fraction(t_fraction) * self.num_train_timesteps

    def check(self, t: Time) -> float:
        """Return t as a float."""
        return float(_in_range(t, 0, self.num_train_timesteps, "a number"))


@dataclass(frozen=True)
class KarrasSchedule(Schedule):
    """Noise levels of EDM (2206.00364): ``x_t = x0 + t eps``, t being the noise's standard deviation."""

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0
    num_train_timesteps: int = 1000

    def alpha(self, t: Time | None) -> float:
        """Return 1: the signal keeps its size."""
        return 1.0

    def sigma(self, t: Time | None) -> float:
        """Return t itself."""
        return 0.0 if t is None else self.check(t)

    def timestep(self, t_fraction: float) -> float:
        """Return the level at this share of EDM's own grid, which is even in ``sigma^(1 / rho)``."""
        return self._between(self.sigma_max, self.sigma_min, 1 - _fraction(t_fraction))

    def fraction(self, t: Time) -> float:
        """Return the place of the level t on EDM's own grid, from 0 to 1."""
        low, high, level = (sigma ** (1 / self.rho) for sigma in (self.sigma_min, self.sigma_max, self.check(t)))
        return (level - low) / (high - low)

    def check(self, t: Time) -> float:
        """Return t as a float."""
        return float(_in_range(t, self.sigma_min, self.sigma_max, "a number"))

    def _between(self, start: Time, end: Time | None, share: float) -> float:
        ends = [level ** (1 / self.rho) for level in (start, self.sigma_min if end is None else end)]
        level = (ends[0] + share * (ends[1] - ends[0])) ** self.rho
        return min(max(level, self.sigma_min), self.sigma_max)


def schedule_of(scheduler: object) -> tuple[Schedule, Prediction]:
    """Return the schedule and the prediction type a diffusers scheduler stands for.

    >>> from diffusers import FlowMatchEulerDiscreteScheduler
    >>> schedule_of(FlowMatchEulerDiscreteScheduler())
    (FlowSchedule(num_train_timesteps=1000), 'flow')

    Raises:
        ModelError: If it has neither ``alphas_cumprod`` nor the ways of a flow.
    """
    config = getattr(scheduler, "config", {})
    if "FlowMatch" in type(scheduler).__name__:
        return FlowSchedule(int(config["num_train_timesteps"])), "flow"
    abar = getattr(scheduler, "alphas_cumprod", None)
    if abar is None:
        raise ModelError(
            wanted="a scheduler with alphas_cumprod, or a flow-matching one",
            got=type(scheduler).__name__,
            hint="build the schedule by hand and use wrap_module(net, schedule=..., prediction=..., x_shape=...)",
        )
    return VPSchedule(abar), known_prediction(config.get("prediction_type", "epsilon"))
