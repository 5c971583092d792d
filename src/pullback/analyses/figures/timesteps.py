"""One direction at several timesteps: is an early edit coarse and a late one fine?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pullback.analyses.context import Context
from pullback.analyses.figures.local import measures
from pullback.analyses.moves import SCALE, flat, frames_of, moved, odd, unit_weights
from pullback.analyses.plotting import COLOURS, line_of_means, panels, sheet
from pullback.analyses.reading import reader_of, told
from pullback.analyses.record import Outcome, Rows, distinct
from pullback.analyses.sizes import Size
from pullback.geometry import TangentBasis
from pullback.geometry.transport import one_product
from pullback.measure.descriptors import low_frequency_share
from pullback.types import FeatureMap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "One direction at several timesteps"
CAPTION = (
    "The same samples edited at several timesteps: along the top local direction there (own); along the top direction "
    "of the first timestep, carried in H and made on each latent by one product (carried); along one drawn at random "
    "in the local span (matched). Share of the change of the picture below 1/8 cycle a pixel, and its size. Pictures: "
    "rows are timesteps, columns -, unedited, +, of the one direction that is carried."
)
PAPER = (
    "Both papers edit at several timesteps: directions found near T change coarse attributes, later ones change "
    "fine detail."
)
KINDS = ("own", "carried", "random in span")
CARRIED = KINDS.index("carried")


def num_bases(size: Size) -> int:
    """The same as for `psd`."""
    return size.num_samples * len(size.t_fractions)


def run(context: Context) -> Outcome:
    """Edits at every timestep of the trajectories of all samples."""
    size, reader, generator = context.size, reader_of(context), context.generator()
    rows, lines, first = [], [], None
    for t_fraction in size.t_fractions:
        f, x = context.feature_map(t_fraction), context.latents(t_fraction, size.num_samples)
        bases = context.bases(f, x)
        first = bases if first is None else first
        moves = moved(context, f, x, three_ways(f, x, bases, first, generator))
        still = frames_of(context, context.pictures(x, f.t or 0))
        frames, seen = frames_of(context, moves.x0), odd(reader.factors(flat(moves)), moves)
        for i in range(len(x)):
            for k, kind in enumerate(KINDS):
                change = (frames[i, k, 1].astype(float) - frames[i, k, 0]) / 510
                found = measures(still[i], frames[i, k], seen[i, k])
                low = {"low_share": low_frequency_share(change[None])}
                rows.append({"t_fraction": t_fraction, "sample": i, "kind": kind} | low | found)
        num = min(size.num_people, len(x))
        lines.append([each for i in range(num) for each in (frames[i, CARRIED, 0], still[i], frames[i, CARRIED, 1])])
    note = f"Scale {SCALE:g} both ways, calibrated at each timestep. {told(context)}"
    return Outcome(rows, (), {"timesteps": sheet(lines)}, size.num_samples, note)


def three_ways(
    f: FeatureMap,
    x: Tensor,
    bases: list[TangentBasis],
    first: list[TangentBasis],
    generator: torch.Generator,
) -> Tensor:
    """Own, carried and drawn directions on each latent, `(B, 3, *x_shape)`.

    Args:
        f: The map at this t.
        x: Latents at this t, `(B, *x_shape)`.
        bases: Their bases.
        first: The bases of the same samples at the first t.
        generator: For what is drawn.
    """
    found = []
    for latent, basis, start in zip(x, bases, first, strict=True):
        carried = one_product(f, latent, start.u[0])
        weights = unit_weights(1, basis.rank, generator).to(basis.v)
        drawn = (weights @ basis.v.flatten(1)).reshape(basis.v.shape[1:])
        found.append(torch.stack([basis.v[0], carried.to(basis.v), drawn]))
    return torch.stack(found)


def draw(rows: Rows) -> Figure:
    """Low-frequency share, size and locality of the change, against t."""
    times = [float(t) for t in distinct(rows, "t_fraction")]
    labels = {"low_share": "share below 1/8 cycle a pixel", "rms": "change of the picture, rms", "locality": "locality"}
    figure, axes = panels(len(labels))
    for axis, (name, label) in zip(axes, labels.items(), strict=True):
        for kind, colour in zip(KINDS, COLOURS, strict=False):
            line_of_means(axis, rows, x="t_fraction", y=name, at=times, label=kind, colour=colour, kind=kind)
        axis.set(xlabel="t / T", ylabel=label, ylim=(0, None))
    axes[0].legend(frameon=False, fontsize=7)
    return figure
