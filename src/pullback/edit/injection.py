"""h-space injection: the direction added to h itself while the network runs, with no Jacobian at edit time."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from pullback.directions.masks import Mask, mask_at
from pullback.edit.apply import SomeDirection
from pullback.edit.batches import in_chunks
from pullback.edit.scale import typical_distance
from pullback.edit.vectors import check_origin
from pullback.edit.window import Window
from pullback.errors import MismatchError, OptionError, ShapeError
from pullback.models import Denoiser, NetworkFeatureMap
from pullback.models.layers import pool_window
from pullback.models.output_map import rewritten
from pullback.models.schedule import Time
from pullback.types import FeatureMap, Pool

Mode = Literal["symmetric", "asymmetric"]
SHARE = 0.1
"""Scale 1 moves h by this part of the median distance between samples, as for every edit."""


@dataclass(frozen=True, eq=False)
class Injected:
    """Clean samples, one for each scale.

    Attributes:
        x0: Shape `(..., S, *x_shape)`, with a leading B if a batch of latents was given.
        amount: Length of what was added to h at scale 1.
        scale: The S scales.
        num_steps_injected: Steps of the walk that saw it.
    """

    x0: Tensor
    amount: float
    scale: tuple[float, ...]
    num_steps_injected: int


@torch.no_grad()
def inject(
    den: Denoiser,
    x: Tensor,
    t: Time,
    direction: SomeDirection,
    scale: Sequence[float],
    *,
    f: NetworkFeatureMap,
    mode: Mode = "symmetric",
    window: Window | None = None,
    mask: Mask | None = None,
    distance: float | None = None,
    num_steps: int = 20,
    cond: Any = None,
    chunk: int = 64,
    allow_mismatch: bool = False,
) -> Injected:
    """Denoise latents while ``c u`` is added to h, by a hook on the feature layer.

    * ``"symmetric"``: x0 and eps both come from the changed network.
    * ``"asymmetric"``, of Asyrp: only the predicted x0 sees it; eps stays that of the unchanged network, so that
      ``x_s = alpha_s x0(h + c u) + sigma_s eps(h)``. Two network calls a step of the window.

    A pooled u is spread evenly over the positions that were summed, so that the pooled h moves by exactly ``c u``. It
    is the only way to apply directions that live in H and have no J: PCA of h, the decoder's.

    Args:
        den: The model.
        x: Latents at t, `(*x_shape)` or `(B, *x_shape)`.
        t: Their timestep, where the walk starts.
        direction: Of H.
        scale: S numbers; 1 moves h by a tenth of ``distance``.
        f: The feature map of the direction; its layer gets the hook.
        mode: ``"symmetric"`` or ``"asymmetric"``.
        window: Steps that see it; all of them if None.
        mask: In h, for an unpooled h of shape (C, H, W): the places that move.
        distance: ``typical_distance`` at t; measured on 16 fresh latents if None.
        num_steps: DDIM steps from t to the picture.
        cond: Condition of all predictions; with a guided one both passes see the change.
        chunk: Rows in one network call.
        allow_mismatch: Whether a direction of another model, layer, t, pool or condition may be used.

    >>> from pullback.directions import random_h
    >>> from pullback.models import toy_denoiser
    >>> den = toy_denoiser()
    >>> f = den.feature_map(t=600)
    >>> inject(den, den.draw([0])[0], 600, random_h(f, rank=1)[0], [0, 1], f=f, distance=5.0, num_steps=3).x0.shape
    torch.Size([2, 3, 8, 8])

    Raises:
        MismatchError: If direction and feature map do not belong together.
        OptionError: If the mode is unknown, the mask is empty, there is no scale, or no step lies in the window.
        ShapeError, NumericalError: If the direction is not one of H, the mask does not fit, or x is no finite batch.
    """
    window = window or Window()
    batch = den.check_finite(x if x.ndim > len(den.x_shape) else x[None])
    f = of_a_layer(f)
    num_injected = _check(den, t, direction, scale, mode, window, num_steps)
    if not allow_mismatch:
        check_origin([direction.origin], f, t)
    change = spread(direction.vector, den, f)
    change = change if mask is None else change * mask_at(mask, change.shape).to(change)
    if distance is None:
        distance = typical_distance(f, den.sample_latent(t=t, seeds=range(16), cond=cond), chunk=chunk)
    amount = SHARE * distance
    layer = dict(den.network.named_modules())[f.layer]
    c = amount * torch.tensor(list(scale), dtype=change.dtype, device=change.device)
    rows = batch[:, None].expand(-1, len(scale), *den.x_shape).flatten(0, 1)  # (BS, *x_shape)
    added_rows = (c.reshape(-1, *[1] * change.ndim) * change).repeat(len(batch), *[1] * change.ndim)

    def run(part: Tensor, delta: Tensor) -> Tensor:
        return _walk(den, part, t, delta, layer, mode, window, num_steps, cond)

    x0 = in_chunks(run, rows, added_rows, chunk=chunk).unflatten(0, (len(batch), len(scale)))
    return Injected(x0 if x.ndim > len(den.x_shape) else x0[0], amount, tuple(map(float, scale)), num_injected)


def added(layer: nn.Module, delta: Tensor) -> AbstractContextManager[None]:
    """Scope in which ``delta`` `(B, ...)` is added to what ``layer`` outputs, on this thread.

    A batch of m B rows, as guided predictions make, gets it m times over.
    """
    return rewritten(layer, lambda h: h + delta.to(h).repeat(len(h) // len(delta), *[1] * (h.ndim - 1)))


def of_a_layer(f: FeatureMap) -> NetworkFeatureMap:
    """Return the map, if it is that of a layer: h can be changed nowhere else.

    Raises:
        MismatchError: If it is another, such as one to eps or x0.
    """
    if not isinstance(f, NetworkFeatureMap):
        raise MismatchError(
            wanted="the feature map of a layer, whose h the injection changes",
            got=f"a map to {f.origin.get('layer', 'something else')}",
            hint="f = den.feature_map(t=t); directions of eps and x0 are applied by edits",
        )
    return f


def spread(u: Tensor, den: Denoiser, f: NetworkFeatureMap) -> Tensor:
    """Return the least change of the unpooled h that moves the pooled one by u: in the layer's own shape.

    Raises:
        ShapeError: If u is not of f's H.
    """
    if tuple(u.shape) != (math.prod(f.h_shape),):
        raise ShapeError(
            wanted=f"a direction of H, shape ({math.prod(f.h_shape)},)",
            got=str(tuple(u.shape)),
            hint="is it of this layer and pool? directions of X are added to x: see edit",
        )
    shape = den.feature_map(t=f.t, layer=f.layer, cond=f.cond).h_shape
    return _unpooled(u.reshape(f.h_shape), shape, f.pool).to(den.device, den.dtype)


def _unpooled(u: Tensor, shape: tuple[int, ...], pool: Pool) -> Tensor:
    if pool == "none":
        return u
    if pool == "sum":  # u is (C,): positions are the last two axes of a map, the first of tokens
        places = shape[1] * shape[2] if len(shape) == 3 else shape[0]
        return (u[:, None, None] if len(shape) == 3 else u).expand(shape) / places
    size = pool_window(pool)
    return u.repeat_interleave(size, 1).repeat_interleave(size, 2) / size**2


def _walk(
    den: Denoiser,
    x: Tensor,
    t: Time,
    delta: Tensor,
    layer: nn.Module,
    mode: Mode,
    window: Window,
    num_steps: int,
    cond: Any,
) -> Tensor:
    for here, there in den.schedule.steps(t, num_steps):
        is_inside = window.holds(den.schedule.fraction(here))
        with added(layer, delta) if is_inside else nullcontext():
            x0, eps = den.x0_and_eps(x, here, cond)
        if is_inside and mode == "asymmetric":
            eps = den.eps(x, here, cond)
        alpha, sigma = den.amounts(there)
        x = alpha * x0 + sigma * eps
    return x


def _check(
    den: Denoiser,
    t: Time,
    direction: SomeDirection,
    scale: Sequence[float],
    mode: str,
    window: Window,
    num_steps: int,
) -> int:
    """Return how many steps of the walk lie in the window."""
    if direction.space != "H":
        raise ShapeError(
            wanted="a direction of H", got=f"one of {direction.space}", hint="directions of X are added to x: see edit"
        )
    inside = sum(window.holds(den.schedule.fraction(here)) for here, _ in den.schedule.steps(t, num_steps))
    if mode not in get_args(Mode) or not scale or not inside:
        raise OptionError(
            wanted=f"mode {' or '.join(get_args(Mode))}, a scale, and a step of the walk inside the window",
            got=f"{mode!r}, {len(scale)} scales, {inside} steps inside",
            hint="Window() holds every step",
        )
    return inside
