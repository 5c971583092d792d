"""Deterministic walks between latents and clean samples: DDIM (2010.02502) and its inversion.

One step from t to s re-mixes what the model sees in x_t:
``x_s = alpha_s x0(x_t) + sigma_s eps(x_t)``; for a flow this is an Euler step. Guided conditions
walk with the guided prediction.
"""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pullback.errors import OptionError
from pullback.models.schedule import Time

if TYPE_CHECKING:
    from pullback.models.denoiser import Denoiser

FIXED_POINT_ITERATIONS = 3
"""Of `invert` where a picture is edited: plain inversion errs by more than many an edit."""


@torch.no_grad()
def denoise(
    den: "Denoiser",
    x: Tensor,
    t: Time,
    *,
    num_steps: int = 20,
    cond: Any = None,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
    until: Time | None = None,
) -> Tensor:
    """Return x0, or x_s for ``until=s``, from x at t; one network call a step.

    Args:
        den: The model.
        x: Latents at t, `(B, *x_shape)`.
        t: Their timestep.
        num_steps: Steps between t and the end; see ``Schedule.steps`` for their places.
        cond: Condition; None for none.
        eta: 0 is deterministic; 1 puts back as much noise as DDPM would.
        generator: For ``eta > 0``, on the CPU.
        until: Last timestep; None for the clean end.

    >>> from pullback.models import gaussian_denoiser
    >>> den = gaussian_denoiser()
    >>> denoise(den, den.draw([0, 1]), 999, num_steps=10).shape
    torch.Size([2, 1, 4, 4])

    Raises:
        OptionError: If ``eta`` is outside [0, 1], or positive without a generator.
        ShapeError, NumericalError: If x is no finite batch of latents.
    """
    if not 0 <= eta <= 1 or (eta > 0 and generator is None):
        raise OptionError(
            wanted="eta in [0, 1], with a generator if positive",
            got=f"eta = {eta}, generator = {generator}",
            hint="eta=0 needs none",
        )
    x = den.check_finite(x)
    for here, there in den.schedule.steps(t, num_steps, until):
        x = _step(den, x, here, there, cond, eta, generator)
    return x


def _step(
    den: "Denoiser", x: Tensor, t: Time, s: Time | None, cond: Any, eta: float, generator: torch.Generator | None
) -> Tensor:
    x0, eps = den.x0_and_eps(x, t, cond)
    (alpha, sigma), (alpha_s, sigma_s) = den.amounts(t), den.amounts(s)
    fresh = eta * posterior_std(alpha, sigma, alpha_s, sigma_s)
    x = alpha_s * x0 + math.sqrt(sigma_s**2 - fresh**2) * eps
    if fresh > 0:
        x = x + fresh * torch.randn(x.shape, generator=generator).to(x)
    return x


def posterior_std(alpha: float, sigma: float, alpha_s: float, sigma_s: float) -> float:
    """Return the deviation of x_s given x_t and x0: ``sigma_s sqrt(1 - (alpha sigma_s / alpha_s sigma)^2)``."""
    if sigma == 0:
        return 0.0
    return sigma_s * math.sqrt(max(0.0, 1 - (alpha * sigma_s / (alpha_s * sigma)) ** 2))


@torch.no_grad()
def invert(
    den: "Denoiser",
    x0: Tensor,
    t: Time,
    *,
    num_steps: int = 100,
    cond: Any = None,
    fixed_point_iterations: int = 0,
) -> Tensor:
    """Return the x_t that ``denoise`` with the same ``num_steps`` takes (nearly) back to x0.

    A step up from s to t solves ``x_t = (alpha_t / alpha_s) x_s + (sigma_t - alpha_t sigma_s / alpha_s)
    eps(x_t, t)``, which undoes a step of ``denoise`` exactly. Plain inversion puts x_s in place
    of the unknown x_t inside eps; its error falls as 1 / num_steps. Each fixed-point iteration puts
    in the last x_t instead and costs one more call a step.

    >>> from pullback.models import gaussian_denoiser
    >>> den = gaussian_denoiser()
    >>> x0 = den.network.mean[None]
    >>> x = invert(den, x0, 500, num_steps=20, fixed_point_iterations=20)
    >>> bool(torch.allclose(denoise(den, x, 500, num_steps=20), x0, atol=1e-3))
    True

    Raises:
        OptionError: If ``fixed_point_iterations < 0``.
        ShapeError, NumericalError: If x0 is no finite batch of clean samples.
    """
    if fixed_point_iterations < 0:
        raise OptionError(
            wanted="fixed_point_iterations >= 0", got=f"{fixed_point_iterations}", hint="0 is plain DDIM inversion"
        )
    x = den.check_finite(x0)
    for above, below in reversed(den.schedule.steps(t, num_steps)):
        (alpha_s, sigma_s), (alpha, sigma) = den.amounts(below), den.amounts(above)
        start, guess = x, x
        for _ in range(1 + fixed_point_iterations):
            eps = den.eps(guess, above, cond)
            guess = alpha / alpha_s * start + (sigma - alpha * sigma_s / alpha_s) * eps
        x = guess
    return x
