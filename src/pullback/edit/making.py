"""Frames made by a recipe: the first time and every time after."""

from typing import Any

from torch import Tensor

from pullback.edit.apply import Edited, edit
from pullback.edit.composition import Composed, compose
from pullback.edit.injection import Injected, inject, of_a_layer
from pullback.edit.recipe import CompositionOptions, EditOptions, InjectionOptions, Recipe, WindowOptions
from pullback.edit.steps import XGuidance
from pullback.edit.vectors import check_origin
from pullback.edit.window import Boost, Window, edit_in_window
from pullback.errors import OptionError
from pullback.models import Denoiser
from pullback.models.output_map import ModelMap, map_of
from pullback.models.schedule import Time


def frames_by(den: Denoiser, recipe: Recipe, *, f: ModelMap, cond: Any = None) -> Tensor:
    """Return the clean samples of a recipe whose units are known, `(S, *x_shape)`.

    Raises:
        MismatchError, OptionError, ShapeError, NumericalError: As the way of the recipe.
    """
    if recipe.way == "injection":
        return make_injection(den, recipe, f=f, cond=cond).x0
    if recipe.way == "window":
        return make_window(den, recipe, f=f, cond=cond)
    if recipe.way == "composition":
        return make_composition(den, recipe, f=f, cond=cond).x0[0]
    return make_edit(den, recipe, f=f, cond=cond).x0


def make_edit(den: Denoiser, recipe: Recipe, *, f: ModelMap, distance: float | None = None, cond: Any = None) -> Edited:
    """Return what `edit` makes of a recipe; without a unit in it, it is calibrated by ``distance``."""
    options = recipe.options
    assert isinstance(options, EditOptions)
    return edit(
        den,
        recipe.x,
        _t_of(f),
        recipe.directions[0],
        recipe.scale,
        f=f,
        method=options.method,
        normalise=options.normalise,
        guidance=XGuidance(step=options.guidance_step, num_iterations=options.guidance_iterations),
        unit=None if recipe.unit is None else float(recipe.unit),
        distance=distance,
        mask=recipe.mask,
        mask_in=options.mask_in,
        boost=Boost(options.boost_share, options.boost_seed) if options.boost_share > 0 else None,
        solver=options.solver,
        num_steps=options.num_steps,
        cond=cond,
        allow_mismatch=options.allow_mismatch,
    )


def make_injection(den: Denoiser, recipe: Recipe, *, f: ModelMap, cond: Any = None) -> Injected:
    """Return what `inject` makes of a recipe."""
    options = recipe.options
    assert isinstance(options, InjectionOptions)
    return inject(
        den,
        recipe.x,
        _t_of(f),
        recipe.directions[0],
        recipe.scale,
        f=of_a_layer(f),
        mode=options.mode,
        window=Window(options.window_start, options.window_end),
        mask=recipe.mask,
        distance=options.distance,
        num_steps=options.num_steps,
        cond=cond,
        allow_mismatch=options.allow_mismatch,
    )


def make_window(den: Denoiser, recipe: Recipe, *, f: ModelMap, cond: Any = None) -> Tensor:
    """Return what `edit_in_window` makes of a recipe, `(S, *x_shape)`: all lengths side by side."""
    options, t = recipe.options, _t_of(f)
    assert isinstance(options, WindowOptions)
    if not recipe.scale:
        raise OptionError(wanted="at least one length of a step", got="none", hint="lengths=[0, 0.5] is a start")
    if not options.allow_mismatch:
        check_origin([recipe.directions[0].origin], f, t)
    return edit_in_window(
        den,
        recipe.x.expand(len(recipe.scale), *den.x_shape),
        t,
        recipe.directions[0],
        recipe.scale,
        f_at=lambda here: map_of(den, {**f.origin, "t": here}, cond=cond),
        window=Window(options.window_start, options.window_end),
        num_steps=options.num_steps,
        cond=cond,
        allow_mismatch=options.allow_mismatch,
    )


def make_composition(
    den: Denoiser, recipe: Recipe, *, f: ModelMap, distance: float | None = None, cond: Any = None
) -> Composed:
    """Return what `compose` makes of a recipe, a batch of one; without units in it, they are calibrated."""
    options = recipe.options
    assert isinstance(options, CompositionOptions)
    return compose(
        den,
        recipe.x[None],
        _t_of(f),
        recipe.directions,
        recipe.scale,
        f=f,
        without=recipe.without,
        unit=None if recipe.unit is None else recipe.unit[:, None],
        distance=distance,
        num_steps=options.num_steps,
        cond=cond,
        allow_mismatch=options.allow_mismatch,
    )


def _t_of(f: ModelMap) -> Time:
    assert f.t is not None  # the map of a denoiser has its t
    return f.t
