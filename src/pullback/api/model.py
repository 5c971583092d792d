"""A model with everything that a user does to it in one place."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pullback.directions.types import Direction
from pullback.edit.apply import Method, NormaliseOption
from pullback.edit.making import make_edit
from pullback.edit.recipe import EditOptions, Recipe
from pullback.edit.record import record_edit
from pullback.errors import MismatchError, OptionError
from pullback.models import Denoiser, invert, load_denoiser
from pullback.models.ddim import FIXED_POINT_ITERATIONS
from pullback.models.load import Source
from pullback.models.multistep import picture_steps
from pullback.models.output_map import map_of

DEFAULT_SCALES = (-8.0, -4.0, 0.0, 4.0, 8.0)


@dataclass(eq=False)
class Model(Denoiser):
    """A `Denoiser` that edits pictures along directions: all of its methods, and `edit`."""

    def edit(
        self,
        *,
        direction: Direction,
        scale: Sequence[float] = DEFAULT_SCALES,
        seed: int | None = None,
        x: Tensor | None = None,
        image: Image.Image | None = None,
        method: Method = "step",
        normalise: NormaliseOption = "off",
        num_steps: int = 20,
        cond: Any = None,
        allow_mismatch: bool = False,
        record: str | Path | None = None,
        notes: Mapping[str, str] | None = None,
    ) -> list[Image.Image]:
        """Returns one picture for each scale; scale 0 is the unedited one.

        Args:
            direction: As found by `discover`; it knows its layer, t and pooling.
            scale: 1 moves h by a tenth of the distance between two random samples.
            seed: Which sample to edit ...
            x: ... or its latent at the direction's t, `x_shape` ...
            image: ... or a picture, which is inverted first. It warns when the way there and back changes more than
                the edit does.
            method: ``"step"`` or ``"x_guidance"``.
            normalise: ``"off"``, or the anchor of the colour repair.
            num_steps: DDIM steps of a whole walk; half as many of `denoise_multistep` make the picture of a sample,
                all of them that of a picture.
            cond: Condition, as the direction was found with.
            allow_mismatch: Whether a direction of another model, layer, t or pooling may be used.
            record: Folder for ``edit.json`` and ``edit.safetensors``, by which `replay_edit` makes the frames again, or
                None.
            notes: What else to keep in ``edit.json``.

        Raises:
            OptionError: If not exactly one of ``seed``, ``x`` and ``image`` is given.
            MismatchError: If the direction does not belong to this model.
            ShapeError, NumericalError: If x is not a finite latent of this model.
        """
        if [seed, x, image].count(None) != 2 if x is None else seed is not None or image is not None:
            raise OptionError(
                wanted="exactly one of seed, x and image",
                got=", ".join(name for name, value in (("seed", seed), ("x", x), ("image", image)) if value is not None)
                or "none",
                hint="seed=7 edits the sample of seed 7",
            )
        f = self.feature_map_of(direction, cond=cond)
        steps = max(1, round(num_steps * self.schedule.fraction(f.t)))  # of the walk from t to the picture
        if x is None:
            x = self._latent(seed, image, f.t, num_steps, steps, cond)
        is_walked_back = image is not None  # over the timesteps of its inversion
        options = EditOptions(
            method=method,
            normalise=normalise,
            solver="ddim" if is_walked_back else "multistep",
            num_steps=steps if is_walked_back else picture_steps(num_steps, self.schedule.fraction(f.t)),
            allow_mismatch=allow_mismatch,
        )
        known = direction.origin.get("distance")
        distance = None if known is None else float(known)
        if record is None:
            recipe = Recipe(x, (direction,), tuple(scale), options)
            x0 = make_edit(self, recipe, f=f, distance=distance, cond=cond).x0
        else:
            x0 = record_edit(
                record,
                self,
                x,
                direction,
                scale,
                f=f,
                options=options,
                distance=distance,
                cond=cond,
                notes=notes,
            ).x0
        pictures = self.to_image(x0.reshape(-1, *self.x_shape))
        if image is not None:
            self._check_round_trip(image, pictures, scale)
        return [Image.fromarray(each) for each in pictures]

    def feature_map_of(self, direction: Direction, *, cond: Any = None) -> Any:
        """Returns the map that a direction was found with, on this model: of a layer, or to eps or x0.

        Raises:
            MismatchError: If the direction does not say which, or this model has no such layer or t.
        """
        origin = direction.origin
        if "t" not in origin:
            raise MismatchError(
                wanted="a direction that knows its timestep",
                got=f"an origin of {', '.join(origin) or 'nothing'}",
                hint="use pullback.edit.edit with a feature map of yours",
            )
        return map_of(self, origin, cond=cond)

    def _latent(
        self, seed: int | None, image: Image.Image | None, t: Any, num_steps: int, steps: int, cond: Any
    ) -> Tensor:
        if image is None:
            return self.sample_latent(t=t, seed=seed, num_steps=num_steps, cond=cond)
        x0 = self.encode_image(image)
        return invert(self, x0, t, num_steps=steps, cond=cond, fixed_point_iterations=FIXED_POINT_ITERATIONS)[0]

    def _check_round_trip(self, image: Image.Image, pictures: np.ndarray, scale: Sequence[float]) -> None:
        if 0 not in scale or len(pictures) < 2:
            return
        wanted = self.to_image(self.encode_image(image))[0].astype(float)
        back = pictures[list(scale).index(0)].astype(float)
        missed = float(np.sqrt(np.square(back - wanted).mean()))
        moved = max(float(np.sqrt(np.square(each - back).mean())) for each in pictures)
        if missed > moved:
            warnings.warn(
                f"the way to noise and back changes the picture by {missed:.1f} of 255, "
                f"the edit by at most {moved:.1f}; more steps bring the round trip closer",
                stacklevel=3,
            )


def load(source: Source, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Model:
    """Returns a model: "portraits", a diffusers folder, hub id or pipeline, a (network, scheduler), a `Denoiser`.

    Args:
        source: What to load; see `pullback.models.load_denoiser`.
        device: Where it runs.
        dtype: Its precision.

    Raises:
        ModelError: If it cannot be loaded.
    """
    found = load_denoiser(source, device=device, dtype=dtype)
    if isinstance(found, Model):
        return found
    return Model(**{each.name: getattr(found, each.name) for each in fields(found) if each.init})
