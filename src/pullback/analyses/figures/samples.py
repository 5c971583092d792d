"""Do samples share their tangent spaces? Distances across samples at each t, against matched and Haar nulls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pullback.analyses.beyond import Array, beyond, raw_text
from pullback.analyses.context import Context
from pullback.analyses.plotting import COLOURS, NULL_STYLE, line_of_means, panels
from pullback.analyses.record import Finding, Outcome, Rows, column, distinct, finding, of_pairs
from pullback.analyses.sizes import Size
from pullback.geometry.distances import distance_map
from pullback.geometry.nulls import haar_distances, matched_distances

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Tangent spaces across samples"
CAPTION = (
    "Geodesic distance of the tangent space of each sample to those of the others, by timestep. Dashed: spans "
    "drawn at random out of the directions of all samples (matched), against which both claims are read; dotted: out "
    "of all of H (Haar), which nearly anything beats."
)
PAPER = (
    "2307.12868 shows the distances of tangent spaces across samples by timestep: samples are alike near T, and "
    "differ as t falls."
)


def num_bases(size: Size) -> int:
    """The same as for `psd`."""
    return size.num_samples * len(size.t_fractions)


def run(context: Context) -> Outcome:
    """Mean distance of each sample to the others at every timestep, and the nulls."""
    rows = []
    for t_fraction in context.size.t_fractions:
        x = context.latents(t_fraction, context.size.num_samples)
        bases = context.bases(context.feature_map(t_fraction), x)
        distances = distance_map(bases)
        own = distances.sum(1) / (len(distances) - 1)
        u = torch.stack([basis.u for basis in bases])
        null = float(matched_distances(u, generator=context.generator()).mean())
        haar = float(haar_distances(u.shape[1], u.shape[2], generator=context.generator()).mean())
        rows += [
            {"t_fraction": t_fraction, "sample": i, "distance": float(d), "matched_null": null, "haar_null": haar}
            for i, d in enumerate(own)
        ]
    note = (
        f"Largest distance possible at rank {context.size.rank}: {context.size.rank**0.5 * torch.pi / 2:.2f} rad. "
        f"{note_of(rows)}"
    )
    return Outcome(rows, findings_of(rows), num=context.size.num_samples, note=note)


def findings_of(rows: Rows) -> list[Finding]:
    """What the table says: closer than the null early, and how much of that is gone late."""
    first = max(float(t) for t in distinct(rows, "t_fraction"))
    early, null = (column(rows, name, t_fraction=first) for name in ("distance", "matched_null"))
    return [finding("shared early", null - of_pairs(early)), beyond("not shared late", *changes(rows))]


def note_of(rows: Rows) -> str:
    """The rise of the distance as it is, and how much of it the null has too."""
    return raw_text("Distance at the smallest t/T less that at the largest, rad", *changes(rows))


def changes(rows: Rows) -> tuple[Array, float]:
    """Distance at the smallest t less that at the largest, for each sample, and the same of the null, one for all."""
    times = [float(t) for t in distinct(rows, "t_fraction")]
    own, null = (
        column(rows, name, t_fraction=min(times)) - column(rows, name, t_fraction=max(times))
        for name in ("distance", "matched_null")
    )
    return of_pairs(own), float(null.mean())


def draw(rows: Rows) -> Figure:
    """Distance against t with both nulls."""
    times = [float(t) for t in distinct(rows, "t_fraction")]
    figure, (axis,) = panels(1, width=5.5)
    line_of_means(
        axis, rows, x="t_fraction", y="distance", at=times, label="to others", colour=COLOURS[0], is_of_pairs=True
    )
    for name, label, style in (("matched_null", "matched", "--"), ("haar_null", "Haar", ":")):
        values = [column(rows, name, t_fraction=t)[0] for t in times]
        axis.plot(times, values, label=label, **{**NULL_STYLE, "linestyle": style})
    axis.set(xlabel="t / T", ylabel="geodesic distance, rad", ylim=(0, None))
    axis.legend(frameon=False, fontsize=7)
    return figure
