"""The plan of a run, before it begins: bases, products, minutes, memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pullback.analyses.catalogue import total_bases
from pullback.analyses.halves import num_products as num_of_rank_rule
from pullback.analyses.sizes import Size
from pullback.api.cost import BATCH_OVERHEAD, basis_cost
from pullback.api.model import Model
from pullback.geometry import Plan
from pullback.geometry.batching import graph_bytes, most_on, plan_and_batch
from pullback.measure.report_text import counted, duration, size


@dataclass(frozen=True)
class Planned:
    """How a run computes, and what that takes.

    Attributes:
        plan: How products are computed.
        batch: Latents whose bases are computed together.
        text: The plan in words.
    """

    plan: Plan
    batch: int
    text: str


def planned(model: Model, names: Sequence[str], numbers: Size, out: Path, *, num_prompts: int = 0) -> Planned:
    """What is going to be computed, and how long it takes at most; of bases that figures share, most count once.

    Args:
        model: The model.
        names: Figures.
        numbers: How much is computed.
        out: Where to.
        num_prompts: How many prompts are compared.

    Raises:
        NoMemoryError: If one sample alone is too much.
    """
    f = model.feature_map(t_fraction=numbers.t_fractions[0])
    seeds = range(min(most_on(model.device), numbers.num_samples))
    x = model.sample_latent(t_fraction=numbers.t_fractions[0], seeds=seeds, num_steps=1)
    plan, batch = plan_and_batch(f, x, rank=numbers.rank, generator=torch.Generator().manual_seed(0))
    dims = torch.Size(f.x_shape).numel(), torch.Size(f.h_shape).numel()
    together = min(batch, len(x))
    cost = basis_cost(
        (plan, plan), dims, rank=numbers.rank, num_samples=together, t_fractions=numbers.t_fractions, like=x
    )
    num_bases = total_bases(names, numbers, num_prompts=num_prompts)
    num_ranked = rank_rule_products(model, numbers) if "spectra" in names else 0
    num_products = num_bases * cost.num_products + num_ranked
    seconds = num_products * cost.seconds * (BATCH_OVERHEAD if together > 1 else 1.0)
    memory = together * graph_bytes(f, x) + cost.krylov_bytes
    text = "\n".join(
        (
            "plan",
            f"  figures   {', '.join(names)}",
            f"  bases     at most {num_bases:,} of rank {numbers.rank}: about {num_products:,} Jacobian products"
            f"{f', {num_ranked:,} of them of the rank rule' * bool(num_ranked)}"
            f" ({plan.jvp_engine} / {plan.vjp_engine}, {plan.chunk} at a time), {counted(together, 'sample')} together,"
            f" {duration(seconds)}; pictures come on top",
            f"  memory    {size(memory)} for graphs and Krylov bases",
            f"  writes    {counted(len(names), 'CSV file')}, pictures and analysis.html to {out};"
            f" bases in its bank, up to {size(4 * numbers.rank * sum(dims) * num_bases)}",
        )
    )
    return Planned(plan, batch, text)


def rank_rule_products(model: Model, numbers: Size) -> int:
    """Products of the figure of spectra apart from its bases.

    Args:
        model: The model.
        numbers: How much is computed.
    """
    f = model.feature_map(t_fraction=numbers.t_fractions[0], pool="sum")
    return num_of_rank_rule(
        (torch.Size(f.h_shape).numel(), torch.Size(f.x_shape).numel()),
        rank=numbers.rank,
        num_samples=numbers.num_samples,
        num_times=len(numbers.t_fractions),
    )
