"""A few units computed again: whether this machine, this model and this bank agree."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pullback.bank.store import Bank
from pullback.bank.work import Answer, Work
from pullback.geometry.grassmann import geodesic_distance

ANGLE_FLOOR_RAD = 2e-3
"""What fp16 alone makes of an angle."""
MAX_S_ERROR = 2e-2


@dataclass(frozen=True)
class Spot:
    """One unit, computed again.

    Attributes:
        unit_id: Which.
        has_same_latent: Whether x_t came out with the same bits.
        has_same_bits: Whether the whole answer did: same plan, same group, same device.
        s_error: ``max |s - s'| / s_1``.
        angle_rad: Distance of the two T_h, or of the spans of v where the bank keeps no U; None if it keeps neither.
        allowed_rad: What the residuals and the gap allow: ``max(2e-3, 10 tol s_1 / (s_k - s_{k+1}))``; without a gap
            anything, since T_h is then not determined.
    """

    unit_id: str
    has_same_latent: bool
    has_same_bits: bool
    s_error: float
    angle_rad: float | None
    allowed_rad: float

    @property
    def agrees(self) -> bool:
        """Same bits, or within tolerance."""
        return self.has_same_bits or (
            self.s_error <= MAX_S_ERROR and (self.angle_rad is None or self.angle_rad <= self.allowed_rad)
        )


def spot_check(bank: Bank, work: Work, num: int) -> list[Spot]:
    """Computes ``num`` units again, evenly spread over the ids, one at a time."""
    reader = bank.reader()
    ids = list(reader.ids())
    chosen = [ids[i * len(ids) // num] for i in range(min(num, len(ids)))]
    return [_compare(bank, reader.get(unit_id), work) for unit_id in chosen]


def _compare(bank: Bank, old: Answer, work: Work) -> Spot:
    new = bank.settings.storage.apply(work.compute([old.unit])[0])
    s, again = old.tensors["s"].double(), new.tensors["s"].double()
    largest = float(s.max().clamp_min(1e-300)) if s.numel() else 1.0
    name = next((each for each in ("u", "v") if each in old.tensors), None)
    angle = None
    if name is not None:
        angle = float(geodesic_distance(old.tensors[name].flatten(1), new.tensors[name].flatten(1)))
    slack = 0.0
    if s.numel() and "s_next" in old.tensors:
        gap = float(s[-1] - old.tensors["s_next"])
        slack = 10 * old.unit.tol * largest / gap if gap > 0 else math.inf
    return Spot(
        unit_id=old.unit.id,
        has_same_latent=new.unit.x == old.unit.x,
        has_same_bits=new.digest() == old.digest(),
        s_error=float((s - again).abs().max()) / largest if s.numel() else 0.0,
        angle_rad=angle,
        allowed_rad=max(ANGLE_FLOOR_RAD, slack),
    )
