"""From what a network returns to the clean sample and the noise it implies.

With ``x = alpha x0 + sigma eps`` each prediction p fixes both (SPEC 4):

==============  ======================  ============================  ============================
prediction      p                       x0                            eps
==============  ======================  ============================  ============================
epsilon         eps                     (x - sigma p) / alpha         p
v_prediction    alpha eps - sigma x0    (alpha x - sigma p) / n       (alpha p + sigma x) / n
sample          x0                      p                             (x - alpha p) / sigma
flow            eps - x0                (x - sigma p) / (alpha+sigma) (x + alpha p) / (alpha+sigma)
==============  ======================  ============================  ============================

with ``n = alpha^2 + sigma^2`` (1 when variance preserving; ``alpha + sigma`` is 1 for a flow).
"""

from typing import Literal, cast, get_args

from torch import Tensor

from pullback.errors import NumericalError, OptionError

Prediction = Literal["epsilon", "v_prediction", "sample", "flow"]


def known_prediction(name: str) -> Prediction:
    """Return ``name`` if it is a known prediction type.

    Raises:
        OptionError: If it is not.
    """
    if name not in get_args(Prediction):
        raise OptionError(
            wanted=f"a prediction type of {', '.join(get_args(Prediction))}",
            got=f"{name!r}",
            hint="it says what the network returns: noise, velocity, clean sample, or flow velocity eps - x0",
        )
    return cast(Prediction, name)


def clean_sample(prediction: Prediction, p: Tensor, x: Tensor, alpha: float, sigma: float) -> Tensor:
    """Return the x0 implied by the network output ``p`` at ``x``, both `(B, *x_shape)`.

    Raises:
        NumericalError: If p is noise and x holds no signal (alpha = 0), so x0 is not determined.
    """
    if prediction == "epsilon":
        return (x - sigma * p) / _nonzero(alpha, "signal (abar > 0) to read x0 from predicted noise", "abar = 0")
    if prediction == "v_prediction":
        return (alpha * x - sigma * p) / (alpha**2 + sigma**2)
    return p if prediction == "sample" else (x - sigma * p) / (alpha + sigma)


def noise(prediction: Prediction, p: Tensor, x: Tensor, alpha: float, sigma: float) -> Tensor:
    """Return the eps implied by the network output ``p`` at ``x``, both `(B, *x_shape)`.

    Raises:
        NumericalError: If p is a clean sample and x holds no noise (sigma = 0).
    """
    if prediction == "sample":
        return (x - alpha * p) / _nonzero(sigma, "noise (sigma > 0) to read eps from a predicted x0", "sigma = 0")
    if prediction == "v_prediction":
        return (alpha * p + sigma * x) / (alpha**2 + sigma**2)
    return p if prediction == "epsilon" else (x + alpha * p) / (alpha + sigma)


def _nonzero(level: float, wanted: str, got: str) -> float:
    if level == 0:
        raise NumericalError(wanted=wanted, got=got, hint="take a timestep inside the schedule (t_fraction < 1 or > 0)")
    return level
