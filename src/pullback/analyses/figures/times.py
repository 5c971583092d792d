"""How do tangent spaces change along one trajectory, and is it the latent or the network's time? (2307.12868)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pullback.analyses.aside import aside
from pullback.analyses.context import Context
from pullback.analyses.plotting import NULL_STYLE, dots, heat, panels
from pullback.analyses.record import MIN_UNITS, Outcome, Rows, column, distinct, interval_or_range
from pullback.analyses.sizes import Size
from pullback.geometry import TangentBasis
from pullback.geometry.distances import time_maps
from pullback.geometry.nulls import matched_distances

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Tangent spaces across timesteps"
CAPTION = (
    "Distances of tangent spaces on one DDIM trajectory: between its timesteps; with the latent held and only the "
    "network's time changed (fix x); with the time held and only the latent changed (fix t). Means over trajectories; "
    "right, the mean off the diagonal of each trajectory. Dashed: spans drawn at random out of the directions of a "
    "trajectory (matched)."
)
PAPER = (
    "2307.12868 shows the distances of tangent spaces between timesteps, and the same with the latent or with "
    "the time of the network held."
)
MAPS = ("across", "fix_x", "fix_t")
MOST_TRAJECTORIES = 12


def num_bases(size: Size) -> int:
    """A grid for each trajectory; its diagonal is among those of `samples`."""
    return num_trajectories(size) * len(size.t_fractions) ** 2


def run(context: Context) -> Outcome:
    """The three maps of a few trajectories; n^2 bases for n timesteps each."""
    times, num = context.size.t_fractions, num_trajectories(context.size)
    # as many latents as `samples` has, so that they are the same to the last bit and the bank knows their bases
    latents = torch.stack([context.latents(t, context.size.num_samples)[:num] for t in times], dim=1)
    context.plan(context.feature_map(times[0]), latents[:, 0])  # how many latents go together is known from here on
    rows = []
    for trajectory, grid in enumerate(_grids(context, latents)):
        maps = time_maps(lambda a, b, grid=grid: grid[a, b], times)
        own = torch.stack([grid[t, t].u for t in times])
        null = float(matched_distances(own, generator=context.generator(trajectory)).mean())
        rows += [
            {"map": name, "trajectory": trajectory, "row": a, "column": b}
            | {"distance": float(getattr(maps, name)[i, j]), "matched_null": null}
            for name in MAPS
            for i, a in enumerate(times)
            for j, b in enumerate(times)
        ]
    return Outcome(rows, num=num, note=note_of(rows))


def note_of(rows: Rows) -> str:
    """Means off the diagonal with their spread: an interval of six trajectories or more, else merely the range."""
    found, num = [], len(distinct(rows, "trajectory"))
    for name in MAPS:
        values = off_diagonal(rows, name)
        mean, low, high = interval_or_range(values)
        found.append(f"{name} {mean:.2f} [{low:.2f}, {high:.2f}]")
    brackets = "95 % intervals" if num >= MIN_UNITS else f"n = {num}: the range, no interval"
    return (
        f"Rows: t. Columns: the reference r. Means off the diagonal, radians: {', '.join(found)} ({brackets}); matched "
        f"null {column(rows, 'matched_null').mean():.2f}."
    )


def off_diagonal(rows: Rows, name: str) -> np.ndarray:
    """Mean of one map off its diagonal, for each trajectory."""
    others = [row for row in rows if row["map"] == name and row["row"] != row["column"]]
    return np.array([column(others, "distance", trajectory=i).mean() for i in distinct(others, "trajectory")])


def num_trajectories(size: Size) -> int:
    """Three for five samples, from two to `MOST_TRAJECTORIES`."""
    return min(MOST_TRAJECTORIES, max(2, 3 * size.num_samples // 5))


def _grids(context: Context, latents: Tensor) -> Iterator[dict[tuple[float, float], TangentBasis]]:
    """The basis at the latent of time a under the network at time b, for each trajectory of `(P, T, *x_shape)`.

    Those of one b are computed together, whichever trajectory they are of; as many trajectories at a time as fill two
    batches, and of their bases u alone is kept.
    """
    times = context.size.t_fractions
    for group in latents.split(max(1, 2 * context.batch // len(times))):
        grids: list[dict[tuple[float, float], TangentBasis]] = [{} for _ in group]
        for b in times:
            made = context.bases(context.feature_map(b), group.flatten(0, 1))
            bases = (aside(basis, only_u=True) for basis in made)
            for grid in grids:
                grid.update({(a, b): next(bases) for a in times})
        yield from grids


def draw(rows: Rows) -> Figure:
    """Three heat maps, and what they are off the diagonal beside the matched null."""
    times = distinct(rows, "row")
    labels = [f"{float(t):g}" for t in times]
    figure, axes = panels(4, num_rows=2)
    titles = ("between timesteps", "fix x: only the network's time", "fix t: only the latent")
    for axis, name, title in zip(axes[:3], MAPS, titles, strict=True):
        values = np.array([[column(rows, "distance", map=name, row=a, column=b).mean() for b in times] for a in times])
        heat(axis, values, labels, title=title)
        axis.set(xlabel="r / T", ylabel="t / T")
    dots(axes[3], {name.replace("_", " "): off_diagonal(rows, name) for name in MAPS})
    axes[3].axhline(float(column(rows, "matched_null").mean()), label="matched", **NULL_STYLE)
    axes[3].set(ylabel="mean distance off the diagonal, rad", ylim=(0, None))
    axes[3].legend(frameon=False, fontsize=7)
    return figure
