"""Edits on disk: ``edit.json`` with all that determined one, and the tensors to make any frame again."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pullback.directions.masks import Mask, mask_at
from pullback.directions.types import Direction
from pullback.edit.apply import Edited
from pullback.edit.composition import Composed
from pullback.edit.injection import Injected, Mode, of_a_layer
from pullback.edit.making import make_composition, make_edit, make_injection, make_window
from pullback.edit.recipe import (
    CompositionOptions,
    EditOptions,
    InjectionOptions,
    Recipe,
    WindowOptions,
    tensors_of,
    told,
)
from pullback.edit.record_file import write_record
from pullback.edit.replay import model_told
from pullback.edit.scale import typical_distance
from pullback.edit.window import Window
from pullback.errors import ShapeError
from pullback.models import Denoiser, NetworkFeatureMap
from pullback.models.output_map import ModelMap


def record_edit(
    folder: str | Path,
    den: Denoiser,
    x: Tensor,
    direction: Direction,
    scale: Sequence[float],
    *,
    f: ModelMap,
    options: EditOptions | None = None,
    mask: Mask | None = None,
    unit: float | None = None,
    distance: float | None = None,
    cond: Any = None,
    notes: Mapping[str, str] | None = None,
    before_record: Callable[[Tensor], None] | None = None,
) -> Edited:
    """`edit` one latent along one direction, and write what it takes to do it again.

    Writes ``edit.json`` (model, layer, t, pooling, condition, direction, scales, options, a digest of each frame) and
    ``edit.safetensors`` (latent, direction, step of scale 1, mask), which take their places when both are complete.

    Args:
        folder: Where to; made if need be.
        den: The model.
        x: One latent at ``f.t``, shape `x_shape`.
        direction: Of H or X, found with f.
        scale: S numbers.
        f: The feature map.
        options: How to edit; the defaults of `edit` if None.
        mask: Where the edit may act.
        unit: g of scale 1, such as the length of a `composed_move`; calibrated if None.
        distance: ``typical_distance`` at t, measured if None.
        cond: Condition.
        notes: What else to keep in ``edit.json``, such as where the model lies; nothing is compared with it.
        before_record: Called with the clean samples before ``edit.json`` is written, which marks the edit as done.

    >>> import tempfile
    >>> from pullback.directions import random_h
    >>> from pullback.edit import replay_edit
    >>> from pullback.models import toy_denoiser
    >>> den = toy_denoiser()
    >>> f, x = den.feature_map(t=600), den.draw([0])[0]
    >>> options = EditOptions(num_steps=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = record_edit(folder, den, x, random_h(f, rank=1)[0], [0, 1], f=f, options=options, distance=5.0)
    ...     replay_edit(folder, den, frames=[1]).is_exact
    (True,)

    Raises:
        OptionError, MismatchError, ShapeError, NumericalError: As `edit`, and if x is more than one latent.
    """
    recipe = Recipe(
        _one(den, x),
        (direction,),
        tuple(map(float, scale)),
        options or EditOptions(),
        unit=None if unit is None else torch.tensor(unit, dtype=torch.float64),
        mask=None if mask is None else mask_at(mask, den.x_shape),
    )
    edited = make_edit(den, recipe, f=f, distance=distance, cond=cond)
    if before_record is not None:
        before_record(edited.x0)
    recipe = dataclasses.replace(recipe, unit=edited.unit.cpu().double())
    _write(folder, recipe, edited.x0, f=f, cond=cond, notes=notes)
    return edited


def record_injection(
    folder: str | Path,
    den: Denoiser,
    x: Tensor,
    direction: Direction,
    scale: Sequence[float],
    *,
    f: NetworkFeatureMap,
    mode: Mode = "symmetric",
    window: Window | None = None,
    mask: Mask | None = None,
    distance: float | None = None,
    num_steps: int = 20,
    cond: Any = None,
    allow_mismatch: bool = False,
) -> Injected:
    """`inject` a direction into h on the way of one latent, and write what it takes to do it again; see `record_edit`.

    >>> import tempfile
    >>> from pullback.directions import random_h
    >>> from pullback.edit import replay_edit
    >>> from pullback.models import toy_denoiser
    >>> den = toy_denoiser()
    >>> f, x = den.feature_map(t=600), den.draw([0])[0]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = record_injection(folder, den, x, random_h(f, rank=1)[0], [0, 1], f=f, distance=5.0, num_steps=2)
    ...     replay_edit(folder, den).is_exact
    (True, True)

    Raises:
        OptionError, MismatchError, ShapeError, NumericalError: As `inject`, and if x is more than one latent.
    """
    window, f = window or Window(), of_a_layer(f)
    if distance is None:  # as `inject` does; here it is kept
        distance = typical_distance(f, den.sample_latent(t=f.t, seeds=range(16), cond=cond))
    options = InjectionOptions(mode, window.start, window.end, float(distance), num_steps, allow_mismatch)
    whole = den.feature_map(t=f.t, layer=f.layer, cond=cond)  # a mask lies on the unpooled h
    where = None if mask is None else mask_at(mask, whole.h_shape)
    recipe = Recipe(_one(den, x), (direction,), tuple(map(float, scale)), options, mask=where)
    injected = make_injection(den, recipe, f=f, cond=cond)
    _write(folder, recipe, injected.x0, f=f, cond=cond)
    return injected


def record_window(
    folder: str | Path,
    den: Denoiser,
    x: Tensor,
    direction: Direction,
    lengths: Sequence[float],
    *,
    f: ModelMap,
    window: Window,
    num_steps: int = 20,
    cond: Any = None,
    allow_mismatch: bool = False,
) -> Tensor:
    """`edit_in_window` one latent with steps of S lengths, and write what it takes to do it again; see `record_edit`.

    The map at each timestep has f's layer and pooling. Returns clean samples, `(S, *x_shape)`.

    >>> import tempfile
    >>> from pullback.directions import random_h
    >>> from pullback.edit import replay_edit
    >>> from pullback.models import toy_denoiser
    >>> den = toy_denoiser()
    >>> f, x = den.feature_map(t=600), den.draw([0])[0]
    >>> how = {"f": f, "window": Window(0.6, 0.2), "num_steps": 3}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = record_window(folder, den, x, random_h(f, rank=1)[0], [0.1, 0.2], **how)
    ...     replay_edit(folder, den).scale
    (0.1, 0.2)

    Raises:
        OptionError, ShapeError, NumericalError: As `edit_in_window`, and if x is more than one latent.
        MismatchError: If the direction was found with another map.
    """
    options = WindowOptions(window.start, window.end, num_steps, allow_mismatch)
    recipe = Recipe(_one(den, x), (direction,), tuple(map(float, lengths)), options)
    x0 = make_window(den, recipe, f=f, cond=cond)
    _write(folder, recipe, x0, f=f, cond=cond)
    return x0


def record_composition(
    folder: str | Path,
    den: Denoiser,
    x: Tensor,
    directions: Sequence[Direction],
    scales: Sequence[Sequence[float]],
    *,
    f: ModelMap,
    without: Sequence[Direction] = (),
    distance: float | None = None,
    num_steps: int = 20,
    cond: Any = None,
    allow_mismatch: bool = False,
) -> Composed:
    """`compose` directions on one latent, and write what it takes to do it again; see `record_edit`.

    All parts are kept: the directions, those to leave alone, the step of scale 1 of each, the rows of scales. Returns
    what `compose` does, of a batch of one.

    >>> import tempfile
    >>> from pullback.directions import random_h
    >>> from pullback.edit import replay_edit
    >>> from pullback.models import toy_denoiser
    >>> den = toy_denoiser()
    >>> f, x = den.feature_map(t=600), den.draw([0])[0]
    >>> pair, rows = random_h(f, rank=2), [[1, 0], [1, -1]]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = record_composition(folder, den, x, pair, rows, f=f, distance=5.0, num_steps=2)
    ...     replay_edit(folder, den, frames=[1]).scale
    ((1.0, -1.0),)

    Raises:
        OptionError, MismatchError, ShapeError, NumericalError: As `compose`, and if x is more than one latent.
    """
    rows = tuple(tuple(float(each) for each in row) for row in scales)
    options = CompositionOptions(num_steps, allow_mismatch)
    recipe = Recipe(_one(den, x), tuple(directions), rows, options, tuple(without))
    composed = make_composition(den, recipe, f=f, distance=distance, cond=cond)
    recipe = dataclasses.replace(recipe, unit=composed.unit[:, 0].cpu().double())
    _write(folder, recipe, composed.x0[0], f=f, cond=cond)
    return composed


def _one(den: Denoiser, x: Tensor) -> Tensor:
    if tuple(x.shape) != den.x_shape:
        raise ShapeError(
            wanted=f"one latent of shape {den.x_shape}", got=str(tuple(x.shape)), hint="a record is of one: x[0]"
        )
    return x.contiguous()  # as it comes back from the file: in another layout convolutions round otherwise


def _write(
    folder: str | Path,
    recipe: Recipe,
    x0: Tensor,
    *,
    f: ModelMap,
    cond: Any,
    notes: Mapping[str, str] | None = None,
) -> None:
    fields = {**model_told(f, cond), **told(recipe), **({"notes": dict(notes)} if notes else {})}
    write_record(Path(folder), fields, tensors_of(recipe), x0)
