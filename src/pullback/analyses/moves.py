"""Edits as the figures need them: both ways along directions, at the calibrated scale, with what h did."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pullback.analyses.context import Context
from pullback.analyses.sizes import Size
from pullback.edit import calibrate
from pullback.edit.scale import features
from pullback.errors import NormalisationWarning, NotConvergedWarning, TransportWarning
from pullback.models import NetworkFeatureMap

SCALE = 6.0
"""Of the edits: 1 moves h by a tenth of the median distance between samples."""
EDIT_AT = 0.8
"""Share of T at which `pullback discover` opens the network up."""


@dataclass(frozen=True, eq=False)
class Moved:
    """B samples moved along K directions, S scales each.

    Attributes:
        x0: Clean samples, `(B, K, S, *x_shape)`.
        h: Change of h, `(B, K, S, D)`.
        unit: Length of scale 1 in x, `(B, K)`.
    """

    x0: Tensor
    h: Tensor
    unit: Tensor

    @property
    def odd_h(self) -> NDArray[np.float64]:
        """Half of what turns around with the sign, first scale from last, `(B, K, D)`."""
        return ((self.h[:, :, -1] - self.h[:, :, 0]) / 2).double().cpu().numpy()


def moved(
    context: Context, f: NetworkFeatureMap, x: Tensor, v: Tensor, *, scales: Sequence[float] = (-SCALE, SCALE)
) -> Moved:
    """Moves each sample along its own directions and denoises; 2 to 5 encoder passes to calibrate.

    Args:
        context: Of the run.
        f: The feature map, whose t is that of the latents.
        x: Latents, `(B, *x_shape)`.
        v: Unit directions on them, `(B, K, *x_shape)`.
        scales: S numbers.
    """
    rows = x[:, None].expand_as(v).flatten(0, 1)  # (BK, *x_shape)
    along = v.flatten(0, 1).to(x)
    with quiet():
        unit = calibrate(f, rows, along, distance=context.distance(f)).unit
    g = unit[:, None] * torch.tensor(list(scales)).to(unit)  # (BK, S)
    frames = rows[:, None] + g.reshape(*g.shape, *[1] * (x.ndim - 1)).to(x) * along[:, None]
    h = features(f, frames.flatten(0, 1)).unflatten(0, g.shape) - features(f, rows)[:, None]
    x0 = context.pictures(frames.flatten(0, 1), f.t or 0).unflatten(0, g.shape)
    shape = v.shape[:2]
    return Moved(x0.unflatten(0, shape), h.unflatten(0, shape), unit.unflatten(0, shape))


def odd(values: NDArray[np.float64], moves: Moved) -> NDArray[np.float64]:
    """``(r(+) - r(-)) / 2`` of what was read off ``moves.x0``, row by row: `(B K S, F)` to `(B, K, F)`."""
    values = values.reshape(*moves.x0.shape[:3], -1)
    return (values[:, :, -1] - values[:, :, 0]) / 2


def flat(moves: Moved) -> Tensor:
    """The clean samples one below the other, `(B K S, *x_shape)`."""
    return moves.x0.flatten(0, 2)


def frames_of(context: Context, x0: Tensor) -> NDArray[np.uint8]:
    """Pictures of clean samples with any leading axes, `(..., H, W, 3)`."""
    lead = x0.shape[: x0.ndim - len(context.model.x_shape)]
    frames = context.model.to_image(x0.flatten(0, len(lead) - 1))
    return frames.reshape(*lead, *frames.shape[1:])


def unit_weights(num: int, rank: int, generator: torch.Generator) -> Tensor:
    """Random unit vectors of R^k, `(num, rank)`: directions drawn inside a span."""
    weights = torch.randn(num, rank, generator=generator)
    return weights / weights.norm(dim=1, keepdim=True)


def edit_time(size: Size) -> float:
    """The share of T, of those that the run looks at, nearest to .8."""
    return min(size.t_fractions, key=lambda t: abs(t - EDIT_AT))


def middle_time(size: Size) -> float:
    """The middle one of the shares of T that the run looks at."""
    return size.t_fractions[len(size.t_fractions) // 2]


@contextmanager
def quiet() -> Generator[None]:
    """Scope without the warnings that come once an edit; figures tell of them in numbers.

    Residuals that were not reached and retained shares stand in the tables, and the drift that normalisation warns of
    is what its figure plots.
    """
    with warnings.catch_warnings():
        for kind in (NormalisationWarning, NotConvergedWarning, TransportWarning):
            warnings.simplefilter("ignore", kind)
        yield
