"""Which way leads from an edited latent to its picture."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from pullback.directions.masks import Mask
from pullback.edit.masked import denoise_masked
from pullback.edit.window import Boost, denoise_boosted
from pullback.errors import OptionError
from pullback.models import Denoiser, denoise
from pullback.models.schedule import Time

Walk = Callable[[Tensor, Tensor], Tensor]  # edited latents and their unedited ones, `(B, *x_shape)`, to x0


def walk_of(den: Denoiser, t: Time, mask: Mask | None, boost: Boost | None, num_steps: int, cond: Any) -> Walk:
    """Return the way from latents at t to clean samples: plain DDIM, or with a mask in x0, or with a boost.

    Raises:
        OptionError: If both a mask and a boost are asked for.
    """
    if mask is not None and boost is not None:
        raise OptionError(wanted="a mask in x0 or a boost", got="both", hint='mask_in="x" goes together with a boost')
    if mask is not None:
        return lambda x, plain: denoise_masked(den, x, plain, t, mask, num_steps=num_steps, cond=cond)
    if boost is not None:
        return lambda x, plain: denoise_boosted(den, x, t, boost=boost, num_steps=num_steps, cond=cond)
    return lambda x, plain: denoise(den, x, t, num_steps=num_steps, cond=cond)
