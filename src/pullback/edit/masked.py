"""Edits that stay inside a mask: in x by the direction, in x0 by the walk."""

from typing import Any

import torch
from torch import Tensor

from pullback.directions.masks import Mask, mask_at
from pullback.errors import NumericalError, ShapeError
from pullback.models import Denoiser
from pullback.models.schedule import Time


def masked_vectors(v: Tensor, mask: Mask) -> Tensor:
    """Return ``M v``, scaled to unit length: v `(..., C, H, W)` that moves x inside the mask alone.

    >>> from pullback.directions.masks import Rectangle
    >>> masked_vectors(torch.ones(1, 1, 2, 2), Rectangle(0, 0, 1, 0.5)).flatten()
    tensor([0.7071, 0.0000, 0.7071, 0.0000])

    Raises:
        ShapeError, OptionError: If the mask does not fit, or is empty.
        NumericalError: If v has no part inside.
    """
    inside = mask_at(mask, v.shape[-3:]).to(v) * v
    length = torch.linalg.vector_norm(inside, dim=(-3, -2, -1), keepdim=True)
    if not bool((length > 0).all()):
        raise NumericalError(wanted="a direction with a part inside the mask", got="none", hint="mask another place")
    return inside / length


@torch.no_grad()
def denoise_masked(
    den: Denoiser, x: Tensor, unedited: Tensor, t: Time, mask: Mask, *, num_steps: int = 20, cond: Any = None
) -> Tensor:
    """Return x0 `(B, *x_shape)` of edited latents at t whose outside is that of the unedited ones' x0, exactly.

    Both walk side by side; at each step the edited one's x0-prediction takes its outside from the other's:
    ``x0 <- M x0(edited) + (1 - M) x0(unedited)``, and so does eps.

    Args:
        den: The model.
        x: Edited latents at t, `(B, *x_shape)`.
        unedited: Their originals, same shape.
        t: Their timestep.
        mask: In x0.
        num_steps: DDIM steps.
        cond: Condition.

    >>> from pullback.directions.masks import Rectangle
    >>> from pullback.models import gaussian_denoiser
    >>> den = gaussian_denoiser()
    >>> x, y = den.draw([0]), den.draw([1])
    >>> done = denoise_masked(den, y, x, 600, Rectangle(0, 0, 0.5, 1), num_steps=4)
    >>> from pullback.models import denoise
    >>> bool(torch.allclose(done[:, :, 2:], denoise(den, x, 600, num_steps=4)[:, :, 2:], atol=1e-12))
    True

    Raises:
        ShapeError, NumericalError, OptionError: If latents or mask do not fit.
    """
    if x.shape != unedited.shape:
        raise ShapeError(
            wanted=f"unedited latents of shape {tuple(x.shape)}", got=str(tuple(unedited.shape)), hint="repeat them"
        )
    inside = mask_at(mask, den.x_shape).to(x)
    both = den.check_finite(torch.cat([x, unedited]))
    for here, there in den.schedule.steps(t, num_steps):
        parts = []
        for prediction in den.x0_and_eps(both, here, cond):
            edited, plain = prediction.chunk(2)
            parts.append(torch.cat([inside * edited + (1 - inside) * plain, plain]))
        alpha, sigma = den.amounts(there)
        both = alpha * parts[0] + sigma * parts[1]
    return both.chunk(2)[0]
