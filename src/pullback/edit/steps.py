"""Moving a latent along a direction: one step, or x-space guidance."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pullback.errors import NumericalError, OptionError, ShapeError
from pullback.models import Denoiser
from pullback.models.schedule import Time


def one_step(x: Tensor, v: Tensor, g: float | Tensor) -> Tensor:
    """Return ``x + g v``  (2302.12469).

    Args:
        x: Latents, shape `(B, *x_shape)`.
        v: A direction in X, shape `(*x_shape)`, or one for each latent, `(B, *x_shape)`.
        g: Length of the step if v is unit; a number, or one for each latent, shape `(B,)`.

    >>> one_step(torch.zeros(2, 1, 1, 1), torch.ones(1, 1, 1), torch.tensor([1.0, -2.0])).flatten()
    tensor([ 1., -2.])

    Raises:
        ShapeError: If v does not live where x does, or g has not one value a latent.
    """
    return x + _along(x, g) * _at(x, v)


def x_guidance(
    den: Denoiser,
    x: Tensor,
    t: Time,
    v: Tensor,
    *,
    step: float = 1.0,
    weight: float | Tensor = 0.1,
    num_iterations: int = 16,
    cond: Any = None,
) -> Tensor:
    """Return x after ``x <- x + w [eps(x + d v) - eps(x)]``, repeated  (2307.12868).

    eps is the noise *implied* by the prediction, whatever the network predicts, and the guided one
    for a guided condition. Two network calls an iteration.

    Args:
        den: The model.
        x: Latents at t, shape `(B, *x_shape)`.
        t: Their timestep.
        v: Unit direction in X, shape `(*x_shape)` or `(B, *x_shape)`; -v edits the other way.
        step: d, how far ahead the noise is looked at.
        weight: w; a number, or one for each latent, shape `(B,)`. 0 changes nothing.
        num_iterations: How often.
        cond: Condition of the predictions.

    >>> from pullback.models import gaussian_denoiser
    >>> den = gaussian_denoiser()
    >>> x, v = den.draw([0]), torch.eye(4, dtype=torch.float64)[None] / 2
    >>> moved = x_guidance(den, x, 500, v) - x
    >>> bool((moved[v[None] > 0] > 0).all())
    True

    Raises:
        ShapeError: If v does not live where x does.
        NumericalError: If v is not of unit length.
        OptionError: If ``num_iterations < 0``.
    """
    if num_iterations < 0:
        raise OptionError(wanted="num_iterations >= 0", got=f"{num_iterations}", hint="use -v for the other side")
    v, weight = _unit(_at(x, v).expand_as(x)), _along(x, weight)
    for _ in range(num_iterations):
        x = x + weight * (den.eps(x + step * v, t, cond) - den.eps(x, t, cond))
    return x


@dataclass(frozen=True)
class XGuidance:
    """Settings of ``x_guidance``, and the shares of T they were published for.

    Attributes:
        step: d.
        weight: w.
        num_iterations: Repetitions.
        t_fractions: Where on the schedule.
    """

    step: float = 1.0
    weight: float = 0.1
    num_iterations: int = 16
    t_fractions: tuple[float, ...] = ()


PRESETS = {
    "celebahq-256": XGuidance(weight=0.1, num_iterations=16, t_fractions=(1.0, 0.8, 0.6)),
    "stable-diffusion-2.1-base": XGuidance(weight=1.0, num_iterations=16, t_fractions=(0.7, 0.6)),
    "stable-diffusion-2.1-base, with a prompt": XGuidance(weight=1.0, num_iterations=64, t_fractions=(0.7, 0.6)),
}
"""Published settings of x-space guidance  (2307.12868)."""


def _at(x: Tensor, v: Tensor) -> Tensor:
    if tuple(v.shape) not in (tuple(x.shape), tuple(x.shape[1:])):
        raise ShapeError(
            wanted=f"v of shape {tuple(x.shape[1:])} or {tuple(x.shape)}",
            got=f"{tuple(v.shape)}",
            hint="a direction of H becomes one of X at a sample: see vectors_at",
        )
    return v.to(x)


def _along(x: Tensor, g: float | Tensor) -> Tensor:
    """Return g with an axis for each of x's, so that it multiplies latents row by row."""
    g = torch.as_tensor(g, dtype=x.dtype, device=x.device)
    if g.ndim and tuple(g.shape) != (x.shape[0],):
        raise ShapeError(
            wanted=f"one step a latent, shape ({x.shape[0]},), or a number", got=f"{tuple(g.shape)}", hint="expand it"
        )
    return g.reshape(-1, *[1] * (x.ndim - 1)) if g.ndim else g


def _unit(v: Tensor) -> Tensor:
    length = v.flatten(1).double().norm(dim=1)
    if ((length - 1).abs() > 1e-2).any():
        raise NumericalError(
            wanted="v of unit length", got=f"|v| = {length[0]:.4g}", hint="divide it by its norm; step= sets d"
        )
    return v
