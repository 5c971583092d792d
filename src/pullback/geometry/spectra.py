"""What a spectrum of singular values says: how many directions count, and how evenly."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from pullback.errors import NumericalError, OptionError, RankError
from pullback.geometry.totals import Total


class RankRule(NamedTuple):
    """The smallest rank that holds the wanted share, with its interval.

    A bound is None where the singular values at hand do not reach the share.
    """

    rank: int | None
    low: int | None
    high: int | None
    share: float


def effective_rank(s: Tensor) -> Tensor:
    """``exp(-sum p log p)`` with ``p = s^2 / sum s^2``: k for k equal values  (Roy and Vetterli 2007, on s^2).

    Args:
        s: Singular values, shape `(..., k)`, of the same cut of every spectrum that is to be compared.

    Returns:
        From 1 to k in float64, shape `(...)`; 0 for a zero spectrum.

    Raises:
        NumericalError: If a value is negative or not finite.

    Example:
        >>> round(float(effective_rank(torch.tensor([2.0, 2.0, 0.0]))), 6)
        2.0
    """
    p = _shares(s)
    entropy = -torch.special.xlogy(p, p).sum(-1)
    return torch.where(p.sum(-1) > 0, entropy.exp(), 0.0)


def participation_ratio(s: Tensor) -> Tensor:
    """``(sum s^2)^2 / sum s^4``: k for k equal values, and less swayed by a long tail than `effective_rank`.

    Args:
        s: Singular values, shape `(..., k)`.

    Returns:
        From 1 to k in float64, shape `(...)`; 0 for a zero spectrum.

    Raises:
        NumericalError: If a value is negative or not finite.

    Example:
        >>> round(float(participation_ratio(torch.tensor([3.0, 3.0, 3.0]))), 6)
        3.0
    """
    squares = _shares(s).square().sum(-1)
    return torch.where(squares > 0, 1 / squares.clamp_min(1e-300), 0.0)


def rank_rule(s: Tensor, *, share: float = 0.5, power: Literal[1, 2] = 2, total: Total | None = None) -> RankRule:
    """The smallest k with ``sum_{i <= k} s_i^power >= share * total``  (2302.12469).

    Whether the paper sums s or s^2 is not certain: ``power=2`` (eigenvalues of J^T J) is the default, ``power=1`` the
    other reading.

    Args:
        s: Singular values, decreasing, shape `(k,)`: all of them if ``total`` is None.
        share: The published value is .5.
        power: 1 or 2.
        total: Estimate of the sum over all singular values, as `total_squares` (power 2) or `total_values` (power 1)
            make it, when s holds only the largest.

    Returns:
        The rank with its interval (all three equal without ``total``).

    Raises:
        OptionError: If share is not in (0, 1], or power is another.
        RankError: If s is not one decreasing list.
        NumericalError: If a value is negative or not finite.

    Example:
        >>> rank_rule(torch.tensor([2.0, 1.0, 1.0, 1.0])).rank
        1
        >>> rank_rule(torch.tensor([2.0, 1.0, 1.0, 1.0]), power=1).rank
        2
    """
    if not 0 < share <= 1 or power not in (1, 2):
        raise OptionError(wanted="a share in (0, 1] and power 1 or 2", got=f"{share} and {power}", hint="share=0.5")
    s = _checked(s)
    if s.ndim != 1 or bool((s.diff() > 1e-6 * s[:1]).any()):
        raise RankError(
            wanted="one decreasing list of singular values", got=f"shape {tuple(s.shape)}", hint="take basis.s of one x"
        )
    sums = (s**power).cumsum(0)
    whole = float(sums[-1]) if len(s) else 0.0
    bounds = (whole, whole, whole) if total is None else (total.value, total.low, total.high)
    ranks = [_first(sums, share * bound) for bound in bounds]
    return RankRule(ranks[0], ranks[1], ranks[2], share)


def _first(sums: Tensor, goal: float) -> int | None:
    """Least k whose sum reaches the goal, but for rounding; 0 for a zero spectrum, None if none does."""
    if goal <= 0:
        return 0
    reached = sums >= goal * (1 - 1e-12)
    return int(reached.int().argmax()) + 1 if bool(reached.any()) else None


def _shares(s: Tensor) -> Tensor:
    squares = _checked(s).square()
    whole = squares.sum(-1, keepdim=True)
    return torch.where(whole > 0, squares / whole.clamp_min(1e-300), 0.0)


def _checked(s: Tensor) -> Tensor:
    s = s.detach().to("cpu", torch.float64)
    if not bool((s.isfinite() & (s >= 0)).all()):
        raise NumericalError(
            wanted="singular values, finite and at least 0", got="another value", hint="take the s of a basis"
        )
    return s
