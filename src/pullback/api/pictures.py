"""Edits of held-out samples for the report: frames, usable ranges, what changes in the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pullback.api.discovery import Discovery
from pullback.api.model import Model
from pullback.api.settings import PageSettings, Report
from pullback.directions.types import Direction
from pullback.edit import UsableRange, denoising_loss, edit, usable_range
from pullback.edit.batches import in_chunks, picture_precision
from pullback.measure.descriptors import PictureChange, describe
from pullback.models import denoise_multistep
from pullback.models.multistep import picture_steps

NUM_NOISES = 2


@dataclass(frozen=True, eq=False)
class Unedited:
    """Samples as they are, made by the sampler that makes the edits.

    Attributes:
        x0: Clean samples of the held-out seeds, then of the discovery seeds, `(B, *x_shape)`.
        loss: Their denoising losses, `(B,)`.
    """

    x0: Tensor
    loss: Tensor


@dataclass(frozen=True, eq=False)
class Moved:
    """One direction at every scale on every shown sample.

    Attributes:
        x0: Clean samples `(P, S, *x_shape)`.
        frames: The same as pictures, `(P, S, H, W, 3)` 8 bit.
        unit: Mean length of scale 1 in x.
        usable: How far the scales go.
        change: What happens to the picture at the reference scale.
    """

    x0: Tensor
    frames: NDArray[np.uint8]
    unit: float
    usable: UsableRange
    change: PictureChange


@dataclass(frozen=True)
class Precision:
    """How pictures are made: ``autocast`` and layout; never used for a Jacobian."""

    autocast: torch.dtype | None = None
    channels_last: bool = False

    @property
    def name(self) -> str:
        """For records: "network's own" or "bfloat16"."""
        return "network's own" if self.autocast is None else str(self.autocast).removeprefix("torch.")


class Studio:
    """Makes the pictures of one discovery; shares what all directions need.

    Args:
        model: The model.
        found: What was discovered.
        page: What is to be shown.
        precision: Of the pictures.
        cond: Condition, as for `discover`.
    """

    def __init__(
        self,
        model: Model,
        found: Discovery,
        page: PageSettings,
        *,
        precision: Precision | None = None,
        cond: Any = None,
    ) -> None:
        self.model, self.found, self.page, self.cond = model, found, page, cond
        self.precision = precision or Precision()
        settings = found.settings
        self.f = model.feature_map(t_fraction=settings.t_fraction, layer=settings.layer, pool=settings.pool, cond=cond)
        self.t = self.f.t or 0
        self.num_steps = picture_steps(settings.num_steps, model.schedule.fraction(self.t))
        self.people = found.held_out[: page.num_people]

    @torch.no_grad()
    def unedited(self, progress: Report) -> Unedited:
        """Denoises all samples and measures their losses: what an edit must not fall behind."""
        x = torch.cat([self.found.held_out, self.found.latents])
        progress("unedited", 0, len(x))
        with picture_precision(
            self.model, autocast=self.precision.autocast, channels_last=self.precision.channels_last
        ):
            x0 = in_chunks(self._denoise, x, chunk=self.page.batch).to(x)
        progress("unedited", len(x), len(x))
        return Unedited(x0, self._loss(x0))

    def moved(self, directions: Sequence[Direction], unedited: Unedited) -> list[Moved]:
        """Edits all shown samples along a few directions, in as few network calls as possible."""
        scales = [scale for scale in self.page.scales if scale != 0]
        result = edit(
            self.model,
            self.people,
            self.t,
            directions,
            scales,
            f=self.f,
            solver="multistep",
            num_steps=self.num_steps,
            cond=self.cond,
            distance=self.found.distance,
            chunk=self.page.batch,
            autocast=self.precision.autocast,
            channels_last=self.precision.channels_last,
        )
        x0 = result.x0.to(self.people)
        loss = self._loss(x0.flatten(0, 2)).reshape(x0.shape[:3])
        return [
            self._one(x0[k], result.displacement[k], loss[k], float(result.unit[k].mean()), scales, unedited)
            for k in range(len(directions))
        ]

    def groups(self) -> list[Sequence[Direction]]:
        """The shown directions in groups that fill a batch."""
        shown = self.found.directions[: self.page.num_shown]
        rows = len(self.people) * (self.page.num_stops - 1)
        size = max(1, self.page.batch // max(rows, 1))
        return [shown[start : start + size] for start in range(0, len(shown), size)]

    def _one(
        self, x0: Tensor, displacement: Tensor, loss: Tensor, unit: float, scales: list[float], unedited: Unedited
    ) -> Moved:
        half = len(scales) // 2
        still = unedited.x0[: len(self.people), None]
        x0 = torch.cat([x0[:, :half], still, x0[:, half:]], dim=1)  # (P, S, *x_shape), scale 0 in the middle
        frames = self.model.to_image(x0.flatten(0, 1))
        frames = frames.reshape(*x0.shape[:2], *frames.shape[1:])
        plus, minus = frames[:, half + self.page.reference], frames[:, half - self.page.reference]
        return Moved(
            x0=x0,
            frames=frames,
            unit=unit,
            usable=usable_range(scales, displacement.cpu(), loss.cpu(), unedited.loss.cpu()),
            change=describe(*(each.astype(np.float64) / 255 for each in (frames[:, half], plus, minus))),
        )

    def _denoise(self, x: Tensor) -> Tensor:
        return denoise_multistep(self.model, x, self.t, num_steps=self.num_steps, cond=self.cond)

    def _loss(self, x0: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.found.settings.seed)
        return denoising_loss(
            self.model, x0, generator=generator, num_noises=NUM_NOISES, cond=self.cond, chunk=self.page.batch
        )
