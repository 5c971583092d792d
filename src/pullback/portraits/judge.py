"""The judge: factors of any picture, by the oracle, and how far the picture is from the world, by the renderer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pullback.portraits.factors import NAMES, Array, World, drawable, sample
from pullback.portraits.oracle import Calibration, Oracle, calibrate, load_oracle, read_factors, to_clean
from pullback.portraits.regions import factor_masks
from pullback.portraits.renderer import render


@dataclass(frozen=True)
class Judge:
    """Reads factors in standard units and measures the distance to the nearest portrait it knows how to draw.

    Attributes:
        oracle: Picture -> raw answers.
        calibration: Fit of its answers on fresh renders.
        world: Which world.
    """

    oracle: Oracle
    calibration: Calibration
    world: World = "easy"
    names: tuple[str, ...] = NAMES

    def factors(self, x0: Tensor) -> Array:
        """Returns ``z = B^-1 (o(x0) - c)`` for `(B, 3, 64, 64)`, shape `(B, 16)`."""
        cal = self.calibration
        return (read_factors(self.oracle, x0) - cal.offset) @ np.linalg.inv(cal.slope).T

    def redraw(self, x0: Tensor) -> Tensor:
        """Returns ``render(o(x0))``, the portrait that the judge reads, `(B, 3, 64, 64)` in [-1, 1]."""
        return to_clean(render(drawable(self.factors(x0)), world=self.world))

    def places(self, z: Array) -> NDArray[np.bool_]:
        """Returns where each factor shows in portraits whose factors were read as z `(B, 16)`: `(B, 16, 64, 64)`."""
        return factor_masks(z, world=self.world)

    def residual(self, x0: Tensor) -> Array:
        """Returns q = root mean square of ``x0 - render(o(x0))``, pictures in [-1, 1]; shape `(B,)`."""
        x0 = x0.float().cpu().clamp(-1, 1)
        return (x0 - self.redraw(x0)).square().mean(dim=(1, 2, 3)).sqrt().double().numpy()


def load_judge(*, world: World = "easy") -> Judge:
    """Loads the shipped oracle with its calibration, fitted again where the world is not the shipped one."""
    oracle, calibration = load_oracle()
    return Judge(oracle, calibration if world == "easy" else calibrate(oracle, world=world), world=world)


def real_residuals(judge: Judge, *, num: int = 256, seed: int = 78) -> Array:
    """Residuals of real renders that nothing was trained on, shape `(num,)`."""
    return judge.residual(to_clean(render(sample(num, seed=9_000_000 + seed, world=judge.world), world=judge.world)))


def nearest(x0: Tensor, pictures: Tensor, *, chunk: int = 64) -> tuple[Tensor, Tensor]:
    """Root-mean-square distance of each picture to its nearest neighbour among ``pictures``, and its row.

    Args:
        x0: Pictures `(B, 3, H, W)`.
        pictures: Others, `(M, 3, H, W)`.
        chunk: Rows compared at a time.

    Returns:
        Distances `(B,)` and rows `(B,)`.
    """
    others = pictures.flatten(1).float()
    parts = [torch.cdist(part.flatten(1).float(), others).min(dim=1) for part in x0.split(chunk)]
    scale = others.shape[1] ** 0.5
    return torch.cat([p.values for p in parts]) / scale, torch.cat([p.indices for p in parts])
