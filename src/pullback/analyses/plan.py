"""The plan of a run, before it begins: bases, products, minutes, memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pullback.analyses.catalogue import ALONE, total_bases
from pullback.analyses.halves import num_products
from pullback.analyses.sizes import Size
from pullback.api.bases_plan import BasesPlan, plan_bases
from pullback.api.model import Model
from pullback.geometry.batching import most_on
from pullback.measure.report_text import counted, size


@dataclass(frozen=True)
class Planned:
    """How a run computes, and what that takes.

    Attributes:
        bases: Of all bases of the run.
        text: The plan in words.
    """

    bases: BasesPlan
    text: str


def planned(
    model: Model,
    names: Sequence[str],
    numbers: Size,
    out: Path,
    *,
    bank: Path | None = None,
    num_prompts: int = 0,
) -> Planned:
    """What is going to be computed, and how long it takes at most; of bases that figures share, most count once.

    Args:
        model: The model.
        names: Figures.
        numbers: How much is computed.
        out: Where to.
        bank: Folder that keeps bases, ``out/bank`` if None; the plan of one that was begun is kept to.
        num_prompts: How many prompts are compared.

    Raises:
        NoMemoryError: If one sample alone is too much.
    """
    f = model.feature_map(t_fraction=numbers.t_fractions[0])
    seeds = range(min(most_on(model.device), numbers.num_samples))
    x = model.sample_latent(t_fraction=numbers.t_fractions[0], seeds=seeds, num_steps=1)
    shared = [name for name in names if name not in ALONE]
    num_ranked = rank_rule_products(model, numbers) if "spectra" in names else 0
    bases = plan_bases(
        f,
        x,
        total_bases(names, numbers, num_prompts=num_prompts),
        rank=numbers.rank,
        t_fractions=numbers.t_fractions,
        bank=out / "bank" if bank is None else bank,
        num_kept=total_bases(shared, numbers, num_prompts=num_prompts),
        num_others=num_ranked,
    )
    text = "\n".join(
        (
            "plan",
            f"  figures   {', '.join(names)}",
            f"  bases     at most {bases.num_bases:,} of rank {numbers.rank}:"
            f" about {bases.num_products:,} Jacobian products"
            f"{f', {num_ranked:,} of them of the rank rule' * bool(num_ranked)} {bases.text}",
            f"  memory    {bases.memory_text}",
            f"  writes    {counted(len(names), 'CSV file')}, pictures and analysis.html to {out}"
            f"{f'; bases in its bank, up to {size(bases.bank_bytes)}' * bool(bases.bank_bytes)}",
        )
    )
    return Planned(bases, text)


def rank_rule_products(model: Model, numbers: Size) -> int:
    """Products of the figure of spectra apart from its bases.

    Args:
        model: The model.
        numbers: How much is computed.
    """
    f = model.feature_map(t_fraction=numbers.t_fractions[0], pool="sum")
    return num_products(
        (math.prod(f.h_shape), math.prod(f.x_shape)),
        rank=numbers.rank,
        num_samples=numbers.num_samples,
        num_times=len(numbers.t_fractions),
    )
