"""How far a direction may be followed before h stops answering in a straight line."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pullback.errors import OptionError, ShapeError
from pullback.geometry.jacobian import JacobianAt
from pullback.geometry.plan import Plan
from pullback.types import FeatureMap

FIRST_SHARE = 1 / 64
"""Where the search begins, as a share of the largest step."""
MAX_HALVINGS = 30
GROWTH = 2**0.5
NUM_BISECTIONS = 10


def linearity_radius(
    f: FeatureMap,
    x: Tensor,
    v: Tensor,
    *,
    tolerance: float = 0.1,
    largest: float | None = None,
    plan: Plan | None = None,
) -> Tensor:
    """The g at which ``|h(x + g v) - h - g J v|`` first reaches ``tolerance`` of ``g |J v|``.

    Beyond the first crossing the remainder may fall again by chance, so that "the largest g" would say nothing. The
    crossing is sought in steps of sqrt(2) and then halved to .1 %.

    Args:
        f: A feature map; `as_feature_map` makes one of a plain callable.
        x: One latent, shape `x_shape`.
        v: One direction `x_shape`, or m of them `(m, *x_shape)`, unit for a radius in units of x.
        tolerance: Share of the linear displacement that the remainder may have; the definition's is .1.
        largest: Where to stop looking; ``2 |x|`` by default, beyond which no latent of that t lies.
        plan: How the one product a direction is computed.

    Returns:
        Radii in float64, shape `()` or `(m,)`; ``largest`` where the map stayed linear, 0 where J v = 0. Costs one
        product and 10 to 30 encoder passes a direction.

    Raises:
        OptionError: If the tolerance or ``largest`` is not positive.
        ShapeError: If x or v does not fit f.

    Example:
        >>> from pullback.geometry import as_feature_map
        >>> f = as_feature_map(lambda x: x + x**2, torch.zeros(1, 1))
        >>> round(float(linearity_radius(f, torch.zeros(1), torch.ones(1), largest=1.0)), 3)
        0.1
    """
    largest = _largest(x) if largest is None else largest
    if not (tolerance > 0 and largest > 0):
        raise OptionError(
            wanted="tolerance > 0 and largest > 0", got=f"{tolerance} and {largest}", hint="tolerance=0.1"
        )
    jac = JacobianAt(f, x, plan=plan)
    if jac.is_batched:
        raise ShapeError(
            wanted=f"one latent of shape {jac.f.x_shape}", got=str(tuple(x.shape)), hint="ask for one sample at a time"
        )
    x = jac.x
    rows = (v if v.ndim > x.ndim else v[None]).to(x)
    push = jac.jvp(rows).double()  # (m, D)
    h = jac.h.double()

    @torch.no_grad()
    def is_linear(g: Tensor) -> Tensor:
        ends = jac.f(x + g.to(x).reshape(-1, *[1] * x.ndim) * rows).flatten(1).double()
        size = g.to(push) * torch.linalg.vector_norm(push, dim=1)
        rest = torch.linalg.vector_norm(ends - h - g.to(push)[:, None] * push, dim=1)
        return ((rest < tolerance * size) & (size > 0)).cpu()

    low, high = _bracket(is_linear, len(rows), largest)
    for _ in range(NUM_BISECTIONS):
        middle = (low * high).sqrt()
        holds = is_linear(middle)
        low, high = torch.where(holds, middle, low), torch.where(holds, high, middle)
    return low if v.ndim > x.ndim else low[0]


def _bracket(is_linear: Callable[[Tensor], Tensor], num: int, largest: float) -> tuple[Tensor, Tensor]:
    """The last g that held and the first that did not, each `(m,)`; equal where nothing is left to seek."""
    low = torch.full((num,), largest * FIRST_SHARE, dtype=torch.float64)
    holds = is_linear(low)
    for _ in range(MAX_HALVINGS):
        if bool(holds.all()):
            break
        low = torch.where(holds, low, low / 2)
        holds = is_linear(low)
    low = torch.where(holds, low, 0.0)
    high, is_open = low.clone(), holds
    while bool(is_open.any()):
        trial = torch.where(is_open, (low * GROWTH).clamp_max(largest), low)
        still = is_linear(trial) & is_open
        high = torch.where(is_open, trial, high)
        low = torch.where(still, trial, low)
        is_open = still & (low < largest)
    return low, high


def _largest(x: Tensor) -> float:
    length = float(torch.linalg.vector_norm(x.double()))
    return 2 * length if length > 0 else 2 * math.sqrt(x.numel())
