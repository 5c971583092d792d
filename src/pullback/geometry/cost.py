"""What a basis is going to cost, and the width of the Lanczos block that makes it cost least."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from pullback.geometry.lanczos import check_interval, extend
from pullback.geometry.linalg import randn
from pullback.geometry.plan import Plan

GUARD = 5
"""Triplets beyond the rank that must converge too, unless told otherwise."""
BLOCKS = (1, 2, 3, 4, 6, 8, 10)
PRODUCTS_PER_TRIPLET, PRODUCTS_PER_WIDTH = 4.4, 16.0
"""Measured on the shipped model at t/T = .8: products grow about so with rank + guard and with the block; a sixth more
at .5, a third more at .2."""
TIME_OF_PRODUCTS, PER_TIME = 0.8, 0.45
"""The share of T of these figures, and how much a share below it adds: a third more at .2 was 1.27 to 1.33."""
POOLED_SHARE = 0.75
"""What a sum-pooled h, whose spectrum falls faster, takes of these figures: 64 of 81 products at rank 10, 187 of 257 at
rank 50 (`python -m benchmarks run --only pooled`)."""
PROBE_PRODUCTS = 15
WHOLE_GAIN = 1.3
"""Measured on the shipped model (`python -m benchmarks run --only pooled`): both ways are as dear at 107 channels for
rank 10 and at 303 for rank 50, which is 1.3 and 1.2 times the 81 and 257 expected products."""
MOST_TIMED, ENOUGH_SECONDS = 5, 0.3
"""Calls that one timing takes at most, and seconds at which it has seen enough: forecasts from single calls of .1 s
differed far more from run to run than the runs did."""
BLOCK_GAIN = 1.1
"""Blocks are widened for a gain of more than this: times differ by as much from one measurement to the next."""


def expected_products(guarded: int, block: int, *, verify: bool = True) -> int:
    """Products of one sample's basis at tol 1e-3, guard triplets included in ``guarded``.

    It depends on the spectrum: half as many where it falls fast, twice as many where it is flat.

    Example:
        >>> expected_products(15, 1, verify=False), expected_products(15, 3, verify=False)
        (66, 98)
    """
    krylov = PRODUCTS_PER_TRIPLET * guarded + PRODUCTS_PER_WIDTH * (block - 1)
    return round(krylov) + (PROBE_PRODUCTS if verify else 0)


def more_at(t_fraction: float) -> float:
    """How many times the products of t/T = .8 a basis takes at another t, as measured on the shipped model.

    Example:
        >>> [round(more_at(t), 2) for t in (1.0, 0.8, 0.2)]
        [1.0, 1.0, 1.27]
    """
    return 1 + PER_TIME * max(TIME_OF_PRODUCTS - t_fraction, 0.0)


def is_cheaper_whole(dim_h: int, rank: int) -> bool:
    """Whether D reverse products, all of J, take less time than the iteration for ``rank`` triplets with their guards.

    Reverse products that do not wait for one another are cheaper by `WHOLE_GAIN`, and no probe is needed.

    Example:
        >>> [is_cheaper_whole(dim_h, rank) for dim_h, rank in ((100, 10), (176, 10), (176, 50), (1280, 50))]
        [True, False, True, False]
    """
    return dim_h <= WHOLE_GAIN * expected_products(rank + GUARD, 1)


def seconds_per_product(plan: Plan, width: int) -> float:
    """Seconds of one product when ``width`` of them meet in a call: as measured at the nearest smaller width.

    Below all that were measured the narrowest of them stands; without any it is the mean of the plan's jvp and vjp, and
    1 where nothing was measured.

    Example:
        >>> plan = Plan("vmap", "vmap", 16, seconds_by_width=((8, 0.3), (16, 0.2)))
        >>> [seconds_per_product(plan, width) for width in (1, 8, 15, 16)]
        [0.3, 0.3, 0.3, 0.2]
    """
    width = min(width, plan.chunk)
    if plan.seconds_by_width:
        below = [seconds for measured, seconds in plan.seconds_by_width if measured <= width]
        return below[-1] if below else plan.seconds_by_width[0][1]
    return ((plan.seconds_per_jvp or 1.0) + (plan.seconds_per_vjp or 1.0)) / 2


def best_block(plan: Plan, num_samples: int, guarded: int) -> int:
    """The narrowest width at which the expected products of a batch take nearly the least time.

    Narrow blocks take fewer products, wide ones cheaper ones; a batch of samples fills the network call by itself.

    Example:
        >>> best_block(Plan.fixed(), 1, 15)
        1
        >>> slow_alone = Plan("vmap", "vmap", 16, seconds_by_width=((1, 4.0), (4, 1.0), (16, 0.9)))
        >>> best_block(slow_alone, 1, 15), best_block(slow_alone, 4, 15)
        (4, 1)
    """

    def seconds(block: int) -> float:
        return expected_products(guarded, block) * seconds_per_product(plan, block * num_samples)

    fitting = [block for block in BLOCKS if block <= max(guarded, 1)]
    enough = BLOCK_GAIN * min(map(seconds, fitting))
    return next(block for block in fitting if seconds(block) <= enough)


def seconds_of_algebra(
    num_samples: int, dims: tuple[int, int], guarded: int, block: int, *, like: torch.Tensor
) -> float:
    """Seconds per product of all that is not the network: orthogonalisation and small SVDs, as measured here.

    Both steps of a Lanczos iteration are timed once, on random bases of half of their final size.

    Args:
        num_samples: Samples in a batch.
        dims: Dimensions of x and h.
        guarded: Triplets with their guards.
        block: Directions a step.
        like: Gives dtype and device.
    """
    products = expected_products(guarded, block, verify=False)
    generator = torch.Generator().manual_seed(0)
    seconds = 0.0
    for dim in dims:
        size = min(products // 4, dim - block)
        basis = randn((num_samples, size, dim), generator, like=like) / dim**0.5
        new = randn((num_samples, block, dim), generator, like=like)
        seconds += timed(lambda basis=basis, new=new: extend(basis, new, generator), like.device) / (2 * block)
    inner = torch.eye(products // 2, dtype=torch.float64).expand(num_samples, -1, -1)
    seconds += timed(lambda: torch.linalg.svd(inner), inner.device) / check_interval(guarded, like.device)
    return seconds / num_samples


def expected_krylov_bytes(
    num_samples: int, dims: tuple[int, int], guarded: int, block: int, *, like: torch.Tensor
) -> int:
    """Size of both Krylov bases of a batch: half of the products extend that of h, the others that of x.

    Args:
        num_samples: Samples in a batch.
        dims: Dimensions of x and h.
        guarded: Triplets with their guards.
        block: Directions a step.
        like: Gives dtype.

    Example:
        >>> expected_krylov_bytes(1, (1000, 500), 15, 1, like=torch.zeros(1))  # 66 products
        202000
    """
    half = expected_products(guarded, block, verify=False) // 2
    dim_x, dim_h = dims
    size = torch.promote_types(like.dtype, torch.float32).itemsize
    return size * num_samples * (min(half + block, dim_x) * dim_x + min(half, dim_h) * dim_h)


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call, when the device has finished it: the median of a few if they are short, of one if it is long.

    One call before warms up, and one more that a GPU records.
    """
    for _ in range(1 if device.type == "cpu" else 2):
        call()
    seconds: list[float] = []
    while len(seconds) < MOST_TIMED and sum(seconds) < ENOUGH_SECONDS:
        _synchronize(device)
        start = time.perf_counter()
        call()
        _synchronize(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
