"""Edits of a region: do they stay there? Ours against LOCO-Edit's, at the same change inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pullback.analyses.context import Context
from pullback.analyses.moves import frames_of, middle_time, quiet
from pullback.analyses.parts import Part
from pullback.analyses.plotting import COLOURS, NULL_STYLE, dots, panels, sheet
from pullback.analyses.reading import gate_of, reader_of, told
from pullback.analyses.record import Outcome, Rows, Value, column, difference_text, distinct, interval
from pullback.analyses.sizes import Size
from pullback.directions.masked_maps import MaskedOutput
from pullback.directions.masks import Mask, Rectangle, mask_at, outside_share
from pullback.directions.regional import NUM_OUTSIDE, cleared, regional_bases, restricted, seen_vectors
from pullback.edit import calibrate, masked_vectors
from pullback.geometry import Plan
from pullback.models.output_map import OutputMap
from pullback.portraits.judge import Judge
from pullback.portraits.regions import REGIONS, region_mask
from pullback.types import FeatureMap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Edits of a region"
CAPTION = (
    "Regions of portraits are where a standard deviation of one of their factors shows in the rendered picture. "
    "The first direction of each region, all cleared of what the rest of the predicted picture sees most: ours from "
    "dh/dx inside the mask, LOCO-Edit's from the prediction inside the mask; beside them a random direction of x "
    "inside the mask (matched). All are moved until the prediction has changed alike inside, or as far as any may be."
    " Share of the picture's change that falls outside, and success: a factor of the region moves by at least .25 of "
    "a standard deviation and every other by less than half of that, and both pictures pass the gate. Pictures: a row"
    " a region; unedited, ours -, ours +, LOCO-Edit's -, LOCO-Edit's +."
)
PAPER = (
    "no counterpart that is known to us. Edits of a region follow LOCO-Edit (arXiv 2409.02374), which is the rival "
    "here."
)
RECTANGLES: Mapping[str, Rectangle] = {
    "eyes": Rectangle(0.36, 0.2, 0.54, 0.8),
    "mouth": Rectangle(0.6, 0.3, 0.8, 0.7),
    "hair": Rectangle(0.0, 0.15, 0.3, 0.85),
    "background": Rectangle(0.0, 0.0, 0.6, 0.15),
}
"""For models whose regions are not known, and where a region cannot be seen."""
METHODS = ("ours", "LOCO-Edit", "random in mask")
LABELS = {"outside": "share outside", "success": "success"}
INSIDE = 0.2
"""Root mean square, over the mask, of the change of the predicted clean sample in [-1, 1]: the most, of .1 to .35, that
both methods reached in every region of two samples of another seed than the published one; tried with masks that a
quarter of a deviation shows."""
TOL = 5e-2
"""Of the bases: a degree does not matter to an edit, and the spectra of predictions outside a mask fall slowly."""
MOST_SAMPLES = 12
"""Each region of each takes three bases, two of them of the whole network."""
FARTHEST = 0.5
"""Longest move, as a share of the length of the latent."""


def num_bases(size: Size) -> int:
    """For each sample and region one of ours, one of LOCO-Edit's, one of the outside."""
    return 3 * num_samples(size) * len(REGIONS)


def num_samples(size: Size) -> int:
    """As many as there are pairs, up to `MOST_SAMPLES`."""
    return min(size.num_pairs, MOST_SAMPLES)


def run(context: Context) -> Outcome:
    """Both methods and the null on every region of every sample."""
    parts = context.parts.each(
        num_samples(context.size),
        _samples(context),
        together=1,
        found=lambda num: context.count(3 * len(REGIONS) * num),
    )
    rows = [row for part in parts for row in part.rows]
    alike = ", ".join(f"{column(rows, 'reached', method=name).mean():.0%} of {name}" for name in METHODS)
    note = (
        f"t/T = {middle_time(context.size):g}. {_paired(rows)} Moved as far as was meant: {alike}; no move is longer "
        f"than {FARTHEST:g} of the latent. {told(context)}"
    )
    pictures = {name: picture for part in parts for name, picture in part.pictures.items()}
    return Outcome(rows, (), pictures, len(parts), note)


def _samples(context: Context) -> Callable[[Sequence[int]], list[Part]]:
    """How the part of a sample is made, with what all samples share."""
    reader, t_fraction = reader_of(context), middle_time(context.size)
    f = context.feature_map(t_fraction)
    x0_map = OutputMap(context.model, t=context.model.time(t_fraction=t_fraction), kind="x0")
    x = context.latents(t_fraction, num_samples(context.size))
    still = context.pictures(x, x0_map.t)
    masks, gate = regions_of(context.judge, still), gate_of(context, reader)

    def part(i: int) -> Part:
        regions, places = list(masks[i]), list(masks[i].values())
        v = three_ways(f, x0_map, x[i], places, generator=context.generator(i), plan=context.plan(f, x))
        moved, reached = zip(
            *(both_ways(context, x0_map, x[i], *each) for each in zip(v, places, strict=True)), strict=True
        )
        moved = torch.stack(moved)  # (R, 3, 2, *x_shape)
        flat = context.pictures(moved.flatten(0, 2), x0_map.t)
        x0, seen = flat.reshape(moved.shape), reader.factors(flat).reshape(*moved.shape[:3], -1)
        passed, frames = (reader.residual(flat) <= gate).reshape(moved.shape[:3]), frames_of(context, x0)
        effect, change = (seen[:, :, 1] - seen[:, :, 0]) / 2, (x0[:, :, 1] - x0[:, :, 0]) / 2  # (R, 3, ...)
        rows = []
        for r, (region, mask) in enumerate(zip(regions, places, strict=True)):
            outside = outside_share(change[r], mask)
            own = [reader.names.index(name) for name in REGIONS[region]] if context.judge is not None else None
            for k, method in enumerate(METHODS):
                good = is_success(effect[r, k], own, bool(passed[r, k].all()), float(outside[k]))
                row = {"sample": i, "region": region, "method": method, "outside": float(outside[k])}
                row |= {"success": float(good), "passed": float(passed[r, k].mean())}
                rows.append(row | {"reached": float(reached[r][k])})
        context.count(3 * len(regions))
        if i >= context.size.num_people:
            return Part(rows)
        unedited = frames_of(context, still[i : i + 1])[0]
        return Part(rows, {f"sample-{i}": sheet([[unedited, *each[0], *each[1]] for each in frames])})

    return lambda some: [part(i) for i in some]


def regions_of(judge: Judge | None, x0: Tensor) -> list[dict[str, Mask]]:
    """The masks of each clean sample: where the renderer changes with the region's factors, else rectangles."""
    if judge is None:
        return [dict(RECTANGLES) for _ in x0]
    z = judge.factors(x0)
    seen = {region: torch.from_numpy(region_mask(z, region, world=judge.world)) for region in REGIONS}
    return [
        {region: masks[i] if masks[i].any() else RECTANGLES[region] for region, masks in seen.items()}
        for i in range(len(x0))
    ]


def three_ways(
    f: FeatureMap,
    x0_map: FeatureMap,
    x: Tensor,
    masks: Sequence[Mask],
    *,
    generator: torch.Generator,
    plan: Plan | None = None,
) -> Tensor:
    """Ours, LOCO-Edit's and a random direction inside each of several masks, `(R, 3, *x_shape)`.

    Args:
        f: The feature map.
        x0_map: The x0-prediction.
        x: One latent, `x_shape`; all its regions are differentiated together.
        masks: In x and x0.
        generator: For the random ones and for starting vectors.
        plan: How to compute.
    """
    rows = x.expand(len(masks), *x.shape)
    how: Any = {"tol": TOL, "plan": plan, "generator": generator, "verify": False}  # what a v is worth, its edit shows
    with quiet():
        outside = regional_bases(x0_map, rows, masks, where="x0", is_outside=True, rank=NUM_OUTSIDE, **how)
        ours = regional_bases(f, rows, masks, where="x", rank=1, **how)
        loco = regional_bases(x0_map, rows, masks, where="x0", rank=1, **how)
    noise = torch.randn(len(masks), *x.shape, generator=generator).to(ours[0].v)
    found = []
    for i, mask in enumerate(masks):
        w, inside = seen_vectors(outside[i]), torch.cat([ours[i].v, masked_vectors(noise[i : i + 1], mask)])
        found.append(torch.cat([cleared(inside, restricted(w, mask)), cleared(loco[i].v, w)])[[0, 2, 1]])
    return torch.stack(found)


def both_ways(
    context: Context, x0_map: OutputMap, x: Tensor, v: Tensor, mask: Mask
) -> tuple[Tensor, NDArray[np.bool_]]:
    """Latents moved along v `(3, *x_shape)`, minus first, `(3, 2, *x_shape)`, to one change of the prediction inside.

    And which of the three have got that far, `(3,)`: no move is longer than `FARTHEST`.
    """
    goal = INSIDE * float(mask_at(mask, context.model.x_shape).sum()) ** 0.5
    inside, rows, farthest = MaskedOutput(x0_map, mask, where="x0"), x.expand_as(v), FARTHEST * float(x.norm())
    with quiet():
        found = calibrate(inside, rows, v.to(x), distance=goal, share=1.0, tolerance=0.03, max_calls=10)
    g = found.unit.clamp_max(farthest).to(x).reshape(-1, *[1] * x.ndim)
    moved = torch.stack([rows - g * v.to(x), rows + g * v.to(x)], dim=1)
    return moved, (found.is_reached & (found.unit <= farthest)).cpu().numpy()


def is_success(effect: NDArray[np.float64], own: list[int] | None, passed: bool, outside: float) -> bool:
    """Whether an edit moved its region and nothing else.

    Args:
        effect: Odd effect on what is read, `(F,)`.
        own: Factors of the region; None where none are known: then less than half of the change may lie outside.
        passed: Whether both pictures passed the gate.
        outside: Share of the change outside.

    Example:
        >>> is_success(np.array([0.5, 0.2]), [0], True, 0.3), is_success(np.array([0.5, 0.3]), [0], True, 0.3)
        (True, False)
    """
    if own is None:
        return passed and outside < 0.5
    size = np.abs(effect)
    main = float(size[own].max())
    others = np.delete(size, own)
    return passed and main >= 0.25 and bool((others < main / 2).all())


def _paired(rows: Rows) -> str:
    """Differences of the two methods over samples, regions averaged, in words."""
    parts = [difference_text(name, gained(rows, name)) for name in ("outside", "success")]
    return f"Ours less LOCO-Edit's, paired over samples: {', '.join(parts)}."


def gained(rows: Rows, name: str, **where: Value) -> NDArray[np.float64]:
    """Ours less LOCO-Edit's for each sample, mean over the regions that are asked for."""
    own, loco = (
        np.array([column(rows, name, sample=i, method=m, **where).mean() for i in distinct(rows, "sample")])
        for m in METHODS[:2]
    )
    return own - loco


def draw(rows: Rows) -> Figure:
    """Share outside and success by region and method; below, paired differences of ours and LOCO-Edit's."""
    regions = [str(each) for each in distinct(rows, "region")]
    figure, axes = panels(4, width=4.6, num_rows=2)
    for axis, (name, label) in zip(axes, LABELS.items(), strict=False):
        for shift, (method, colour) in enumerate(zip(METHODS, COLOURS, strict=False)):
            values = [column(rows, name, region=region, method=method) for region in regions]
            means = np.array([interval(each) if len(each) > 1 else [each.mean()] * 3 for each in values])
            places = np.arange(len(regions)) + 0.22 * (shift - 1)
            spans = np.maximum([means[:, 0] - means[:, 1], means[:, 2] - means[:, 0]], 0)
            axis.errorbar(places, means[:, 0], spans, fmt="o", color=colour, markersize=4, label=method)
        axis.set_xticks(range(len(regions)), regions, fontsize=8)
        axis.set(ylabel=label, ylim=(-0.03, 1.03))
    axes[0].legend(frameon=False, fontsize=7)
    for axis, (name, label) in zip(axes[2:], LABELS.items(), strict=True):
        each = {region: gained(rows, name, region=region) for region in regions}
        dots(axis, {**each, "all": gained(rows, name)})
        axis.axhline(0, **NULL_STYLE)
        axis.set(ylabel=f"{label}, ours less LOCO-Edit's")
    return figure
