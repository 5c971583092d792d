"""What is known only about the shipped portraits: effects on factors, the realism gate, gain and recall."""

from __future__ import annotations

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
from pullback.portraits import NAMES, render, sample, tangents
from pullback.portraits.factors import to_physical
from pullback.portraits.judge import Judge, load_judge
from pullback.portraits.oracle import to_clean

Array = NDArray[np.float64]
QUANTILE = 0.95
NUM_VISIBLE = 4
"""Samples of known factors that gain and recall are averaged over."""
RADIANS = {"yaw", "pitch", "light"}


def is_portraits(model: Model) -> bool:
    """Whether this is a shipped model of the portrait world."""
    return model.name in list_models() and model.x_shape == (3, 64, 64)


def units(plus: Array, minus: Array) -> dict[str, tuple[float, str]]:
    """How many radians one standard deviation was, on average, for the factors that are angles.

    Args:
        plus: Factors after one edit, standard units, `(P, F)`.
        minus: After its opposite.
    """
    turned = np.abs(to_physical(plus) - to_physical(minus)).mean(axis=0)
    moved = np.abs(plus - minus).mean(axis=0)
    sizes = turned / np.maximum(moved, 1e-9)
    return {name: (float(sizes[j]), "rad") for j, name in enumerate(NAMES) if name in RADIANS}


@dataclass(frozen=True, eq=False)
class Reading:
    """What one direction does to the factors.

    Attributes:
        effects: Odd effect of the reference scale on each shown sample, standard units, `(P, F)`.
        symmetry: |odd|^2 / (|odd|^2 + |even|^2) of the factors, 0 to 1.
        passed: Whether each picture passed the gate, `(P, S)`.
        name: For people.
    """

    effects: Array
    symmetry: float
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

    def read(self, x0: Tensor, *, stop: int) -> Reading:
        """Measures one direction: ``e = (z(a) - z(-a)) / 2``, ``d = (z(a) + z(-a)) / 2 - z(0)``.

        Args:
            x0: Clean samples at scales symmetric about 0, `(P, S, 3, 64, 64)`.
            stop: How many stops from the middle a is.
        """
        num_people, num_scales = x0.shape[:2]
        z = self.judge.factors(x0.flatten(0, 1)).reshape(num_people, num_scales, -1)
        half = num_scales // 2
        plus, still, minus = z[:, half + stop], z[:, half], z[:, half - stop]  # (P, F)
        odd, even = (plus - minus) / 2, (plus + minus) / 2 - still
        name = name_effects(odd, NAMES, units=units(plus, minus))
        parts = float(np.square(odd).sum()), float(np.square(even).sum())
        passed = self.judge.residual(x0.flatten(0, 1)).reshape(num_people, num_scales) <= self.gate
        return Reading(odd, parts[0] / max(sum(parts), 1e-12), passed, name)


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
