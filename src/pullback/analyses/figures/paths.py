"""Four ways between two latents: how warped, how long, and what is seen on the way  (2302.12469)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from pullback.analyses.aside import aside
from pullback.analyses.context import Context
from pullback.analyses.parts import Part
from pullback.analyses.plotting import COLOURS, NULL_STYLE, dots, evenly, line_of_means, panels, sheet
from pullback.analyses.record import Outcome, Rows, column, distinct, finding
from pullback.analyses.sizes import Size
from pullback.geometry import TangentBasis
from pullback.geometry.between import PathKind, path_between
from pullback.geometry.lengths import PathLengths, path_lengths
from pullback.geometry.nulls import matched_distances
from pullback.geometry.shooting import shooting_towards
from pullback.geometry.shots import BasesAt, together
from pullback.models import NetworkFeatureMap
from pullback.types import FeatureMap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Four ways between two latents"
CAPTION = (
    "Curvedness (distance of the tangent spaces at the ends of a segment) along each path, its sum, the semantic path "
    "length, and the same for each unit of length in h, since a path that h hardly notices is short by any measure; "
    "then its length in h and in x. Shooting does not arrive: the miss is what is left at its end, as a share of the "
    "way. Dashed: the distance of spans drawn at random out of the directions of a pair's paths. Pictures: the latents "
    "of each path, denoised."
)
PAPER = (
    "The papers compare ways between two latents by their curvedness: lerp is longer than slerp, and slerp longer "
    "than shooting."
)
KINDS: tuple[PathKind, ...] = get_args(PathKind)
MOST_PAIRS = 16
"""Pairs that are made together: what a kill loses. Shots of one pair alone would leave a GPU idle."""
MOST_ROWS = 400
"""Directions that a pair's null is drawn from: those of every n-th inner point of its paths, so that they fit into
memory. Ends are of all four paths."""


class Path(NamedTuple):
    """Latents `(n + 1, *x_shape)` of a path, their tangent bases, and its lengths."""

    points: Tensor
    bases: list[TangentBasis]
    lengths: PathLengths


def num_bases(size: Size) -> int:
    """A basis at each point of four paths."""
    return size.num_pairs * _num_points(size)


def run(context: Context) -> Outcome:
    """Paths of all pairs at the largest t; those of some pairs at a time."""
    size, t_fraction = context.size, max(context.size.t_fractions)
    f = context.feature_map(t_fraction)
    latents = context.latents(t_fraction, 2 * size.num_pairs).unflatten(0, (size.num_pairs, 2))
    context.plan(f, latents.flatten(0, 1))  # how many latents go together is known from here on
    parts = context.parts.each(
        size.num_pairs,
        partial(_parts, context, f, latents),
        together=min(context.batch, MOST_PAIRS),
        found=lambda num: context.count(num * _num_points(size)),
    )
    rows = [row for part in parts for row in part.rows]
    total = {kind: np.array([column(rows, "curvedness", pair=i, path=kind).sum() for i in range(size.num_pairs)])
             for kind in KINDS}  # fmt: skip
    findings = [
        finding("lerp longer than slerp", total["lerp"] - total["slerp"]),
        finding("slerp longer than shooting", total["slerp"] - total["shooting"]),
    ]
    miss = float(column(rows, "miss", path="shooting").mean())
    note = (
        f"{size.num_segments} segments at t/T = {t_fraction:g}, rank {size.rank}. Shooting ends {miss:.2f} of the way "
        f"short of its target on average. Rows of the pictures: {', '.join(KINDS)}."
    )
    pictures = {name: picture for part in parts for name, picture in part.pictures.items()}
    return Outcome(rows, findings, pictures, size.num_pairs, note)


def _num_points(size: Size) -> int:
    return len(KINDS) * (size.num_segments + 1)


def _parts(context: Context, f: NetworkFeatureMap, latents: Tensor, some: Sequence[int]) -> list[Part]:
    """The four paths of some pairs, out of all ends `(P, 2, *x_shape)`."""
    size = context.size
    num_inner = size.num_segments - 1
    every = min(math.ceil(len(KINDS) * num_inner * size.rank / MOST_ROWS), num_inner)
    rows, points, spans = ({pair: [] for pair in some} for _ in range(3))
    for kind in KINDS:
        made = paths(
            f, latents[list(some)], kind=kind, num_segments=size.num_segments, batch=context.batch,
            bases_at=lambda x: context.bases(f, x, is_shared=False),
        )  # fmt: skip
        for pair, found in zip(some, made, strict=True):
            rows[pair] += _rows(pair, kind, found.lengths)
            points[pair].append(found.points)
            spans[pair] += [basis.u.to("cpu", copy=True) for basis in found.bases[1:-1][every // 2 :: every]]
    parts = []
    for pair in some:
        drawn_from = torch.stack(spans[pair]).to(f.device)
        null = float(matched_distances(drawn_from, generator=context.generator(pair)).mean())
        pictures = {f"pair-{pair}": _pictures(context, points[pair], f.t)} if pair < size.num_people else {}
        parts.append(Part([{**row, "matched_null": null} for row in rows[pair]], pictures))
    return parts


def paths(
    f: FeatureMap, pairs: Tensor, *, kind: PathKind, num_segments: int, bases_at: BasesAt, batch: int
) -> Iterator[Path]:
    """One path for each pair, made together with others, and given away as soon as it is there.

    Args:
        f: The feature map.
        pairs: Both ends, `(P, 2, *x_shape)`.
        kind: Of the path.
        num_segments: Of each.
        bases_at: Makes bases.
        batch: Latents whose bases are computed together. Those of a path and a batch are held at a time; of ``batch``
            shots, all points on the CPU, since shots are made in step.
    """
    made = partial(_shots, f) if kind == "shooting" else partial(_lines, f, kind)
    for (points, bases), (_, b) in zip(made(pairs, num_segments, bases_at, batch), pairs, strict=True):
        yield Path(points, bases, path_lengths(f, points, bases, target=b))


def _shots(
    f: FeatureMap, pairs: Tensor, num_segments: int, bases_at: BasesAt, batch: int
) -> Iterator[tuple[Tensor, list[TangentBasis]]]:
    for group in pairs.split(batch):
        walks = [shooting_towards(f, a, b, num_steps=num_segments) for a, b in group]
        for shot in together(walks, lambda x: [aside(basis) for basis in bases_at(x)]):
            yield shot.x, list(shot.bases)


def _lines(
    f: FeatureMap, kind: PathKind, pairs: Tensor, num_segments: int, bases_at: BasesAt, batch: int
) -> Iterator[tuple[Tensor, list[TangentBasis]]]:
    """Whole batches of points are taken from one path after the other; a path is complete within one or between two."""
    points = [path_between(f, a, b, kind=kind, num_segments=num_segments) for a, b in pairs]
    num, bases, done = num_segments + 1, [], 0
    for part in torch.cat(points).split(batch):
        bases += bases_at(part)
        while len(bases) >= num:
            yield points[done], bases[:num]
            bases, done = bases[num:], done + 1


def _rows(pair: int, kind: str, lengths: PathLengths) -> list[dict[str, str | float]]:
    parts = zip(lengths.curvedness.tolist(), lengths.h.tolist(), lengths.x.tolist(), strict=True)
    return [
        {"pair": pair, "path": kind, "segment": i, "curvedness": c, "h": h, "x": x, "miss": lengths.miss}
        for i, (c, h, x) in enumerate(parts)
    ]


def _pictures(context: Context, paths: list[Tensor], t: float | None) -> bytes:
    """A row a path, some points of it."""
    chosen = evenly(len(paths[0]))
    x0 = context.pictures(torch.cat([points[chosen] for points in paths]), t or 0)
    frames = context.model.to_image(x0)
    return sheet([list(row) for row in frames.reshape(len(paths), len(chosen), *frames.shape[1:])])


def draw(rows: Rows) -> Figure:
    """Curvedness along the paths; semantic path length, whole and per unit of h; lengths in h and x; the miss."""
    figure, axes = panels(6, num_rows=2)
    segments = [float(i) for i in distinct(rows, "segment")]
    for kind, colour in zip(KINDS, COLOURS, strict=False):
        line_of_means(axes[0], rows, x="segment", y="curvedness", at=segments, label=kind, colour=colour, path=kind)
    axes[0].axhline(float(column(rows, "matched_null").mean()), label="matched", **NULL_STYLE)
    axes[0].set(xlabel="segment", ylabel="curvedness, rad", ylim=(0, None))
    axes[0].legend(frameon=False, fontsize=7, loc="center left", ncols=2)
    pairs = distinct(rows, "pair")

    def sums(name: str, kind: str) -> np.ndarray:
        return np.array([column(rows, name, pair=pair, path=kind).sum() for pair in pairs])

    dots(axes[1], {kind: sums("curvedness", kind) for kind in KINDS})
    axes[1].set(ylabel="semantic path length, rad", ylim=(0, None))
    dots(axes[2], {kind: sums("curvedness", kind) / np.maximum(sums("h", kind), 1e-12) for kind in KINDS})
    axes[2].set(ylabel="semantic length / length in h", ylim=(0, None))
    for axis, name in zip(axes[3:5], ("h", "x"), strict=True):
        dots(axis, {kind: sums(name, kind) for kind in KINDS})
        axis.set(ylabel=f"length in {name}", ylim=(0, None))
    dots(axes[5], {kind: column(rows, "miss", path=kind, segment=0) for kind in KINDS})
    axes[5].set(ylabel="miss / |b - a|", ylim=(-0.05, None))
    return figure
