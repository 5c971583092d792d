"""Far out: a fixed v against geodesic shooting: does h go on along u, and do pictures stay of the world?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pullback.analyses.aside import aside
from pullback.analyses.context import Context
from pullback.analyses.moves import edit_time, frames_of, quiet, unit_weights
from pullback.analyses.plotting import COLOURS, NULL_STYLE, evenly, line_of_means, panels, sheet
from pullback.analyses.reading import gate_of, reader_of
from pullback.analyses.record import Outcome, Rows, column, difference_text, distinct
from pullback.analyses.sizes import Size
from pullback.edit import calibrate
from pullback.edit.scale import features
from pullback.geometry import TangentBasis
from pullback.geometry.shooting import shooting
from pullback.geometry.shots import BasesAt, together
from pullback.geometry.transport import retained_null
from pullback.models import NetworkFeatureMap
from pullback.types import FeatureMap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Shooting against a fixed direction, far out"
CAPTION = (
    "Samples moved along their top direction in equal steps of x: v as it is (fixed), v made anew at each step "
    "(shooting), and a v drawn at random in the local span (matched). Response: the displacement of h relative to what "
    "the Jacobian at the start promises, 1 for a linear map. Along u: the cosine of the displacement with the u it "
    "began with. Pass rate of the gate, .95 for unedited samples. Pictures: rows are fixed and shooting."
)
PAPER = (
    "2302.12469 makes the tangent vector anew at each step (geodesic shooting), and sets it beside moving along "
    "the first one all the way."
)
WAYS = ("fixed", "shooting", "random in span")
FARTHEST = 20.0
"""Scale at the end of the fixed path: twice the median distance of two samples in h, if h were linear."""


class Walk(NamedTuple):
    """One of `WAYS`: points `(n + 1, *x_shape)`, the u it follows, ``|J v|`` at its start, the step, shares retained.

    Where u is not re-aimed nothing is retained or lost: nan.
    """

    points: Tensor
    u: Tensor
    slope: float
    step: float
    retained: list[float]


def num_bases(size: Size) -> int:
    """A basis at each point of each shot."""
    return size.num_pairs * (size.num_segments + 1)


def run(context: Context) -> Outcome:
    """Three ways from each sample; all steps as long as those of the calibrated fixed path."""
    size, t_fraction = context.size, edit_time(context.size)
    f, reader = context.feature_map(t_fraction), reader_of(context)
    gate, rows, strips = gate_of(context, reader), [], {}
    for sample, ways in enumerate(_walks(context, f)):
        for way, (points, u, slope, step, retained) in ways.items():
            x0 = context.pictures(points, f.t or 0)
            response, along = answers(f, points, u, slope=slope, step=step)
            rows += [
                {
                    "sample": sample,
                    "way": way,
                    "scale": FARTHEST * i / size.num_segments,
                    "response": response[i],
                    "along": along[i],
                    "passed": float(residual <= gate),
                    "retained": retained[i],
                }
                for i, residual in enumerate(reader.residual(x0))
            ]
            if sample < size.num_people and way != WAYS[-1]:
                strips.setdefault(f"sample-{sample}", []).append(list(frames_of(context, x0[evenly(len(x0))])))
    null = retained_null(size.rank, torch.Size(f.h_shape).numel())
    note = (
        f"{size.num_segments} steps at t/T = {t_fraction:g}, rank {size.rank}. A random direction of H would retain at "
        f"most {null:.2f} of itself at a step. {note_of(rows)}"
    )
    return Outcome(rows, (), {name: sheet(strip) for name, strip in strips.items()}, size.num_pairs, note)


def note_of(rows: Rows) -> str:
    """What shooting has at the end of the way less what a fixed direction has, paired over samples."""
    end = max(float(scale) for scale in distinct(rows, "scale"))
    found, samples = [], distinct(rows, "sample")
    for name, words in (("passed", "pass rate"), ("response", "response"), ("along", "cosine with u")):
        there = {
            way: np.array([column(rows, name, way=way, sample=i, scale=end)[0] for i in samples]) for way in WAYS[:2]
        }
        found.append(difference_text(words, there["shooting"] - there["fixed"]))
    return f"At the end, shooting less fixed: {', '.join(found)}."


def _walks(context: Context, f: NetworkFeatureMap) -> Iterator[dict[str, Walk]]:
    """The three ways of each sample; as many shots at a time as bases are computed together."""
    size, generator = context.size, context.generator()
    latents = context.latents(edit_time(size), size.num_pairs)
    context.plan(f, latents)  # how many latents go together is known from here on
    for x in latents.split(context.batch):
        bases = [aside(basis) for basis in context.bases(f, x)]
        with quiet():
            tops = torch.stack([basis.v[0] for basis in bases]).to(x)
            units = calibrate(f, x, tops, distance=context.distance(f)).unit.tolist()
        steps = [FARTHEST * unit / size.num_segments for unit in units]
        weights = unit_weights(len(x), size.rank, generator)
        yield from walks(
            f, x, bases, steps=steps, num_steps=size.num_segments, weights=weights,
            bases_at=lambda at: [aside(basis) for basis in context.bases(f, at)],
        )  # fmt: skip


def walks(
    f: FeatureMap,
    x: Tensor,
    bases: Sequence[TangentBasis],
    *,
    steps: Sequence[float],
    num_steps: int,
    weights: Tensor,
    bases_at: BasesAt,
) -> list[dict[str, Walk]]:
    """The `WAYS` of each latent, `(B, *x_shape)`, in steps of its own length; ``weights``, `(B, k)`, make the last."""
    starts = list(zip(x, bases, steps, strict=True))
    shots = together(
        [
            shooting(f, start, basis.u[0], step=step, num_steps=num_steps, first=basis, tolerance=None)
            for start, basis, step in starts
        ],
        bases_at,
    )
    found = []
    for (start, basis, step), shot, drawn in zip(starts, shots, weights, strict=True):
        fixed, random = (
            _straight_on(start, basis, each, step=step, num_steps=num_steps)
            for each in (torch.eye(basis.rank)[0], drawn)
        )
        turned = Walk(shot.x, basis.u[0].clone(), float(basis.s[0]), step, shot.retained.tolist())
        found.append(dict(zip(WAYS, (fixed, turned, random), strict=True)))
    return found


def _straight_on(x: Tensor, basis: TangentBasis, weights: Tensor, *, step: float, num_steps: int) -> Walk:
    """Equal steps along ``sum_i w_i v_i``, which is never re-aimed."""
    weights = weights.to(basis.v)
    v = (weights @ basis.v.flatten(1)).reshape(x.shape)
    u = weights * basis.s.to(weights) @ basis.u  # J v
    slope = float(torch.linalg.vector_norm(u))
    g = step * torch.arange(num_steps + 1).to(x)
    points = x + g.reshape(-1, *[1] * x.ndim) * v.to(x)
    return Walk(points, u / max(slope, 1e-30), slope, step, [float("nan")] * (num_steps + 1))


def answers(f: FeatureMap, points: Tensor, u: Tensor, *, slope: float, step: float) -> tuple[list[float], list[float]]:
    """At each point: ``|h - h_0| / (g |J v|)`` and the cosine of ``h - h_0`` with u; 1 and 1 at the start."""
    h = features(f, points).double()
    change = h - h[:1]
    length = torch.linalg.vector_norm(change, dim=1)
    g = step * torch.arange(len(points), dtype=torch.float64)
    promised = torch.where(g > 0, g * slope, 1.0)
    response = torch.where(g > 0, length.cpu() / promised, 1.0)
    cosine = torch.where(length > 0, (change @ u.to(change)) / length.clamp_min(1e-30), 1.0)
    return response.tolist(), cosine.tolist()


def draw(rows: Rows) -> Figure:
    """Response, cosine with u and pass rate, against scale."""
    figure, axes = panels(3)
    scales = [float(s) for s in distinct(rows, "scale")]
    labels = {"response": "|dh| / promised by J", "along": "cosine of dh with u", "passed": "pass rate of the gate"}
    for axis, (name, label) in zip(axes, labels.items(), strict=True):
        for way, colour in zip(WAYS, COLOURS, strict=False):
            line_of_means(axis, rows, x="scale", y=name, at=scales, label=way, colour=colour, way=way)
        axis.set(xlabel="scale of the fixed path", ylabel=label, ylim=(min(0.0, column(rows, name).min()), None))
    axes[0].axhline(1.0, **NULL_STYLE)
    axes[2].axhline(0.95, **NULL_STYLE)
    axes[0].legend(frameon=False, fontsize=7)
    return figure
