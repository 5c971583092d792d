"""What a run is asked to do, checked before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from pullback.errors import OptionError
from pullback.types import Pool

Report = Callable[[str, int, int], None]
"""Called as ``progress(stage, done, total)`` while something slow is going on."""

SEEDS_PER_RUN = 1_000_000
HELD_OUT_OFFSET = 500_000
"""Held-out seeds start here: a run has room for half a million seeds of either kind, and the two never meet."""


def silent(stage: str, done: int, total: int) -> None:
    """Reports nothing."""


@dataclass(frozen=True)
class Settings:
    """How directions are found.

    Attributes:
        num_samples: Samples that the directions are made from, >= 2.
        num_held_out: Other samples that agreement is measured on, >= 1.
        rank: Local directions a sample, and the most global ones, >= 1.
        t_fraction: Share of T at which the network is opened up, 0 to 1.
        layer: Path of the feature layer; None for the innermost block.
        pool: "none", "sum" or ("sum", n).
        seed: Of the run; other seeds give other samples.
        num_steps: DDIM steps of a whole walk from noise to picture.
        tol: Largest residual of a local basis, relative to s_1.
        batch: Samples whose bases are computed together; None for as many as fill the device and fit into its memory.

    Raises:
        OptionError: If a value has no meaning.

    Example:
        >>> settings = Settings(num_samples=2, num_held_out=1, seed=3)
        >>> settings.discovery_seeds, settings.held_out_seeds
        ((3000000, 3000001), (3500000,))
    """

    num_samples: int = 32
    num_held_out: int = 16
    rank: int = 24
    t_fraction: float = 0.8
    layer: str | None = None
    pool: Pool = "none"
    seed: int = 0
    num_steps: int = 20
    tol: float = 1e-3
    batch: int | None = None

    def __post_init__(self) -> None:
        _at_least("samples", self.num_samples, 2, "a direction is what samples share")
        _at_least("held-out samples", self.num_held_out, 1, "agreement needs a sample that took no part")
        _at_least("rank", self.rank, 1, "24 is the default")
        _at_least("steps", self.num_steps, 1, "20 is the default")
        _at_least("batch", 1 if self.batch is None else self.batch, 1, "None takes as many as fit")
        _at_least("seed", self.seed, 0, "any whole number will do")
        if max(self.num_samples, self.num_held_out) > HELD_OUT_OFFSET:
            raise OptionError(
                wanted=f"at most {HELD_OUT_OFFSET:,} samples of a kind",
                got=f"{max(self.num_samples, self.num_held_out):,}",
                hint="use another seed for more",
            )
        if not 0 < self.t_fraction <= 1:
            raise OptionError(
                wanted="t_fraction above 0 and at most 1",
                got=f"{self.t_fraction:g}",
                hint="0.8 is the default; 1 is pure noise",
            )
        if not self.tol > 0:
            raise OptionError(wanted="a tolerance above 0", got=f"{self.tol:g}", hint="1e-3 is the default")

    @property
    def discovery_seeds(self) -> tuple[int, ...]:
        """Seeds of the samples that directions are made from."""
        first = self.seed * SEEDS_PER_RUN
        return tuple(range(first, first + self.num_samples))

    @property
    def held_out_seeds(self) -> tuple[int, ...]:
        """Seeds of the samples that directions are judged and shown on; disjoint from `discovery_seeds`."""
        first = self.seed * SEEDS_PER_RUN + HELD_OUT_OFFSET
        return tuple(range(first, first + self.num_held_out))


@dataclass(frozen=True)
class PageSettings:
    """What the report shows.

    Attributes:
        num_shown: Directions with pictures.
        num_people: Held-out samples in each row of pictures.
        num_stops: Stops of a slider, odd, the middle one being the unedited sample.
        max_scale: Scale at the ends of a slider.
        batch: Pictures in one network call.

    Raises:
        OptionError: If a value has no meaning.

    Example:
        >>> PageSettings(num_stops=5, max_scale=2).scales
        (-2.0, -1.0, 0.0, 1.0, 2.0)
        >>> PageSettings().num_frames
        485
    """

    num_shown: int = 16
    num_people: int = 5
    num_stops: int = 7
    max_scale: float = 12.0
    batch: int = 64

    def __post_init__(self) -> None:
        _at_least("shown directions", self.num_shown, 1, "16 is the default")
        _at_least("samples in a row", self.num_people, 1, "5 is the default")
        _at_least("batch", self.batch, 1, "64 suits small models")
        if self.num_stops < 3 or self.num_stops % 2 == 0:
            raise OptionError(
                wanted="an odd number of stops, at least 3", got=str(self.num_stops), hint="7 is the default"
            )
        if not (math.isfinite(self.max_scale) and self.max_scale > 0):
            raise OptionError(wanted="a largest scale above 0", got=f"{self.max_scale:g}", hint="12 is the default")

    @property
    def scales(self) -> tuple[float, ...]:
        """Evenly spaced, symmetric about 0."""
        half = self.num_stops // 2
        return tuple(self.max_scale * k / half for k in range(-half, half + 1))

    @property
    def reference(self) -> int:
        """How many stops from the middle the scale lies whose effects are measured and named: two thirds of the way."""
        return max(1, round(self.num_stops // 2 * 2 / 3))

    @property
    def reference_scale(self) -> float:
        """The scale at that stop."""
        return self.scales[self.num_stops // 2 + self.reference]

    @property
    def num_frames(self) -> int:
        """Pictures to render: every scale but 0 for each direction and sample, and each sample itself once."""
        return self.num_people * (self.num_shown * (self.num_stops - 1) + 1)


def _at_least(name: str, value: int, least: int, hint: str) -> None:
    if value < least:
        raise OptionError(wanted=f"{name} of at least {least}", got=str(value), hint=hint)
