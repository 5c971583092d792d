"""Have similar prompts similar tangent spaces, and does the prompt's influence fade as t goes to 0?  (2307.12868)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import torch

from pullback.analyses.context import Context
from pullback.analyses.pairs import Array, Indices, pairs, permuted, related
from pullback.analyses.plotting import COLOURS, NULL_STYLE, line_of_means, panels
from pullback.analyses.record import Finding, Outcome, Rows, column, distinct, redrawn
from pullback.analyses.sizes import Size
from pullback.analyses.texts import similarities, text_conditions
from pullback.geometry import TangentBasis
from pullback.geometry.distances import distance_map
from pullback.geometry.nulls import matched_distances

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Tangent spaces and the prompt"
CAPTION = (
    "Geodesic distance of the tangent spaces of two prompts at one latent, which was made without a prompt. "
    "Left: against the cosine of the prompts' embeddings (mean over tokens), a point each pair. Middle: their rank "
    "correlation by timestep; dashed, the 95 % of prompts shuffled against their embeddings (matched). Right: the "
    "distance by timestep; dashed, spans drawn at random out of the directions that all prompts have there (matched)."
)
PAPER = (
    "2307.12868 compares the tangent spaces of prompts: similar prompts have similar spaces, and the influence of "
    "the prompt fades as t falls."
)
NUM_DRAWS = 400
"""Of the matched null, shared by the samples at a timestep."""


def num_bases(size: Size) -> int:
    """For each prompt, all samples and timesteps."""
    return size.num_samples * len(size.t_fractions)


def run(context: Context) -> Outcome:
    """Distances of all pairs of prompts at every sample and timestep, beside the similarity of the prompts."""
    conditions = text_conditions(context.model, context.prompts)
    alike, rows, distances = similarities(conditions), [], {}
    for t_fraction in context.size.t_fractions:
        x = context.latents(t_fraction, context.size.num_samples)
        bases = [context.bases(context.feature_map(t_fraction, cond=cond), x) for cond in conditions]
        found = prompt_distances(bases)
        numbers = {"matched_null": _null(context, bases), **_numbers(found.mean(0), alike)}
        rows += [
            {"t_fraction": t_fraction, "first": context.prompts[i], "second": context.prompts[j], "sample": sample}
            | {"distance": float(table[i, j]), "similarity": float(alike[i, j]), **numbers}
            for sample, table in enumerate(found)
            for i, j in combinations(range(len(conditions)), 2)
        ]
        distances[t_fraction] = found
    first, last = max(distances), min(distances)
    early = next(row for row in rows if row["t_fraction"] == first)
    note = (
        f"{len(conditions)} prompts. Rank correlation at t/T = {first:g}: {early['spearman']:.2f}, shuffled "
        f"{early['shuffled_low']:.2f} to {early['shuffled_high']:.2f}. Intervals: prompts, and samples, drawn again."
    )
    findings = [similar(distances[first].mean(0), alike), fades(distances[first], distances[last])]
    return Outcome(rows, findings, num=min(len(conditions), context.size.num_samples), note=note)


def prompt_distances(bases: Sequence[Sequence[TangentBasis]]) -> Array:
    """Distances of the T_h of all prompts at each latent: bases by prompt and sample to `(S, P, P)`, radians.

    Raises:
        MismatchError: If the bases differ in more than the condition.
    """
    return np.stack([distance_map(each, may_differ={"condition"}).numpy() for each in zip(*bases, strict=True)])


def similar(distances: Array, alike: Array) -> Finding:
    """Whether prompts that are more alike are closer, both `(P, P)`."""
    value, low, high = related(distances, alike)
    return Finding("similar prompts, similar spaces", -value, -high, -low, 0.0, len(alike))


def fades(early: Array, late: Array) -> Finding:
    """Whether prompts are further apart early than late, both `(S, P, P)`; samples and prompts are drawn again."""
    less = early - late

    def mean(samples: Indices, prompts: Indices) -> float:
        first, second = pairs(prompts)
        return float(less[samples][:, first, second].mean()) if len(first) else 0.0

    nums = less.shape[:2]
    effect = mean(*(np.arange(num) for num in nums))
    return Finding("influence of the prompt fades", effect, *redrawn(mean, *nums), 0.0, min(nums))


def _numbers(distances: Array, alike: Array) -> dict[str, float]:
    names = ("spearman", "spearman_low", "spearman_high")
    low, high = np.quantile(permuted(distances, alike), [0.025, 0.975])
    found = dict(zip(names, related(distances, alike), strict=True))
    return found | {"shuffled_low": float(low), "shuffled_high": float(high)}


def _null(context: Context, bases: Sequence[Sequence[TangentBasis]]) -> float:
    """Mean distance of spans out of the joint span of all prompts at a latent, over latents."""
    generator, num = context.generator(), max(1, NUM_DRAWS // len(bases[0]))
    spans = (torch.stack([basis.u for basis in each]) for each in zip(*bases, strict=True))
    return float(np.mean([matched_distances(u, num_draws=num, generator=generator).mean() for u in spans]))


def draw(rows: Rows) -> Figure:
    """Distance against similarity at the largest t; their correlation, and the distance, against t."""
    times = [float(t) for t in distinct(rows, "t_fraction")]
    figure, (left, middle, right) = panels(3)
    early = [row for row in rows if row["t_fraction"] == max(times)]
    shape = len(distinct(rows, "sample")), -1  # the pairs of a sample stand together
    distances = column(early, "distance").reshape(shape).mean(0)
    left.plot(column(early, "similarity").reshape(shape)[0], distances, "o", color=COLOURS[0], markersize=4)
    left.set(xlabel="cosine of embeddings", ylabel="geodesic distance, rad", title=f"t/T {max(times):g}")
    numbers = ("spearman", "spearman_low", "spearman_high", "shuffled_low", "shuffled_high", "matched_null")
    at = {name: [column(rows, name, t_fraction=t)[0] for t in times] for name in numbers}
    middle.plot(times, at["spearman"], "o-", color=COLOURS[0], markersize=3.5, linewidth=1.5)
    middle.fill_between(times, at["spearman_low"], at["spearman_high"], color=COLOURS[0], alpha=0.18, linewidth=0)
    for end in ("shuffled_low", "shuffled_high"):
        middle.plot(times, at[end], **NULL_STYLE)
    middle.set(xlabel="t / T", ylabel="rank correlation", ylim=(-1.05, 1.05))
    means = [
        {"t_fraction": t, "distance": float(column(rows, "distance", t_fraction=t, sample=sample).mean())}
        for t in times
        for sample in distinct(rows, "sample")
    ]  # the band is over samples
    line_of_means(right, means, x="t_fraction", y="distance", at=times, label="two prompts", colour=COLOURS[0])
    right.plot(times, at["matched_null"], label="matched", **NULL_STYLE)
    right.set(xlabel="t / T", ylabel="geodesic distance, rad", ylim=(0, None))
    right.legend(frameon=False, fontsize=7)
    return figure
