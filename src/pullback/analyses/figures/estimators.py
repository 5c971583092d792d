"""Ours beside its rivals: as many directions, as much work, the same effect; ceiling and controls with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pullback.analyses.context import Context
from pullback.analyses.moves import edit_time
from pullback.analyses.parts import Part
from pullback.analyses.plotting import COLOURS, INK, NULL_STYLE, SOFT, panels
from pullback.analyses.reading import reader_of, told
from pullback.analyses.record import Finding, Outcome, Rows, column, interval, redrawn
from pullback.analyses.shared import discovered
from pullback.analyses.sizes import Size
from pullback.api.contest import NETWORK_OVER_ENCODER, RIVALS, WHOLE, Contest, ContestSettings
from pullback.api.discovery import Discovery
from pullback.errors import OptionError
from pullback.measure.contest import Result
from pullback.measure.score import Array, Indices, purity, transfer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Ours, its rivals, controls and the ceiling"
CAPTION = (
    "Every method gives at most as many directions, moved so that their mean effect is one standard deviation, on "
    "samples that no method has seen. Ours are the global directions of the run. How many samples a rival finds its "
    "own from is set so that it works about as much as ours did; the note says how much it did. "
    "D@K: distinct factors found, beside the 99 % of its null (ticks). "
    "Purity: the largest share of an effect that is one factor. Transfer: how alike the effects are over samples. "
    "Outside, how local an edit is: share of the change of the picture outside the places where the factor shows that "
    "the direction changes most, beside that of a change that is alike everywhere (ticks). Rotated is the matched "
    "control of ours: its own span, drawn at random. "
    "Random network: ours with random weights. Supervised: the ceiling, which is told the factors. "
    "Work: what finding the directions took, as counted, in passes of the encoder. Intervals are over samples."
)
PAPER = (
    "The papers set their edits beside those of other methods mostly by pictures. Counted work, matched "
    "controls and a ceiling are ours."
)
METHODS = ("ours", "rotated", *RIVALS, "pca of h", "random h", "random x", "random network", "supervised")
TESTED = ("ours", "rotated")
"""What the claims are about."""
NUM_TUNING = 4
NUM_STEPS = 4


def num_bases(size: Size) -> int:
    """Those of the global directions, of the same on random weights, pooled, and of whole-network Jacobians.

    Of these at most as many as of ours, and one more that tells what it costs.
    """
    num_whole = len([name for name in methods_of(size, knows_factors=True) if name in WHOLE])
    return 3 * size.num_samples + size.num_held_out + num_whole * (1 + size.num_samples)


def methods_of(size: Size, *, knows_factors: bool) -> tuple[str, ...]:
    """Those of `METHODS` that can be made: the ceiling needs factors, and whole-network rivals two samples.

    A product of theirs counts as four, so that it takes about eight samples of ours to pay for two of theirs.

    Example:
        >>> from pullback.analyses.sizes import SIZES
        >>> ["x0" in methods_of(SIZES[name], knows_factors=True) for name in ("quick", "default")]
        [False, True]
    """
    has_two = size.num_samples >= 2 * NETWORK_OVER_ENCODER
    return tuple(name for name in METHODS if (name != "supervised" or knows_factors) and (name not in WHOLE or has_two))


def run(context: Context) -> Outcome:
    """One comparison by `pullback.api.contest`; methods that are finished are kept."""
    found, reader = discovered(context), reader_of(context)
    settings = ContestSettings(
        methods=methods_of(context.size, knows_factors=context.judge is not None),
        num_held_out=context.size.num_read,
        num_tuning=min(NUM_TUNING, max(2, context.size.num_read // 6)),
        num_steps=min(NUM_STEPS, context.size.num_steps),
        num_gate=4 * context.size.num_read,
        num_known=max(64, 20 * context.size.num_read),
        num_pca=num_pca(found, num_steps=context.size.num_steps),
    )
    parts = context.parts.each(
        len(settings.methods),
        _methods(context, settings, cache(lambda: Contest(context.model, found, settings, reader)), rank=len(found)),
        together=1,
        found=lambda num: context.progress("comparison", num, len(settings.methods)),
    )
    rows = [row for part in parts for row in part.rows]
    own, turned = (parts[settings.methods.index(name)].arrays["odd"] for name in TESTED)
    note = (
        f"{len(found)} directions at t/T = {edit_time(context.size):g} of {len(found.bases)} samples; n is the number "
        f"of samples that are edited and read. {work_text(rows)} {told(context)}"
    )
    return Outcome(rows, [semantic(own, turned), carries_over(own, turned)], num=context.size.num_read, note=note)


def _methods(
    context: Context, settings: ContestSettings, arena: Callable[[], Contest], *, rank: int
) -> Callable[[Sequence[int]], list[Part]]:
    """How the part of a method is made; what all share is made with the first that is not there."""

    def part(i: int) -> Part:
        result = arena().run(settings.methods[i])
        context.progress("comparison", i + 1, len(settings.methods))
        arrays = {"odd": result.effects.odd} if result.method in TESTED else {}
        return Part([row(result, rank=rank)], arrays=arrays)

    return lambda some: [part(i) for i in some]


def work_text(rows: Rows) -> str:
    """What every method spent relative to ours, out of the rows."""
    own = float(column(rows, "work", method="ours")[0])
    spent = ", ".join(f"{row['method']} {float(row['work']) / own:.2f}" for row in rows if row["method"] != "ours")
    return (
        f"Work counts a Jacobian product and a pass of the encoder as 1, those of the whole network as "
        f"{NETWORK_OVER_ENCODER}, walks to the samples with them: ours {own:,.0f}; relative to it, {spent}."
    )


def num_pca(found: Discovery, *, num_steps: int) -> int:
    """Samples whose h a PCA may see for the work of ours: a product or an encoder pass is 1, walks count too."""
    products = sum(basis.products.total for basis in found.bases)
    walk = NETWORK_OVER_ENCODER * round(num_steps * (1 - found.settings.t_fraction))
    return max(found.settings.rank + 2, (products + len(found.bases) * walk) // (1 + walk))


def semantic(own: Array, turned: Array) -> Finding:
    """Mean purity of ours less that of their rotation; directions of both and samples drawn again for the interval.

    Args:
        own: Odd effects of ours, `(K, S, F)`.
        turned: Of the rotation, on the same samples.

    Raises:
        OptionError: If there is only one direction or sample.
    """
    return _gain("shared directions are semantic", own, turned, purity)


def carries_over(own: Array, turned: Array) -> Finding:
    """Mean transfer of ours less that of their rotation; directions of both and samples drawn again for the interval.

    Args:
        own: Odd effects of ours, `(K, S, F)`.
        turned: Of the rotation, on the same samples.

    Raises:
        OptionError: If there is only one direction or sample.
    """
    return _gain("shared directions carry over", own, turned, transfer)


def _gain(claim: str, own: Array, turned: Array, figure: Callable[[Array, Indices], Array]) -> Finding:
    nums = len(own), len(turned), own.shape[1]
    if min(nums) < 2:
        raise OptionError(
            wanted="two or more directions and samples", got=f"{nums[0]} and {nums[2]}", hint="raise rank or samples"
        )

    def gain(first: Indices, second: Indices, samples: Indices) -> float:
        return float(figure(own[first], samples).mean() - figure(turned[second], samples).mean())

    effect = gain(*(np.arange(num) for num in nums))
    return Finding(claim, effect, *redrawn(gain, *nums), 0.0, min(nums))


def row(result: Result, *, rank: int) -> dict[str, str | float]:
    """One row of the CSV; K is the number of our directions."""
    figures = result.row((rank,))
    names = {"D@K": f"D@{rank}"} | {name: name for name in ("purity", "transfer", "locality", "outside")}
    found: dict[str, str | float] = {"method": result.method, "directions": figures["directions"]}
    for name, source in names.items():
        found |= {f"{name}{end}": figures[f"{source}{end}"] for end in ("", " low", " high")}
    found |= {"D@K null": figures[f"D@{rank} null 99 %"], "outside null": figures["outside of even"]}
    alone = ("success", "pass rate", "symmetry", "effect", "length")
    found |= {name: figures[name] for name in alone}
    found |= passed_ends(result.effects.passed)
    found |= {name.replace("_", " "): value for name, value in asdict(result.cost).items()}
    return found | {"work": result.cost.work(network_over_encoder=NETWORK_OVER_ENCODER)}


def passed_ends(passed: NDArray[np.bool_]) -> dict[str, float]:
    """The 95 % interval of the pass rate over samples, out of `(K, S, 2)` pictures.

    Example:
        >>> passed_ends(np.ones((3, 8, 2), bool))
        {'pass rate low': 1.0, 'pass rate high': 1.0}
    """
    _, low, high = interval(passed.mean(axis=(0, 2)))
    return {"pass rate low": low, "pass rate high": high}


def draw(rows: Rows) -> Figure:
    """D@K, purity, transfer, share outside and pass rate with intervals, and work; a row each method."""
    names = ("D@K", "purity", "transfer", "outside", "pass rate", "work")
    figure, axes = panels(len(names), width=2.6, height=0.6 + 0.26 * len(rows))
    methods = [str(each["method"]) for each in rows]
    colours = [COLOURS[0] if name == "ours" else SOFT if name == "rotated" else INK for name in methods]
    for axis, name in zip(axes, names, strict=True):
        for place, (each, colour) in enumerate(zip(rows, colours, strict=True)):
            value = float(each[name])
            low, high = (float(each.get(f"{name} {end}", value)) for end in ("low", "high"))
            # a percentile interval may miss its own value
            span = [[max(value - low, 0.0)], [max(high - value, 0.0)]]
            axis.errorbar([value], [place], xerr=span, fmt="o", color=colour, markersize=4)
            if f"{name} null" in each:
                axis.plot([float(each[f"{name} null"])] * 2, [place - 0.35, place + 0.35], color=SOFT, linewidth=1.2)
        axis.axvline(float(column(rows, name, method="rotated")[0]), **NULL_STYLE)
        axis.set_yticks(range(len(rows)), methods if axis is axes[0] else [""] * len(rows), fontsize=7)
        axis.set(xlabel=name, ylim=(len(rows) - 0.5, -0.5))
    return figure
