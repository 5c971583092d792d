"""How local bases are computed: measured here, or as their bank was begun."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from pullback.api.banked import plan_of_bank
from pullback.geometry import Plan
from pullback.geometry.autotune import timed_plan
from pullback.geometry.batching import fitting_batch, plan_and_batch
from pullback.models import NetworkFeatureMap


@dataclass(frozen=True)
class How:
    """How bases will be computed.

    Attributes:
        plan: In force: that of the bank, if one was begun.
        now: The same with what its engines take here and now.
        batch: Samples together.
        is_of_bank: Whether it is the bank's.
    """

    plan: Plan
    now: Plan
    batch: int
    is_of_bank: bool


def how_to_compute(
    f: NetworkFeatureMap, x: torch.Tensor, *, rank: int, bank: str | Path | None = None, most: int | None = None
) -> How:
    """The fastest way here, measured; of a bank that was begun its own, timed.

    Args:
        f: The map.
        x: Latents as the products will meet them, `(B, *x_shape)`.
        rank: Of the bases.
        bank: Folder that keeps bases.
        most: Samples together at most.

    Raises:
        NoMemoryError: If one sample alone is too much.
        FileFormatError: If the bank's ``run.json`` is damaged.
    """
    generator = torch.Generator().manual_seed(0)
    kept = plan_of_bank(bank)
    if kept is None:
        plan, batch = plan_and_batch(f, x, rank=rank, most=most, generator=generator)
        return How(plan, plan, batch, is_of_bank=False)
    batch = fitting_batch(f, x, rank=rank, most=most)
    return How(kept, timed_plan(f, x[:batch], kept, generator=generator), batch, is_of_bank=True)
