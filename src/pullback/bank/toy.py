"""Units without a network: planted subspaces, for tests, measurements and the examples of the docs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pullback.bank.unit import Unit
from pullback.bank.work import Answer


def toy_units(num: int, *, rank: int = 2, num_t: int = 1) -> Iterator[Unit]:
    """Units of ``num`` seeds at ``num_t`` timesteps, timestep by timestep.

    Example:
        >>> [unit.made["seed"] for unit in toy_units(2)]
        [0, 1]
    """
    for step in range(num_t):
        for seed in range(num):
            yield Unit("toy", "toy", "mid", "none", 100 * step, "none", {"seed": seed}, rank=rank, solver="toy/1")


@dataclass(frozen=True)
class ToyWork:
    """Random bases, each of its unit's own seed, with planted trouble.

    Attributes:
        dim_h: D.
        dim_x: N.
        raises: Seeds whose unit always raises.
        is_nan: Seeds whose unit holds NaN.
        counts: A file that gets one byte for each unit computed, or None.
    """

    dim_h: int = 12
    dim_x: int = 8
    raises: tuple[int, ...] = ()
    is_nan: tuple[int, ...] = ()
    counts: Path | None = None

    def __call__(self) -> ToyWork:
        """Itself: it is its own maker."""
        return self

    def compute(self, units: Sequence[Unit], /) -> list[Answer]:
        """One basis for each unit."""
        return [self._one(unit) for unit in units]

    def _one(self, unit: Unit) -> Answer:
        if self.counts is not None:
            with self.counts.open("ab") as file:
                file.write(b".")
        if unit.made["seed"] in self.raises:
            raise RuntimeError(f"seed {unit.made['seed']} is poison")
        generator = torch.Generator().manual_seed(unit.seed)
        u, v = (
            torch.linalg.qr(torch.randn(dim, unit.rank, generator=generator))[0].mT for dim in (self.dim_h, self.dim_x)
        )
        s = torch.rand(unit.rank, generator=generator).sort(descending=True).values
        if unit.made["seed"] in self.is_nan:
            s[0] = torch.nan
        x = torch.randn(self.dim_x, generator=torch.Generator().manual_seed(int(unit.made["seed"])))
        return Answer(unit.with_x(x), {"u": u.contiguous(), "s": s, "v": v.contiguous()}, {"method": "toy"})


@dataclass
class KillAt:
    """Kills its own process, as power does, when a step of the write protocol comes for the ``nth`` time.

    Attributes:
        step: "partial", "written", "synced", "renamed", "kept", "journal", "torn", "journaled", "done".
        nth: Which occurrence, from 1.
    """

    step: str
    nth: int = 1

    def __call__(self, step: str) -> None:
        """Counts down, and strikes."""
        self.nth -= step == self.step
        if self.nth == 0:
            os.kill(os.getpid(), signal.SIGKILL)


STEPS = ("partial", "written", "synced", "renamed", "kept", "journal", "torn", "journaled", "done")
"""The write protocol, in order."""
