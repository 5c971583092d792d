"""The plan of many local bases, before they are begun: how they will be computed, products, minutes, memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pullback.api.cost import basis_cost
from pullback.api.how import How, how_to_compute
from pullback.geometry.batching import held_bytes
from pullback.measure.report_text import counted, duration, size
from pullback.models import NetworkFeatureMap


@dataclass(frozen=True)
class BasesPlan:
    """What many bases take.

    Attributes:
        how: How they will be computed.
        num_bases: How many.
        together: Samples of a batch: as many as there are, at most those that fit.
        num_products: Jacobian products at most.
        seconds: Of these.
        memory_bytes: For graphs and Krylov bases; None where the graphs of two samples do not fit.
        bank_bytes: Of the finished bases that are kept.
    """

    how: How
    num_bases: int
    together: int
    num_products: int
    seconds: float
    memory_bytes: int | None
    bank_bytes: int

    @property
    def text(self) -> str:
        """Products, engines, samples together and minutes, in words."""
        plan, bank = self.how.now, ", as its bank was begun" * self.how.is_of_bank
        return (
            f"({plan.jvp_engine} / {plan.vjp_engine}, {plan.chunk} at a time{bank}),"
            f" {counted(self.together, 'sample')} together, {duration(self.seconds)}; pictures come on top"
        )

    @property
    def memory_text(self) -> str:
        """Memory in words."""
        if self.memory_bytes is None:
            return "one sample at a time, since the graphs of two do not fit"
        return f"{size(self.memory_bytes)} for graphs and Krylov bases"

    def record(self) -> dict[str, str | int | float | None]:
        """Returns the plan as plain values, for a record of the run."""
        return {
            "products": self.num_products,
            "seconds": round(self.seconds, 1),
            "memory_bytes": self.memory_bytes,
            "jvp": self.how.plan.jvp_engine,
            "vjp": self.how.plan.vjp_engine,
            "chunk": self.how.plan.chunk,
            "batch": self.how.batch,
            "precision of products": self.how.plan.dtype,
        }


def plan_bases(
    f: NetworkFeatureMap,
    x: torch.Tensor,
    num_bases: int,
    *,
    rank: int,
    t_fractions: Sequence[float],
    bank: str | Path | None = None,
    num_kept: int | None = None,
    num_others: int = 0,
) -> BasesPlan:
    """Measures a few products, and multiplies.

    Args:
        f: The map at one t.
        x: Latents there, as many as may go together, `(B, *x_shape)`.
        num_bases: How many bases there will be.
        rank: Of them.
        t_fractions: Shares of T at which they are made, each as often.
        bank: Folder that keeps bases; the plan of one that was begun is kept to.
        num_kept: How many of the bases are kept in a bank; all by default.
        num_others: Products that come on top.

    Raises:
        NoMemoryError: If one sample alone is too much.
    """
    how = how_to_compute(f, x, rank=rank, bank=bank)
    dims = math.prod(f.x_shape), math.prod(f.h_shape)
    together = min(how.batch, len(x))
    cost = basis_cost(
        (how.plan, how.now),
        dims,
        rank=rank,
        num_samples=together,
        t_fractions=t_fractions,
        like=x,
        is_pooled=f.pool == "sum",
    )
    num_products = num_bases * cost.num_products + num_others
    graphs = held_bytes(f, x, num=together)
    return BasesPlan(
        how=how,
        num_bases=num_bases,
        together=together,
        num_products=num_products,
        seconds=cost.seconds_of(num_products, together=together),
        memory_bytes=None if graphs is None else graphs + cost.krylov_bytes,
        bank_bytes=4 * rank * sum(dims) * (num_bases if num_kept is None else num_kept),
    )
