"""Normalisation of an edit against colour and contrast drift  (2302.12469)."""

import warnings
from typing import Any, Literal, get_args

from torch import Tensor

from pullback.errors import NormalisationWarning, NumericalError, OptionError, ShapeError
from pullback.models import Denoiser, FlowSchedule
from pullback.models.schedule import Schedule, Time

Anchor = Literal["original", "edited"]
Per = Literal["all", "channel"]
KAPPA = 0.99


def normalise(
    den: Denoiser,
    x: Tensor,
    y: Tensor,
    t: Time,
    *,
    anchor: Anchor = "original",
    per: Per = "all",
    kappa: float = KAPPA,
    cond: Any = None,
    x0: Tensor | None = None,
) -> Tensor:
    """Return the edited latent y moved so that its x0-prediction has the moments of x's.

    With x0' = the x0-prediction at y, its mean and standard deviation set to those of x0(x), and
    ``c = sqrt(abar) / (1 - kappa sqrt(1 - abar))``, which holds to first order where
    grad eps ~ kappa I:

    - ``anchor="original"``, the paper's: ``x' = x + c (x0' - x0(x))``. It stands on the unedited x,
      and changes also an edit that needs no repair.
    - ``anchor="edited"``: ``x' = y + c (x0' - x0(y))``, which leaves such an edit alone.

    For a flow, ``c = 1 / (1 - kappa sigma)`` (there grad u ~ kappa I); for Karras levels the
    variance preserving c at the same signal to noise, in the scale of x.

    Args:
        den: The model; one network call for y, and one for x unless ``x0`` is given.
        x: Unedited latents at t, shape `(B, *x_shape)`.
        y: Edited ones, same shape.
        t: Their timestep.
        anchor: ``"original"`` or ``"edited"``.
        per: Moments over all values of a sample, or over each channel (removes colour edits).
        kappa: How nearly eps follows x, 0 to below 1.
        cond: Condition of the predictions.
        x0: The x0-prediction at x, if it is known already.

    >>> from pullback.models import gaussian_denoiser
    >>> den = gaussian_denoiser()
    >>> x, y = den.draw([0]), den.draw([1])
    >>> normalise(den, x, y, 500, anchor="edited").shape
    torch.Size([1, 1, 4, 4])

    Raises:
        ShapeError: If x and y differ in shape.
        OptionError: If anchor, per or kappa is not on the list.
        NumericalError: If abar is 0, where x0 is not determined. Below 1e-3 it warns.
    """
    _check(x, y, anchor, per, kappa)
    factor = _factor(den.schedule, t, kappa)
    x0 = den.x0(x, t, cond) if x0 is None else x0
    x0_edited = den.x0(y, t, cond)
    wanted = match_moments(x0_edited, x0, per=per)
    return x + factor * (wanted - x0) if anchor == "original" else y + factor * (wanted - x0_edited)


def match_moments(sample: Tensor, reference: Tensor, *, per: Per = "all") -> Tensor:
    """Return ``sample`` with the mean and standard deviation of ``reference``, row by row.

    Both `(B, *x_shape)`. A constant sample has no contrast to scale and gets the mean alone.

    >>> import torch
    >>> match_moments(torch.tensor([[0.0, 1.0]]), torch.tensor([[3.0, 7.0]]))
    tensor([[3., 7.]])
    """
    axes = tuple(range(1 if per == "all" else 2, sample.ndim))
    mean, mean_wanted = sample.mean(axes, keepdim=True), reference.mean(axes, keepdim=True)
    deviation = sample.std(axes, correction=0, keepdim=True)
    ratio = reference.std(axes, correction=0, keepdim=True) / deviation.where(deviation > 0, deviation + 1)
    return (sample - mean) * ratio + mean_wanted


def _factor(schedule: Schedule, t: Time, kappa: float) -> float:
    alpha, sigma, abar = schedule.alpha(t), schedule.sigma(t), schedule.abar(t)
    if abar == 0 and not isinstance(schedule, FlowSchedule):
        raise NumericalError(wanted="abar > 0 at t", got=f"abar = 0 at t = {t}", hint="edit at a smaller t_fraction")
    if abar < 1e-3:
        warnings.warn(
            f"normalisation at t = {t} stands on an x0-prediction from {abar:.1e} of signal (abar); "
            "below 1e-3 its colours are hardly determined: edit at a smaller t_fraction, or without it",
            NormalisationWarning,
            stacklevel=3,
        )
    if isinstance(schedule, FlowSchedule):
        return 1 / (1 - kappa * sigma)
    return alpha / (1 - kappa * sigma / (alpha**2 + sigma**2) ** 0.5)


def _check(x: Tensor, y: Tensor, anchor: str, per: str, kappa: float) -> None:
    if x.shape != y.shape:
        raise ShapeError(
            wanted=f"y of x's shape {tuple(x.shape)}", got=f"{tuple(y.shape)}", hint="repeat x for each edit of it"
        )
    for name, value, known in (("anchor", anchor, get_args(Anchor)), ("per", per, get_args(Per))):
        if value not in known:
            raise OptionError(wanted=f"{name} {' or '.join(known)}", got=f"{value!r}", hint="see normalise")
    if not 0 <= kappa < 1:
        raise OptionError(wanted="kappa in [0, 1)", got=f"{kappa}", hint="the published constant is 0.99")
