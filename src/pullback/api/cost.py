"""What a run is going to cost, from a short measurement on this machine."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pullback.api.contest import ContestSettings
from pullback.api.expected import comparing, naming, walking
from pullback.api.finder import check_rank
from pullback.api.how import how_to_compute
from pullback.api.model import Model
from pullback.api.pictures import NUM_NOISES, Precision
from pullback.api.portrait import is_portraits
from pullback.api.settings import PageSettings, Settings
from pullback.api.work import Prices, Work, measure_prices
from pullback.edit.batches import picture_precision
from pullback.geometry import Plan
from pullback.geometry.batching import most_on
from pullback.geometry.cost import (
    GUARD,
    POOLED_SHARE,
    best_block,
    expected_krylov_bytes,
    expected_products,
    is_cheaper_whole,
    more_at,
    seconds_of_algebra,
    seconds_per_product,
    timed,
)
from pullback.measure.report_data import Plain
from pullback.models.multistep import picture_steps

MIN_GAIN, LAYOUT_GAIN = 1.2, 1.05
"""Low precision is taken for pictures when so many times as fast; another layout, which loses nothing, for less."""
HOPELESS = 2.0
"""Times as slow for one row at which low precision is not tried on a batch, where it would take half of the plan."""
BYTES_PER_FRAME = 6_000
BATCH_OVERHEAD = 1.1
"""What bases of a batch take over their products alone: those that are done leave a narrower batch behind, whose
products are dearer and whose graphs are made again. Of eight samples that was 1.03 to 1.15 (`python -m benchmarks run
--only planner`)."""


@dataclass(frozen=True)
class Forecast:
    """Cost of a run.

    Attributes:
        plan: How products will be computed.
        batch: Samples whose bases will be computed together.
        block: Directions of a sample in a step of Lanczos; 0 where all of J is computed.
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
    batch: int
    block: int
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
            "batch": self.batch,
            "block": self.block,
            "precision of products": self.plan.dtype,
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
    seeds = settings.discovery_seeds[: settings.batch or most_on(model.device)]
    x = model.sample_latent(t_fraction=settings.t_fraction, seeds=seeds, num_steps=1, cond=cond)
    how = how_to_compute(f, x, rank=settings.rank, bank=bank, most=settings.batch)
    plan, now, batch, x = how.plan, how.now, how.batch, x[: how.batch]
    precision, seconds_per_row, seconds_own = _fastest_precision(model, x, f.t or 0, page, cond)
    peak_bytes = _memory_so_far(model)  # before anything that grows with the rank
    num_samples = settings.num_samples + settings.num_held_out
    dims = math.prod(f.x_shape), math.prod(f.h_shape)
    cost = basis_cost(
        (plan, now),
        dims,
        rank=settings.rank,
        num_samples=min(batch, num_samples),
        t_fractions=(settings.t_fraction,),
        like=x,
        is_pooled=f.pool == "sum",
    )
    num_pictures = num_samples + page.num_frames
    steps = picture_steps(settings.num_steps, model.schedule.fraction(f.t or 0))
    values = settings.rank * sum(dims)
    prices = measure_prices(
        model, x, f.t or 0, rows=seconds_own, products=cost.seconds, num_stops=page.num_stops, cond=cond
    )
    return Forecast(
        plan=plan,
        batch=batch,
        block=cost.block,
        precision=precision,
        num_products=cost.num_products * num_samples,
        num_pictures=num_pictures,
        seconds_bases=cost.seconds_of(cost.num_products * num_samples, together=batch),
        seconds_pictures=num_pictures * (steps + NUM_NOISES) * seconds_per_row,
        samples=walking(num_samples, settings, model.schedule),
        names=naming(settings, page, products_each=cost.num_products, is_portraits=is_portraits(model)),
        compared=comparing(settings, rivals, model.schedule, products_each=cost.num_products) if rivals else Work(),
        prices=prices,
        peak_bytes=peak_bytes,
        krylov_bytes=cost.krylov_bytes,
        file_bytes=4 * settings.rank * math.prod(f.h_shape) + num_pictures * BYTES_PER_FRAME * 4 // 3,
        bank_bytes=4 * values * num_samples,
        is_of_bank=how.is_of_bank,
    )


@dataclass(frozen=True)
class BasisCost:
    """Cost of one sample's basis.

    Attributes:
        num_products: Of it.
        seconds: Of a product, with its share of the algebra.
        krylov_bytes: Of the Krylov bases of a whole batch.
        block: Directions a step; 0 where all of J is computed.
    """

    num_products: int
    seconds: float
    krylov_bytes: int
    block: int

    def seconds_of(self, num_products: int, *, together: int) -> float:
        """Of so many products, of samples that are computed together; all of J needs no more than its products."""
        return num_products * self.seconds * (BATCH_OVERHEAD if together > 1 and self.block else 1.0)


def basis_cost(
    plans: tuple[Plan, Plan],
    dims: tuple[int, int],
    *,
    rank: int,
    num_samples: int,
    t_fractions: Sequence[float],
    like: torch.Tensor,
    is_pooled: bool = False,
) -> BasisCost:
    """What a basis takes in a batch of samples; a small feature is computed whole, by reverse products.

    Args:
        plans: The one that decides the width of a block, and the one that tells what products take here.
        dims: Dimensions of x and h.
        rank: Of the basis.
        num_samples: Of a batch.
        t_fractions: Shares of T at which bases are made, each as often.
        like: Gives dtype and device.
        is_pooled: Whether h is summed over all of its places.
    """
    plan, now = plans
    if is_cheaper_whole(dims[1], rank):
        return BasisCost(dims[1], now.seconds_per_vjp or seconds_per_product(now, now.chunk), 0, 0)
    guarded = rank + GUARD
    block = best_block(plan, num_samples, guarded)
    algebra = seconds_of_algebra(num_samples, dims, guarded=guarded, block=block, like=like)
    num_bytes = expected_krylov_bytes(num_samples, dims, guarded=guarded, block=block, like=like)
    seconds = seconds_per_product(now, block * num_samples) + algebra
    more = sum(map(more_at, t_fractions)) / len(t_fractions) * (POOLED_SHARE if is_pooled else 1.0)
    return BasisCost(round(more * expected_products(guarded, block)), seconds, num_bytes, block)


def _fastest_precision(
    model: Model, x: torch.Tensor, t: float, page: PageSettings, cond: Any
) -> tuple[Precision, float, float]:
    """The fastest of the network's own precision in both layouts and bfloat16.

    Also its seconds for one row of a batch, and those of the first, in which comparisons run.
    """
    rows = x[:1].expand(min(page.batch, 32), *x.shape[1:])
    own, layout, low = Precision(), Precision(None, True), Precision(torch.bfloat16, True)
    times = {each: _seconds(model, rows, t, each, cond) for each in (own, layout)}
    best = layout if times[layout] * LAYOUT_GAIN < times[own] else own
    alone = {each: _seconds(model, rows[:1], t, each, cond) for each in (own, low)}
    if alone[low] < HOPELESS * alone[own]:
        times[low] = _seconds(model, rows, t, low, cond)
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
