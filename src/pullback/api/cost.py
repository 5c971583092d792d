"""What a run is going to cost, from a short measurement on this machine."""

from __future__ import annotations

import math
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pullback.api.banked import plan_of_bank
from pullback.api.contest import ContestSettings
from pullback.api.expected import comparing, naming, walking
from pullback.api.finder import check_rank
from pullback.api.model import Model
from pullback.api.pictures import NUM_NOISES, Precision
from pullback.api.portrait import is_portraits
from pullback.api.settings import PageSettings, Settings
from pullback.api.work import Prices, Work, measure_prices
from pullback.edit.batches import picture_precision
from pullback.geometry import Plan, measure_plan
from pullback.geometry.autotune import timed_plan
from pullback.geometry.cost import (
    GUARD,
    best_block,
    expected_krylov_bytes,
    expected_products,
    is_cheaper_whole,
    seconds_of_algebra,
    seconds_per_product,
    timed,
)
from pullback.measure.report_data import Plain
from pullback.models.multistep import picture_steps

MIN_GAIN, LAYOUT_GAIN = 1.2, 1.05
"""Low precision is taken for pictures when so many times as fast; another layout, which loses nothing, for less."""
BYTES_PER_FRAME = 6_000
BATCH_OVERHEAD = 1.3
"""What bases of a batch take over their products alone, as measured at eight samples: those that are done leave a
narrower batch behind, whose products are dearer and whose graphs are made again."""


@dataclass(frozen=True)
class Forecast:
    """Cost of a run.

    Attributes:
        plan: How products will be computed.
        precision: How pictures will be made.
        num_products: Jacobian products, all samples together.
        num_pictures: Pictures to render, unedited ones included.
        seconds_bases: For the local bases.
        seconds_pictures: For the pictures.
        samples: Ways of all samples from noise to t.
        names: What names, effects on factors and the strips of the page take.
        compared: What the comparison with rivals takes.
        prices: Seconds of each kind of work.
        peak_bytes: Of memory for weights and activations: it grows with the chunk, and not with the rank.
        krylov_bytes: Of memory for the Krylov bases of one batch of samples, on top of that.
        file_bytes: Of what is written.
        bank_bytes: Of the finished local bases: of memory, on top of both, and of disk where a bank keeps them.
        is_of_bank: Whether the plan is the one that a bank was begun with, which the run keeps to.
    """

    plan: Plan
    precision: Precision
    num_products: int
    num_pictures: int
    seconds_bases: float
    seconds_pictures: float
    samples: Work
    names: Work
    compared: Work
    prices: Prices
    peak_bytes: int
    krylov_bytes: int
    file_bytes: int
    bank_bytes: int
    is_of_bank: bool = False

    @property
    def seconds(self) -> float:
        """Of the whole run."""
        others = self.prices.of(self.samples + self.names + self.compared)
        return self.seconds_bases + self.seconds_pictures + others

    @property
    def memory_bytes(self) -> int:
        """Of all memory together."""
        return self.peak_bytes + self.krylov_bytes + self.bank_bytes

    def record(self) -> dict[str, Plain]:
        """Returns the plan as plain values, for ``report.json``."""
        return {
            "products": self.num_products,
            "pictures": self.num_pictures,
            "seconds": round(self.seconds, 1),
            "peak_bytes": self.memory_bytes,
            "krylov_bytes": self.krylov_bytes,
            "jvp": self.plan.jvp_engine,
            "vjp": self.plan.vjp_engine,
            "chunk": self.plan.chunk,
            "precision of pictures": self.precision.name,
        }


def forecast(
    model: Model,
    settings: Settings,
    page: PageSettings,
    *,
    cond: Any = None,
    bank: str | Path | None = None,
    rivals: ContestSettings | None = None,
) -> Forecast:
    """Measures a few products and a few network calls, and multiplies.

    Args:
        model: The model.
        settings: How directions will be found.
        page: What will be shown.
        cond: Condition, as for `discover`.
        bank: Folder that keeps local bases, as for `discover`: if one was begun there, its plan is what the run will
            keep to, at what it costs here. What it holds already is counted all the same.
        rivals: How the directions will be compared with their rivals, if they will be.

    Raises:
        RankError: If the feature has fewer dimensions than the rank.
        LayerError: If there is no such layer.
        FileFormatError: If the bank's ``run.json`` is damaged.
    """
    f = model.feature_map(t_fraction=settings.t_fraction, layer=settings.layer, pool=settings.pool, cond=cond)
    check_rank(f, settings.rank)
    seeds = settings.discovery_seeds[: settings.batch]
    x = model.sample_latent(t_fraction=settings.t_fraction, seeds=seeds, num_steps=1, cond=cond)
    generator = torch.Generator().manual_seed(settings.seed)
    kept = plan_of_bank(bank)
    now = (
        timed_plan(f, x, kept, generator=generator)
        if kept
        else measure_plan(f, x, rank=settings.rank, generator=generator)
    )
    plan = kept or now
    precision, seconds_per_row, seconds_own = _fastest_precision(model, x, f.t or 0, page, cond)
    peak_bytes = _memory_so_far(model)  # before anything that grows with the rank
    num_samples = settings.num_samples + settings.num_held_out
    each, per_product, krylov_bytes = _products(
        settings, (plan, now), math.prod(f.x_shape), math.prod(f.h_shape), like=x
    )
    overhead = BATCH_OVERHEAD if settings.batch > 1 else 1.0
    num_pictures = num_samples + page.num_frames
    steps = picture_steps(settings.num_steps, model.schedule.fraction(f.t or 0))
    values = settings.rank * (math.prod(f.x_shape) + math.prod(f.h_shape))
    prices = measure_prices(
        model, x, f.t or 0, rows=seconds_own, products=per_product, num_stops=page.num_stops, cond=cond
    )
    return Forecast(
        plan=plan,
        precision=precision,
        num_products=each * num_samples,
        num_pictures=num_pictures,
        seconds_bases=each * num_samples * per_product * overhead,
        seconds_pictures=num_pictures * (steps + NUM_NOISES) * seconds_per_row,
        samples=walking(num_samples, settings, model.schedule),
        names=naming(settings, page, products_each=each, is_portraits=is_portraits(model)),
        compared=comparing(settings, rivals, model.schedule, products_each=each) if rivals else Work(),
        prices=prices,
        peak_bytes=peak_bytes,
        krylov_bytes=krylov_bytes,
        file_bytes=4 * settings.rank * math.prod(f.h_shape) + num_pictures * BYTES_PER_FRAME * 4 // 3,
        bank_bytes=4 * values * num_samples,
        is_of_bank=kept is not None,
    )


def _products(
    settings: Settings, plans: tuple[Plan, Plan], dim_x: int, dim_h: int, *, like: torch.Tensor
) -> tuple[int, float, int]:
    """Products of one sample's basis, seconds of one with the algebra around it, and bytes of the Krylov bases.

    Of the two plans the first decides the width of a block, the second tells what products take here. A small feature
    is computed whole, by reverse products.
    """
    plan, now = plans
    if is_cheaper_whole(dim_h, settings.rank):
        return dim_h, now.seconds_per_vjp or 0.0, 0
    guarded = settings.rank + GUARD
    block = best_block(plan, settings.batch, guarded)
    algebra = seconds_of_algebra(settings.batch, (dim_x, dim_h), guarded=guarded, block=block, like=like)
    num_bytes = expected_krylov_bytes(
        min(settings.batch, settings.num_samples + settings.num_held_out),
        (dim_x, dim_h),
        guarded=guarded,
        block=block,
        like=like,
    )
    return expected_products(guarded, block), seconds_per_product(now, block * settings.batch) + algebra, num_bytes


def _fastest_precision(
    model: Model, x: torch.Tensor, t: float, page: PageSettings, cond: Any
) -> tuple[Precision, float, float]:
    """The fastest of the network's own precision in both layouts and bfloat16.

    Also its seconds for one row of a batch, and those of the first, in which comparisons run.
    """
    rows = x[:1].expand(min(page.batch, 32), *x.shape[1:])
    own, layout, low = Precision(), Precision(None, True), Precision(torch.bfloat16, True)
    times = {each: _seconds(model, rows, t, each, cond) for each in (own, layout, low)}
    best = layout if times[layout] * LAYOUT_GAIN < times[own] else own
    best = low if times[low] * MIN_GAIN < times[best] else best
    return best, times[best] / len(rows), times[own] / len(rows)


@torch.no_grad()
def _seconds(model: Model, x: torch.Tensor, t: float, precision: Precision, cond: Any) -> float:
    with picture_precision(model, autocast=precision.autocast, channels_last=precision.channels_last):
        return timed(lambda: model.predict(x, t, cond), x.device)


def _memory_so_far(model: Model) -> int:
    if model.device.type == "cuda":
        return torch.cuda.max_memory_allocated(model.device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
