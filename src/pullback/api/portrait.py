"""What is known only about the shipped portraits: effects on factors, the realism gate, gain and recall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pullback.api.discovery import Discovery
from pullback.api.model import Model
from pullback.directions import local_basis
from pullback.geometry import Plan
from pullback.measure.factors import visibility
from pullback.measure.naming import name_effects
from pullback.measure.report_data import FactorRow
from pullback.models import list_models
from pullback.portraits import FACTORS, NAMES, render, sample, tangents
from pullback.portraits.judge import Judge, load_judge
from pullback.portraits.oracle import to_clean

Array = NDArray[np.float64]
QUANTILE = 0.95
NUM_VISIBLE = 4
"""Samples of known factors that gain and recall are averaged over."""
RADIANS = {"yaw", "pitch", "light"}
DENSITY = 0.3989
"""Of the standard normal at 0: one sd moves a factor by this share of its range, there."""


def is_portraits(model: Model) -> bool:
    """Whether this is a shipped model of the portrait world."""
    return model.name in list_models() and model.x_shape == (3, 64, 64)


def units() -> dict[str, tuple[float, str]]:
    """How many radians one standard deviation is, for the factors that are angles."""
    return {each.name: ((each.high - each.low) * DENSITY, "rad") for each in FACTORS if each.name in RADIANS}


@dataclass(frozen=True, eq=False)
class Reading:
    """What one direction does to the factors.

    Attributes:
        effects: Odd effect of scale 1 on each shown sample, standard units, `(P, F)`.
        passed: Whether each picture passed the gate, `(P, S)`.
        name: For people.
    """

    effects: Array
    passed: NDArray[np.bool_]
    name: str


class Reader:
    """Reads factors off edited portraits.

    Args:
        unedited: Clean samples that nothing was done to, `(B, 3, 64, 64)`: 95 % of them pass the gate.
        judge: Oracle and renderer; the shipped ones by default.
    """

    def __init__(self, unedited: Tensor, *, judge: Judge | None = None) -> None:
        self.judge = judge or load_judge()
        self.gate = float(np.quantile(self.judge.residual(unedited), QUANTILE))

    def read(self, x0: Tensor, scales: Sequence[float]) -> Reading:
        """Measures one direction.

        Args:
            x0: Clean samples, `(P, S, 3, 64, 64)`.
            scales: S of them, symmetric about 0.

        Returns:
            Effects by least squares through the origin: ``e = sum_a a odd(a) / sum_a a^2``.
        """
        num_people, num_scales = x0.shape[:2]
        z = self.judge.factors(x0.flatten(0, 1)).reshape(num_people, num_scales, -1)
        half = num_scales // 2
        above = np.asarray(scales[half + 1 :])
        odd = (z[:, half + 1 :] - z[:, :half][:, ::-1]) / 2  # (P, S/2, F)
        effects = np.einsum("a,paf->pf", above, odd) / np.square(above).sum()
        passed = self.judge.residual(x0.flatten(0, 1)).reshape(num_people, num_scales) <= self.gate
        return Reading(effects, passed, name_effects(effects, NAMES, units=units()))


def factor_rows(model: Model, found: Discovery, *, plan: Plan | None = None) -> tuple[tuple[FactorRow, ...], int]:
    """Returns gain and recall of every factor at the t, layer and pool of a discovery, and the products it cost."""
    settings = found.settings
    z = sample(NUM_VISIBLE, seed=8_000_000 + settings.seed)
    t = model.schedule.timestep(settings.t_fraction)
    f = model.feature_map(t=t, layer=settings.layer, pool=settings.pool)
    eps = model.draw([8_000_000 + settings.seed + k for k in range(NUM_VISIBLE)])
    x = model.noise(to_clean(render(z)).to(eps), t, eps)
    generator = torch.Generator().manual_seed(settings.seed)
    basis = local_basis(f, x, rank=settings.rank, tol=settings.tol, generator=generator, plan=plan)
    seen = visibility(f, x, torch.from_numpy(tangents(z)).to(x), basis)
    rows = tuple(
        FactorRow(
            name,
            float(seen.energy[j]),
            float(seen.gain[j]),
            float(seen.recall_x[j]),
            seen.null_x,
            float(seen.recall_h[j]),
            seen.null_h,
        )
        for j, name in enumerate(NAMES)
    )
    return rows, basis.products.total + NUM_VISIBLE * len(NAMES)
