"""Are the tangent spaces of a model of simpler data more consistent over samples?  (2307.12868)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from pullback.analyses.beyond import Array, beyond, raw_text
from pullback.analyses.context import Context
from pullback.analyses.plotting import COLOURS, line_of_means, panels
from pullback.analyses.record import Finding, Outcome, Rows, column, distinct, of_pairs
from pullback.analyses.sizes import Size
from pullback.api.finder import check_rank
from pullback.api.model import Model, load
from pullback.errors import ModelError
from pullback.geometry.distances import distance_map
from pullback.geometry.nulls import matched_distances

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Tangent spaces and the richness of the data"
CAPTION = (
    "Geodesic distance of the tangent space of each sample to those of the others, in models trained on data of few "
    "and of many factors, two training seeds each, from the same noise. Dashed: spans drawn at random out of the "
    "directions of the samples of the same model (matched); the claim is read against their difference."
)
PAPER = (
    "2307.12868 compares models that were trained on data sets of different complexity: the simpler the data, the "
    "more consistent the tangent spaces."
)
LEVELS = ("few", "many")
NUM_EACH = 2
"""Training seeds a level, of the siblings that the package knows how to train."""


def num_bases(size: Size) -> int:
    """All samples and every second timestep in each of four models."""
    return NUM_EACH * len(LEVELS) * size.num_samples * len(size.t_fractions[::2])


def run(context: Context) -> Outcome:
    """Distances across samples in every sibling."""
    return consistency(context, siblings_in(context.siblings, device=context.model.device))


def siblings_in(folder: Path | None, *, device: torch.device | str = "cpu") -> Mapping[str, Sequence[Model]]:
    """Models ``few-*`` and ``many-*`` of a folder, by level.

    Args:
        folder: Where they are.
        device: Where they are to run: beside the model of the run.

    Raises:
        ModelError: If there is no folder, or none of a level in it.
    """
    found = {level: sorted(folder.glob(f"{level}-*")) if folder is not None else [] for level in LEVELS}
    missing = [level for level in LEVELS if not found[level]]
    if missing:
        raise ModelError(
            wanted="models few-* and many-* of simple and of rich data",
            got="no folder" if folder is None else f"none of {' and '.join(missing)} in {folder}",
            hint="`python -m pullback.portraits siblings DIR` trains four; then --only complexity --siblings DIR",
        )
    return {level: [load(str(path), device=device) for path in paths] for level, paths in found.items()}


def consistency(context: Context, models: Mapping[str, Sequence[Model]]) -> Outcome:
    """Mean distance of each sample to the others, by level, training seed and timestep.

    Args:
        context: Of the run; its own model has no part in this.
        models: Models by level, ``"few"`` and ``"many"``.
    """
    size, rows = context.size, []
    for t_fraction in size.t_fractions[::2]:
        for level, each in models.items():
            for place, model in enumerate(each):
                own, null = _distances(context, model, t_fraction)
                rows += [
                    {
                        "t_fraction": t_fraction,
                        "level": level,
                        "training_seed": place,
                        "sample": i,
                        "distance": float(distance),
                        "matched_null": null,
                    }
                    for i, distance in enumerate(own)
                ]
    return Outcome(rows, findings_of(rows), num=size.num_samples, note=note_of(rows))


def findings_of(rows: Rows) -> list[Finding]:
    """What the table says: how much closer the spaces of simpler data are, beyond what their nulls differ by."""
    return [beyond("simple data, consistent spaces", *differences(rows))]


def note_of(rows: Rows) -> str:
    """The difference as it is, how much of it the nulls have too, and what a training seed does."""
    return (
        f"Means over its timesteps, paired by the noise that samples begin from. "
        f"{raw_text('Distance, many factors less few, rad', *differences(rows))} Training seeds of a level differ by "
        f"{', '.join(f'{_between(rows, level):.2f} ({level})' for level in LEVELS)} rad."
    )


def differences(rows: Rows) -> tuple[Array, float]:
    """Mean distance in models of many factors less that of few, for each sample, and the same of the nulls."""
    samples = distinct(rows, "sample")
    few, many = (
        np.array([column(rows, "distance", level=level, sample=i).mean() for i in samples]) for level in LEVELS
    )
    few_null, many_null = (float(column(rows, "matched_null", level=level).mean()) for level in LEVELS)
    return of_pairs(many - few), many_null - few_null


def _distances(context: Context, model: Model, t_fraction: float) -> tuple[np.ndarray, float]:
    f, size = model.feature_map(t_fraction=t_fraction), context.size
    check_rank(f, size.rank)
    seeds = context.seeds(size.num_samples)
    x = model.sample_latent(t_fraction=t_fraction, seeds=seeds, num_steps=size.num_steps)
    bases = context.bases(f, x)
    spans = torch.stack([basis.u for basis in bases])
    null = float(matched_distances(spans, generator=context.generator()).mean())
    return (distance_map(bases).sum(1) / (len(bases) - 1)).numpy(), null


def _between(rows: Rows, level: str) -> float:
    """Largest difference of the mean distance between training seeds of a level."""
    seeds = distinct([row for row in rows if row["level"] == level], "training_seed")
    means = [column(rows, "distance", level=level, training_seed=seed).mean() for seed in seeds]
    return float(max(means) - min(means))


def draw(rows: Rows) -> Figure:
    """Distance against t, a line a level and training seed, with the matched nulls."""
    times = [float(t) for t in distinct(rows, "t_fraction")]
    figure, (axis,) = panels(1, width=5.5)
    for level, colour in zip(distinct(rows, "level"), COLOURS, strict=False):
        kept = [row for row in rows if row["level"] == level]
        for place, seed in enumerate(distinct(kept, "training_seed")):
            alone = [row for row in kept if row["training_seed"] == seed]
            label = f"{level} factors" if place == 0 else "_"
            line_of_means(
                axis, alone, x="t_fraction", y="distance", at=times, label=label, colour=colour, is_of_pairs=True
            )
            nulls = [column(alone, "matched_null", t_fraction=t)[0] for t in times]
            axis.plot(times, nulls, color=colour, linestyle="--", linewidth=1.0)
    axis.set(xlabel="t / T", ylabel="geodesic distance, rad", ylim=(0, None))
    axis.legend(frameon=False, fontsize=7)
    return figure
