"""Two models on the same latents, as numbers: angles of their local spaces, directions only one responds to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pullback.errors import OptionError
from pullback.geometry.grassmann import principal_angles
from pullback.geometry.tangent import TangentBasis

MAX_SHARE = 0.5
"""A direction has vanished when the other model responds to it with less than half of what it should ..."""
MIN_Z = 4.0
"""... and when that is this many spreads of all directions below their median."""
SPREAD_FLOOR = 0.1
"""Of log shares: directions that agree to 10 % do not make an outlier of the next."""
NUM_BOOTSTRAP = 1000
RELATIVE_RANK = 1e-6


@dataclass(frozen=True)
class Angles:
    """Principal angles at one t, medians over samples, increasing, in radians.

    Attributes:
        t: Timestep.
        in_x: Between the two models' spans of v at the same latent.
        in_h: Between their T_h, or empty where the features differ in size. It means something only if one model was
            made out of the other: two training runs share no coordinates of h.
        other_sample: Of the first model alone, spans of v at two different latents: what a change of sample does.
        chance: Of two random spans of this rank in X.
    """

    t: float
    in_x: tuple[float, ...]
    in_h: tuple[float, ...]
    other_sample: tuple[float, ...]
    chance: tuple[float, ...]


@dataclass(frozen=True)
class Response:
    """How the other model responds to one direction of its owner.

    Attributes:
        index: Of the owner's global directions at this t.
        share: Median over samples of the ratio of the other's to the owner's `own_response`, over the median of that
            over all directions: 1 where the other model treats it as it treats the rest.
        low: 2.5 % of a bootstrap over samples.
        high: 97.5 % of it.
        z: Log share, in robust spreads of all directions.
        is_missing: Whether the other model lacks it: ``high < 1/2`` and ``z < -4``.
    """

    index: int
    share: float
    low: float
    high: float
    z: float
    is_missing: bool


def angles_between(
    a: Sequence[TangentBasis], b: Sequence[TangentBasis], *, t: float, generator: torch.Generator
) -> Angles:
    """Angles of two models' bases at the same latents, in order.

    Args:
        a: Of the first model, at two samples or more.
        b: Of the second, of the same rank.
        t: Timestep.
        generator: For the random spans.

    Raises:
        OptionError: If there is no pair of samples.
    """
    if len(a) != len(b) or len(a) < 2:
        raise OptionError(wanted="two samples or more", got=f"{len(a)} and {len(b)}", hint="raise --samples")
    va, vb = (torch.stack([basis.v.flatten(1) for basis in bases]) for bases in (a, b))
    is_alike = a[0].u.shape[1] == b[0].u.shape[1]
    ua, ub = (torch.stack([basis.u for basis in bases]) for bases in (a, b))
    random = [torch.randn(va.shape, generator=generator, dtype=torch.float64) for _ in range(2)]
    return Angles(
        t=t,
        in_x=_median(principal_angles(va, vb)),
        in_h=_median(principal_angles(ua, ub)) if is_alike else (),
        other_sample=_median(principal_angles(va, va.roll(1, 0))),
        chance=_median(principal_angles(random[0], random[1])),
    )


def own_response(pushed: Tensor) -> Tensor:
    """The part of each ``J v_i`` that the responses to all other directions do not explain: its distance to their span.

    ``|J v_i|`` itself will not do: v_i always holds a little of stronger directions, whose response outlives its own.

    Args:
        pushed: ``J v_i``, shape `(B, K, D)`.

    Returns:
        Lengths in float64, shape `(B, K)`.

    Example:
        >>> own_response(torch.tensor([[[3.0, 0.0], [4.0, 2.0]]]))
        tensor([[1.3416, 2.0000]], dtype=torch.float64)
    """
    pushed = pushed.double()
    lengths = []
    for i in range(pushed.shape[1]):
        others = torch.cat([pushed[:, :i], pushed[:, i + 1 :]], dim=1)  # (B, K - 1, D)
        _, s, right = torch.linalg.svd(others, full_matrices=False)
        known = right * (s > RELATIVE_RANK * s[:, :1].clamp_min(1e-300))[..., None]
        row = pushed[:, i : i + 1]
        lengths.append(torch.linalg.vector_norm(row - row @ known.mT @ known, dim=-1))
    return torch.cat(lengths, dim=1)


def responses(own: Tensor, other: Tensor, *, generator: torch.Generator) -> list[Response]:
    """Which directions the other model does not respond to as it does to the rest.

    Args:
        own: `own_response` of the model that the directions come from, shape `(K, B)`.
        other: The same of the other model, at the same latents along the same v.
        generator: For the bootstrap.

    Returns:
        One for each of K directions. With fewer than three nothing is ever missing: there is no rest to compare with.
    """
    tiny = torch.finfo(torch.float64).tiny
    logs = (other.double().clamp_min(tiny) / own.double().clamp_min(tiny)).log()  # (K, B)
    num = logs.shape[1]
    drawn = torch.randint(num, (NUM_BOOTSTRAP, num), generator=generator)
    centred = _centred(logs.median(dim=1).values)
    spread = max(SPREAD_FLOOR, 1.4826 * float(centred.abs().median()))
    again = _centred(logs[:, drawn].median(dim=2).values)  # (K, R)
    low, high = (torch.quantile(again, q, dim=1).exp() for q in (0.025, 0.975))
    z = centred / spread
    return [
        Response(
            index=i,
            share=float(centred[i].exp()),
            low=float(low[i]),
            high=float(high[i]),
            z=float(z[i]),
            is_missing=len(logs) >= 3 and float(high[i]) < MAX_SHARE and float(z[i]) < -MIN_Z,
        )
        for i in range(len(logs))
    ]


def _centred(logs: Tensor) -> Tensor:
    return logs - logs.median(dim=0).values


def _median(angles: Tensor) -> tuple[float, ...]:
    return tuple(angles.median(dim=0).values.tolist())
