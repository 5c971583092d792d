"""Which way leads from an edited latent to its picture."""

from collections.abc import Callable
from typing import Any, Literal, get_args

from torch import Tensor

from pullback.directions.masks import Mask
from pullback.edit.masked import denoise_masked
from pullback.edit.window import Boost, denoise_boosted
from pullback.errors import OptionError
from pullback.models import Denoiser, denoise, denoise_multistep
from pullback.models.schedule import Time

Solver = Literal["ddim", "multistep"]
Walk = Callable[[Tensor, Tensor], Tensor]  # edited latents and their unedited ones, `(B, *x_shape)`, to x0


def walk_of(
    den: Denoiser,
    t: Time,
    mask: Mask | None,
    boost: Boost | None,
    num_steps: int,
    cond: Any,
    solver: Solver = "ddim",
) -> Walk:
    """Return the way from latents at t to clean samples: plain, or DDIM with a mask in x0, or with a boost.

    Raises:
        OptionError: If both a mask and a boost are asked for, or either with another solver than DDIM.
    """
    if solver not in get_args(Solver) or (solver != "ddim" and (mask is not None or boost is not None)):
        raise OptionError(
            wanted="solver ddim, or multistep without a mask in x0 and without a boost",
            got=repr(solver),
            hint="ddim goes with everything",
        )
    if mask is not None and boost is not None:
        raise OptionError(wanted="a mask in x0 or a boost", got="both", hint='mask_in="x" goes together with a boost')
    if mask is not None:
        return lambda x, plain: denoise_masked(den, x, plain, t, mask, num_steps=num_steps, cond=cond)
    if boost is not None:
        return lambda x, plain: denoise_boosted(den, x, t, boost=boost, num_steps=num_steps, cond=cond)
    if solver == "multistep":
        return lambda x, plain: denoise_multistep(den, x, t, num_steps=num_steps, cond=cond)
    return lambda x, plain: denoise(den, x, t, num_steps=num_steps, cond=cond)
