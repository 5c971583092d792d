"""All that determines frames besides the model and its condition, as one value; what a record says of it, and back."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pullback.directions.types import Direction
from pullback.edit.apply import MaskIn, Method, NormaliseOption
from pullback.edit.injection import Mode
from pullback.edit.record_file import MANY, Way, refusal
from pullback.edit.walk import Solver
from pullback.errors import PullbackError


@dataclass(frozen=True)
class EditOptions:
    """What `edit` is told besides model, latent, direction and scales; the same names mean the same.

    Attributes:
        method: ``"step"`` or ``"x_guidance"``.
        normalise: ``"off"``, or the anchor.
        guidance_step: d of x-guidance.
        guidance_iterations: Repetitions of x-guidance.
        mask_in: ``"x"`` or ``"x0"``.
        boost_share: Part of the steps with eta 1; 0 for none.
        boost_seed: Of that noise.
        solver: ``"ddim"`` or ``"multistep"``.
        num_steps: Steps from t to the picture.
        allow_mismatch: Whether a direction of another model, layer, t, pool or condition may be used.
    """

    method: Method = "step"
    normalise: NormaliseOption = "off"
    guidance_step: float = 1.0
    guidance_iterations: int = 16
    mask_in: MaskIn = "x"
    boost_share: float = 0.0
    boost_seed: int = 0
    solver: Solver = "ddim"
    num_steps: int = 20
    allow_mismatch: bool = False


@dataclass(frozen=True)
class InjectionOptions:
    """What `inject` is told; the window by its two ends."""

    mode: Mode = "symmetric"
    window_start: float = 1.0
    window_end: float = 0.0
    distance: float = 0.0
    num_steps: int = 20
    allow_mismatch: bool = False


@dataclass(frozen=True)
class WindowOptions:
    """What `edit_in_window` is told; the window by its two ends."""

    window_start: float = 1.0
    window_end: float = 0.0
    num_steps: int = 20
    allow_mismatch: bool = False


@dataclass(frozen=True)
class CompositionOptions:
    """What `compose` is told."""

    num_steps: int = 20
    allow_mismatch: bool = False


Options = EditOptions | InjectionOptions | WindowOptions | CompositionOptions
_OPTIONS: Mapping[Way, type[Options]] = {
    "edit": EditOptions,
    "injection": InjectionOptions,
    "window": WindowOptions,
    "composition": CompositionOptions,
}
_CALIBRATED: tuple[Way, ...] = ("edit", "composition")
"""Ways with a step of scale 1."""


@dataclass(frozen=True, eq=False)
class Recipe:
    """What was done to one latent.

    Attributes:
        x: The latent, `x_shape`.
        directions: One; of a composition K.
        scale: S numbers; of a composition S rows of K. Of a window the lengths of its steps.
        options: Their kind says the way.
        without: Of a composition: the directions that are left alone.
        unit: g of scale 1, a number, of a composition `(K,)`; None as long as it is not known, or where there is none.
        mask: Where the edit acts, `(C, H, W)`, or None.
    """

    x: Tensor
    directions: tuple[Direction, ...]
    scale: tuple[Any, ...]
    options: Options
    without: tuple[Direction, ...] = ()
    unit: Tensor | None = None
    mask: Tensor | None = None

    @property
    def way(self) -> Way:
        """What kind of edit it is."""
        return next(way for way, kind in _OPTIONS.items() if type(self.options) is kind)

    def on(self, device: torch.device) -> "Recipe":
        """Return the recipe with its latent on a device; what else there is follows the latent."""
        return dataclasses.replace(self, x=self.x.to(device))


def told(recipe: Recipe) -> dict[str, Any]:
    """Return the fields of ``edit.json`` that say what was asked for, apart from what is kept as tensors."""
    scale = [list(row) for row in recipe.scale] if recipe.way in MANY else list(recipe.scale)
    fields = {"way": recipe.way, "scale": scale, "options": dataclasses.asdict(recipe.options)}
    if recipe.way not in MANY:
        return {**fields, "direction": _about(recipe.directions[0])}
    parts = {"directions": recipe.directions, "without": recipe.without}
    return {**fields, **{name: [_about(each) for each in of] for name, of in parts.items()}}


def tensors_of(recipe: Recipe) -> dict[str, Tensor]:
    """Return what is kept as tensors, by name."""
    kept = {"x": recipe.x, "unit": recipe.unit, "mask": recipe.mask}
    if recipe.way in MANY:
        for name, of in (("vector", recipe.directions), ("without", recipe.without)):
            kept.update({f"{name}_{index}": each.vector for index, each in enumerate(of)})
    else:
        kept["vector"] = recipe.directions[0].vector
    return {name: tensor for name, tensor in kept.items() if tensor is not None}


def recipe_of(folder: Path, record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Recipe:
    """Return what a record tells, of fields as `read_record` returned them.

    Raises:
        FileFormatError: If a part is missing, or of another kind than it must be.
    """
    way: Way = record["way"]
    try:
        if way in MANY:
            directions, without = (
                tuple(_direction(each, tensors[f"{name}_{index}"]) for index, each in enumerate(record[field]))
                for name, field in (("vector", "directions"), ("without", "without"))
            )
            scale = tuple(tuple(float(each) for each in row) for row in record["scale"])
        else:
            directions, without = (_direction(record["direction"], tensors["vector"]),), ()
            scale = tuple(float(each) for each in record["scale"])
        options = _options(_OPTIONS[way], record["options"])
        unit = tensors["unit"].reshape((len(directions),) if way in MANY else ()) if way in _CALIBRATED else None
        return Recipe(tensors["x"], directions, scale, options, without, unit, tensors.get("mask"))
    except (KeyError, TypeError, ValueError, RuntimeError, PullbackError) as error:
        raise refusal(folder, "a record that this version can read", str(error)) from error


def _options(kind: type[Options], values: Mapping[str, Any]) -> Options:
    """Return options of a kind; what is missing, as in older records, is as by default.

    Raises:
        TypeError: If one is not known, or of another type.
    """
    options = kind(**values)
    for each in dataclasses.fields(kind):
        value, default = getattr(options, each.name), each.default
        if type(value) is not type(default) and not (type(value) is int and type(default) is float):
            raise TypeError(f"{each.name} is {value!r}")
    return options


def _about(direction: Direction) -> dict[str, Any]:
    return {"space": direction.space, "name": direction.name, "index": direction.index, "origin": {**direction.origin}}


def _direction(about: Mapping[str, Any], vector: Tensor) -> Direction:
    return Direction(vector, about["space"], dict(about["origin"]), index=about["index"], name=about["name"])
