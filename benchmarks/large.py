"""What takes hours on a CPU: the whole matrix as a witness, and an architecture of 256 px."""

from __future__ import annotations

from dataclasses import replace

import torch

from benchmarks.cases import celebahq, celebahq_name, portraits
from benchmarks.memory import LARGE_CHUNK, PULL, THEIRS, Alone, alone, case_of, told
from benchmarks.record import Figure, Row, say
from benchmarks.solvers import (
    MENDED,
    MOST_PRODUCTS,
    OURS,
    PUBLISHED,
    SOLVERS,
    accuracy_rows,
    angle_deg,
    dense_triplets,
    published,
    true_bases,
)
from pullback.geometry import measure_plan

PUBLISHED_ITERATIONS = 50
SMALL = 64
"""Pixels for which the truth is affordable; the network is that of 256."""
CAP = 3_000
"""Products of the published run at k = 10 there, where one takes a tenth of a second."""


def dense_rows(*, ranks: tuple[int, ...] = (10, 50)) -> list[Row]:
    """The truth of the accuracy tables beside the whole J, at one latent, in float64."""
    case = portraits(t_fractions=(0.8,), num=1, dtype=torch.float64)[0]
    table = "The truth, confirmed: Lanczos in float64 to 1e-9 against eigenvectors of the whole J J^T"
    say("the whole matrix")
    u, v = dense_triplets(case, max(ranks))
    rows = []
    for rank in ranks:
        angle = angle_deg(u[:rank], v[:rank], true_bases(case, rank)[0])
        rows.append(Row(table, f"{case.name}, k = {rank}", {"largest angle, deg": angle}))
    return rows


def celebahq_small_rows(*, rank: int = 10, num: int = 8) -> list[Row]:
    """The accuracy of the 256-px architecture, on pictures for which the truth is affordable.

    Args:
        rank: k.
        num: Latents at each of three timesteps.
    """
    return _small_rows(rank, num, CAP, f"{num} latents x 3 timesteps (rivals: 1 x 3), float32 truth")


def celebahq_wide_rows(*, rank: int = 50, num: int = 8) -> list[Row]:
    """The same for a rank at which a published run takes eight minutes and more there, so that rivals see one latent.

    Args:
        rank: k.
        num: Latents at each of three timesteps.
    """
    shown = f"{num} latents x 3 timesteps (rivals: one at t/T = .8), float32 truth"
    return _small_rows(rank, num, MOST_PRODUCTS, shown, num_rival_cases=1)


def _small_rows(rank: int, num: int, most: int, shown: str, *, num_rival_cases: int | None = None) -> list[Row]:
    cases = celebahq(size=SMALL, num=num, t_fractions=(0.8, 0.5, 0.2))
    until = f"published, until our residual or {most:,} products"
    solvers = {name: SOLVERS[name] for name in (OURS, PUBLISHED, MENDED)}
    return accuracy_rows(
        cases,
        cases,
        rank=rank,
        solvers=solvers | {until: published(until_residual=True, most=most)},
        progress=say,
        table=f"{cases[0].name}, random weights, k = {rank}, {shown}",
        num_rival_cases=num_rival_cases,
    )


def celebahq_rows(*, rank: int = 10) -> list[Row]:
    """Time and memory at 256 px, of the published algorithm two iterations multiplied to its fifty."""
    say("256 px, ours")
    large = case_of("celebahq")
    plan = measure_plan(large.f, large.x[0], rank=rank, chunk=LARGE_CHUNK)
    ours = alone("celebahq", rank, OURS, plan)
    say("256 px, published")
    theirs = alone("celebahq", rank, THEIRS)
    return _at_full_size(celebahq_name(256), rank, ours, theirs, alone("celebahq", rank, PULL), told(plan, rank))


def _at_full_size(name: str, rank: int, ours: Alone, theirs: Alone, pull: Alone, note: str) -> list[Row]:
    table = f"{name}, random weights, k = {rank}, one latent, each in a process of its own"
    products = 2 * rank * (PUBLISHED_ITERATIONS + 1)
    seconds = theirs.seconds / theirs.products * products
    return [
        Row(table, OURS, _figures(ours, ours) | {"residual": ours.residual}, note),
        Row(
            table,
            "published, 50 iterations",
            _figures(replace(theirs, products=products, seconds=seconds), ours) | {"residual": None},
            "two iterations measured, multiplied",
        ),
        Row(table, PULL, _figures(pull, ours) | {"residual": None}, "whose graph every way holds"),
    ]


def _figures(one: Alone, ours: Alone) -> dict[str, Figure]:
    return {
        "products": float(one.products),
        "seconds": one.seconds,
        "time / ours": one.seconds / ours.seconds,
        "s a product": one.seconds / one.products,
        "peak memory, MiB": one.mib,
        "of it Krylov bases": one.krylov_mib,
        "ours / its memory": ours.mib / one.mib,
    }
