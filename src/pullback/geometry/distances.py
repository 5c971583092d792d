"""Maps of distances: between samples at one t, and between timesteps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pullback.errors import OptionError
from pullback.geometry.compare import comparable
from pullback.geometry.grassmann import geodesic_distance
from pullback.geometry.tangent import TangentBasis


def distance_map(bases: Sequence[TangentBasis], *, may_differ: Collection[str] = ()) -> Tensor:
    """Geodesic distances of all pairs of T_h: symmetric, zeros on the diagonal.

    Args:
        bases: Tangent bases of two or more samples, of one map and rank.
        may_differ: What of their origin is compared, such as ``{"t"}`` for a map of timesteps.

    Returns:
        Radians in float64, shape `(B, B)`.

    Raises:
        OptionError, MismatchError, RankError, ShapeError: As `comparable`.

    Example:
        >>> from pullback.testing import UnitMap
        >>> from pullback.geometry import JacobianAt, top_singular
        >>> basis = top_singular(JacobianAt(UnitMap(3), torch.eye(3).double()), 2)
        >>> distance_map([basis])[0] / torch.pi
        tensor([0.0000, 0.5000, 0.5000], dtype=torch.float64)
    """
    u = comparable(bases, may_differ=may_differ)
    num = len(u)
    found = torch.zeros(num, num, dtype=torch.float64)
    for i in range(num - 1):
        found[i, i + 1 :] = geodesic_distance(u[i].expand(num - i - 1, -1, -1), u[i + 1 :]).cpu()
    return found + found.mT


@dataclass(frozen=True, eq=False)
class TimeMaps:
    """Distances along one trajectory, with T(x_a, b) the T_h of the latent of time a under the network at time b.

    Attributes:
        times: The n times.
        across: ``d(T(x_t, t), T(x_r, r))``, `(n, n)`: symmetric, zero diagonal.
        fix_x: ``d(T(x_r, t), T(x_r, r))`` at row t, column r: what the network's time alone does.
        fix_t: ``d(T(x_t, r), T(x_r, r))`` at row t, column r: what the latent alone does. Both have a zero diagonal,
            where they meet.
    """

    times: tuple[float, ...]
    across: Tensor
    fix_x: Tensor
    fix_t: Tensor


def time_maps(basis_of: Callable[[float, float], TangentBasis], times: Sequence[float]) -> TimeMaps:
    """The t x t map, and what of it is due to the latent and to the network's time  (2307.12868).

    Args:
        basis_of: ``(time of the latent, time of the network)`` to the tangent basis there; asked n^2 times, once for
            each pair.
        times: Two or more different times.

    Raises:
        OptionError: If there are fewer than two times, or one comes twice.
        MismatchError, RankError, ShapeError: If the bases differ in more than their time.
    """
    if len(set(times)) < 2 or len(set(times)) != len(times):
        raise OptionError(wanted="two or more different times", got=str(list(times)), hint="such as .2, .4, .6, .8, 1")
    num = len(times)
    grid = [basis_of(x_time, t) for x_time in times for t in times]
    u = comparable(grid, may_differ={"t"}).unflatten(0, (num, num))  # (latent, network, k, D)
    own = u[range(num), range(num)]  # T(x_r, r)
    return TimeMaps(
        times=tuple(times),
        across=distance_map([grid[i * num + i] for i in range(num)], may_differ={"t"}),
        fix_x=geodesic_distance(u.transpose(0, 1), own[None].expand_as(u)).cpu(),
        fix_t=geodesic_distance(u, own[None].expand_as(u)).cpu(),
    )
