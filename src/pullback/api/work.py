"""Work counted before it is done, and what one piece of each kind takes on this machine."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from pullback.api.model import Model
from pullback.api.portrait import is_portraits
from pullback.geometry.cost import timed
from pullback.measure.report_frames import encode_strip
from pullback.portraits import render, sample
from pullback.portraits.judge import load_judge
from pullback.portraits.oracle import to_clean

NUM_TIMED = 8
"""Portraits that are drawn and read to see how long one takes."""


@dataclass(frozen=True)
class Work:
    """How much there is of each kind.

    Attributes:
        calls: Network calls for one latent alone.
        rows: Latents that go through the network in batches, once for each step.
        products: Jacobian products.
        readings: Pictures whose factors the oracle reads.
        renders: Portraits that the renderer draws.
        strips: Strips of pictures that are encoded for the page.

    Example:
        >>> Work(calls=2) + 3 * Work(calls=1, renders=5)
        Work(calls=5, rows=0, products=0, readings=0, renders=15, strips=0)
    """

    calls: int = 0
    rows: int = 0
    products: int = 0
    readings: int = 0
    renders: int = 0
    strips: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def __rmul__(self, times: int) -> Work:
        return Work(*(times * getattr(self, each.name) for each in fields(self)))


@dataclass(frozen=True)
class Prices:
    """Seconds of one piece of each kind of `Work`.

    Example:
        >>> Prices(calls=0.5, renders=0.1).of(Work(calls=4, renders=10, strips=3))
        3.0
    """

    calls: float = 0.0
    rows: float = 0.0
    products: float = 0.0
    readings: float = 0.0
    renders: float = 0.0
    strips: float = 0.0

    def of(self, work: Work) -> float:
        """Returns the seconds that some work takes."""
        return sum(getattr(self, each.name) * getattr(work, each.name) for each in fields(work))


@torch.no_grad()
def measure_prices(
    model: Model, x: Tensor, t: float, *, rows: float, products: float, num_stops: int, cond: Any = None
) -> Prices:
    """Times one piece of each kind of work, after a first one that warms up.

    Args:
        model: The model.
        x: Latents at t, `(B, *x_shape)`; one is used.
        t: Their timestep.
        rows: Seconds of a row in a batch, measured before.
        products: Seconds of a product, measured before.
        num_stops: Frames of a strip.
        cond: Condition, as for `discover`.

    Returns:
        Readings and renders cost nothing where the model is not that of the portraits: there are none.
    """
    calls = timed(lambda: model.predict(x[:1], t, cond), x.device)
    frames = model.to_image(model.x0(x[:1], t, cond)).repeat(num_stops, axis=0)
    strips = timed(lambda: encode_strip(frames), x.device)
    if not is_portraits(model):
        return Prices(calls, rows, products, strips=strips)
    judge, z = load_judge(), sample(NUM_TIMED, seed=0)
    pictures = to_clean(render(z))
    readings, renders = (
        timed(call, pictures.device) / NUM_TIMED for call in (lambda: judge.factors(pictures), lambda: render(z))
    )
    return Prices(calls, rows, products, readings, renders, strips)
