"""What either of two models draws that the other does not, on latents of the first, with pictures of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from pullback.api.model import Model
from pullback.errors import OptionError
from pullback.measure.lacking import MIN_LATENTS, Drawn, lacking
from pullback.models.schedule import Time

NUM_SHOWN = 4
"""Latents at either end of a mixture."""


def check_predictions(num: int) -> None:
    """Refuses a number of predictions that says nothing; none at all is a choice.

    Raises:
        OptionError: If there are one to seven, or fewer than none.
    """
    if num and num < MIN_LATENTS:
        raise OptionError(wanted=f"{MIN_LATENTS} predictions or more, or none", got=str(num), hint="64 are usual")


def more_latents(model: Model, x: Tensor, *, num: int, t_fraction: float, seed: int, num_steps: int) -> Tensor:
    """The first ``num`` latents of seeds from ``seed`` on, of which x holds the first."""
    parts = [x[:num]]
    for start in range(len(x), num, len(x)):  # as many at a time as there were: memory is known to hold them
        seeds = range(seed + start, seed + min(num, start + len(x)))
        parts.append(model.sample_latent(t_fraction=t_fraction, seeds=seeds, num_steps=num_steps))
    return torch.cat(parts)


def drawn_by(models: Sequence[Model], x: Tensor, t: Time, *, batch: int, with_pictures: bool) -> Mapping[str, Drawn]:
    """Returns what the second model lacks of what the first draws, as "vanished", and the reverse, as "appeared".

    Args:
        models: Two models.
        x: Latents at t, `(n, *x_shape)`; of none nothing is found.
        t: Timestep.
        batch: Latents in one network call.
        with_pictures: Whether both models' predictions are shown, of the latents with least and most of it.
    """
    if not len(x):
        return {}
    with torch.no_grad():
        a, b = (torch.cat([model.x0(part, t) for part in x.split(batch)]).cpu() for model in models)
    found = {}
    for side, (own, other), owners in (("vanished", (a, b), models), ("appeared", (b, a), models[::-1])):
        lack = lacking(own, other, generator=torch.Generator().manual_seed(0))
        shown = [*lack.order[:NUM_SHOWN], *lack.order[-NUM_SHOWN:]] if with_pictures else []
        pairs = zip(owners, (own, other), strict=True)
        strip = np.stack([model.to_image(x0[shown].to(x)) for model, x0 in pairs]) if shown else None
        found[side] = Drawn(lack, strip)
    return found
