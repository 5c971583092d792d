"""How many singular values hold half of a spectrum: exactly where J can be had whole, else by an estimated total."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pullback.geometry import JacobianAt, Plan, TangentBasis, rank_rule, total_squares
from pullback.geometry.cost import is_cheaper_whole
from pullback.geometry.nulls import random_spectra
from pullback.types import FeatureMap

SHARE = 0.5
NUM_PROBES = 4
"""Products for an estimate of one total: what is left of a long spectrum outside a basis varies little over probes."""
FEW, MOST_PRODUCTS = 6, 4000
"""Samples, and products of all of them at most, where all of J costs more than a basis."""
UNKNOWN = float("nan")


class Half(NamedTuple):
    """The smallest rank whose values hold half, infinite if it is above that of the basis; nan where not computed.

    Attributes:
        squares: Of s^2, the eigenvalues of J^T J.
        values: Of s, the other reading of the rule; known only where all of J is.
        held: Share of all s^2 that the values of the basis hold.
        is_exact: Whether the total is that of all values, and no estimate.
    """

    squares: float
    values: float
    held: float
    is_exact: bool


NOT_MADE = Half(UNKNOWN, UNKNOWN, UNKNOWN, is_exact=False)


def where_exact(dims: tuple[int, int], *, rank: int, num_samples: int, num_times: int) -> tuple[int, tuple[int, ...]]:
    """At how many samples J is made whole, and at which timesteps; 0 samples where it costs too much.

    Everywhere, where that costs no more than a basis; else at `FEW` samples, every second timestep and the last, if
    that is affordable.

    Args:
        dims: D and N.
        rank: Of the bases.
        num_samples: Samples of the run.
        num_times: Timesteps of the run.

    Example:
        >>> many = {"num_samples": 10, "num_times": 4}
        >>> [where_exact((dim, 12288), rank=10, **many) for dim in (88, 176, 640, 11264)]
        [(10, (0, 1, 2, 3)), (6, (0, 2, 3)), (2, (0, 2, 3)), (0, (0, 2, 3))]
    """
    if is_cheaper_whole(min(dims), rank):
        return num_samples, tuple(range(num_times))
    times = tuple(sorted({*range(0, num_times, 2), num_times - 1}))
    num = min(num_samples, FEW, MOST_PRODUCTS // (min(dims) * len(times)))
    return (num if num >= 2 else 0), times


def num_products(dims: tuple[int, int], *, rank: int, num_samples: int, num_times: int) -> int:
    """Products of the rule at all samples and timesteps, apart from those of bases.

    Args:
        dims: D and N of h summed over its places.
        rank: Of the bases.
        num_samples: Samples of the run.
        num_times: Timesteps of the run.

    Example:
        >>> num_products((176, 12288), rank=10, num_samples=10, num_times=5)
        3368
    """
    estimated = NUM_PROBES * num_samples * num_times
    num, times = where_exact(dims, rank=rank, num_samples=num_samples, num_times=num_times)
    return estimated + (num * len(times) * min(dims) if num else estimated)


def exact_half(f: FeatureMap, x: Tensor, *, rank: int, plan: Plan) -> list[Half]:
    """From all singular values at each latent, `(B, *x_shape)`; costs min(D, N) products each."""
    spectra = torch.linalg.svdvals(JacobianAt(f, x, plan=plan).dense().double()).cpu()
    return [
        Half(
            squares=_rank(rank_rule(s, share=SHARE).rank),
            values=_rank(rank_rule(s, share=SHARE, power=1).rank),
            held=float(s[:rank].square().sum() / s.square().sum()) if float(s[0]) > 0 else 1.0,
            is_exact=True,
        )
        for s in spectra
    ]


def estimated_half(f: FeatureMap, x: Tensor, basis: TangentBasis, *, plan: Plan, generator: torch.Generator) -> Half:
    """From the values of a basis at x, `x_shape`, and an estimate of what it leaves; costs `NUM_PROBES` products."""
    total = total_squares(JacobianAt(f, x, plan=plan), num_probes=NUM_PROBES, basis=basis, generator=generator)
    inside = float(basis.s.double().square().sum())
    held = inside / total.value if total.value > 0 else 1.0
    return Half(_rank(rank_rule(basis.s, share=SHARE, total=total).rank), UNKNOWN, held, is_exact=False)


def random_half(shape: tuple[int, int], *, generator: torch.Generator) -> float:
    """The same of a matrix of independent Gaussian entries: the matched null."""
    s = random_spectra(shape, min(shape), num_draws=1, generator=generator)[0]
    return _rank(rank_rule(s, share=SHARE).rank)


def _rank(found: int | None) -> float:
    return float("inf") if found is None else float(found)
