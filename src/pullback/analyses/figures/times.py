"""How do tangent spaces change along one trajectory, and is it the latent or the network's time? (2307.12868)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pullback.analyses.context import Context
from pullback.analyses.plotting import heat, panels
from pullback.analyses.record import Outcome, Rows, column, distinct, interval
from pullback.analyses.sizes import Size
from pullback.geometry import TangentBasis
from pullback.geometry.distances import time_maps
from pullback.geometry.nulls import matched_distances
from pullback.models import denoise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Tangent spaces across timesteps"
CAPTION = (
    "Distances of tangent spaces on one DDIM trajectory: between its timesteps; with the latent held and only the "
    "network's time changed (fix x); with the time held and only the latent changed (fix t). Means over trajectories."
)
MAPS = ("across", "fix_x", "fix_t")


def num_bases(size: Size) -> int:
    """A grid for each trajectory."""
    return num_trajectories(size) * len(size.t_fractions) ** 2


def run(context: Context) -> Outcome:
    """The three maps of a few trajectories; n^2 bases for n timesteps each."""
    times = context.size.t_fractions
    rows, nulls, means = [], [], {name: [] for name in MAPS}
    num = num_trajectories(context.size)
    for sample, seed in enumerate(context.seeds(num)):
        grid = _grid(context, seed)
        maps = time_maps(lambda a, b, grid=grid: grid[a, b], times)
        for name in MAPS:
            values = getattr(maps, name)
            means[name].append(float(values.sum()) / (len(times) * (len(times) - 1)))  # zero on the diagonal
            rows += [
                {"map": name, "trajectory": sample, "row": a, "column": b, "distance": float(values[i, j])}
                for i, a in enumerate(times)
                for j, b in enumerate(times)
            ]
        own = torch.stack([grid[t, t].u for t in times])
        nulls.append(float(matched_distances(own, generator=context.generator()).mean()))
    found = {name: interval(values) for name, values in means.items()}
    told = ", ".join(f"{name} {mean:.2f} [{low:.2f}, {high:.2f}]" for name, (mean, low, high) in found.items())
    note = (
        f"Rows: t. Columns: the reference r. Means off the diagonal, radians: {told}; spans drawn at random out of the "
        f"directions of a trajectory (matched): {np.mean(nulls):.2f}."
    )
    return Outcome(rows, num=num, note=note)


def num_trajectories(size: Size) -> int:
    """A quarter as many as pairs, and at least two."""
    return max(2, size.num_pairs // 4)


def _grid(context: Context, seed: int) -> dict[tuple[float, float], TangentBasis]:
    """The basis at the latent of time a under the network at time b, for all pairs."""
    times, model = context.size.t_fractions, context.model
    x, here = model.draw([seed]), model.schedule.timestep(1.0)
    latents = []
    for t_fraction in times:
        there = model.schedule.timestep(t_fraction)
        if there != here:
            x = denoise(model, x, here, num_steps=max(1, context.size.num_steps // len(times)), until=there)
        latents.append(x)
        here = there
    found = {}
    for b in times:
        bases = context.bases(context.feature_map(b), torch.cat(latents))
        found |= {(a, b): basis for a, basis in zip(times, bases, strict=True)}
    return found


def draw(rows: Rows) -> Figure:
    """Three heat maps."""
    times = distinct(rows, "row")
    labels = [f"{float(t):g}" for t in times]
    figure, axes = panels(3)
    titles = ("between timesteps", "fix x: only the network's time", "fix t: only the latent")
    for axis, name, title in zip(axes, MAPS, titles, strict=True):
        values = np.array([[column(rows, "distance", map=name, row=a, column=b).mean() for b in times] for a in times])
        heat(axis, values, labels, title=title)
        axis.set(xlabel="r / T", ylabel="t / T")
    return figure
