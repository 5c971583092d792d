"""The plan of a run, before it begins: bases, products, minutes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from pullback.analyses.catalogue import total_bases
from pullback.analyses.context import batch_on
from pullback.analyses.sizes import Size
from pullback.api.model import Model
from pullback.geometry import measure_plan
from pullback.geometry.cost import GUARD, best_block, expected_products, seconds_per_product
from pullback.measure.report_text import counted, duration, size


def plan_text(model: Model, names: Sequence[str], numbers: Size, out: Path, *, num_prompts: int = 0) -> str:
    """What is going to be computed, and how long it takes at most; of bases that figures share, most count once.

    Args:
        model: The model.
        names: Figures.
        numbers: How much is computed.
        out: Where to.
        num_prompts: How many prompts are compared.
    """
    batch = batch_on(model.device)
    f = model.feature_map(t_fraction=numbers.t_fractions[0])
    x = model.sample_latent(t_fraction=numbers.t_fractions[0], seeds=range(batch), num_steps=1)
    plan = measure_plan(f, x, rank=numbers.rank, generator=torch.Generator().manual_seed(0))
    guarded = numbers.rank + GUARD
    block = best_block(plan, batch, guarded)
    each = expected_products(guarded, block)
    num_bases = total_bases(names, numbers, num_prompts=num_prompts)
    seconds = num_bases * each * seconds_per_product(plan, block * batch)
    values = numbers.rank * (torch.Size(f.x_shape).numel() + torch.Size(f.h_shape).numel())
    return "\n".join(
        (
            "plan",
            f"  figures   {', '.join(names)}",
            f"  bases     at most {num_bases:,} of rank {numbers.rank}: about {num_bases * each:,} Jacobian products,"
            f" {duration(seconds)}; pictures come on top",
            f"  writes    {counted(len(names), 'CSV file')}, pictures and analysis.html to {out};"
            f" bases in its bank, up to {size(4 * values * num_bases)}",
        )
    )
