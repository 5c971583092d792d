"""What takes an hour on a CPU: the whole matrix as a witness, and an architecture of 256 px."""

from __future__ import annotations

import torch

from benchmarks.cases import celebahq, portraits
from benchmarks.record import Row
from benchmarks.solvers import dense_angle, lanczos, published, run_trial, true_bases, wide_plan
from pullback.geometry import measure_plan

PUBLISHED_ITERATIONS = 50


def dense_rows(*, ranks: tuple[int, ...] = (10, 50)) -> list[Row]:
    """The truth of the accuracy tables beside the SVD of the whole J, at one latent, in float64."""
    case = portraits(t_fractions=(0.8,), num=1, dtype=torch.float64)[0]
    table = "The truth, confirmed: Lanczos in float64 to 1e-9 against the SVD of the whole matrix"
    return [
        Row(table, f"{case.name}, k = {rank}", {"largest angle, deg": dense_angle(case, true_bases(case, rank)[0])})
        for rank in ranks
    ]


def celebahq_rows(*, ranks: tuple[int, ...] = (10,)) -> list[Row]:
    """Ours to the end; of the published algorithm two iterations, multiplied to its fifty."""
    case, rows = celebahq(), []
    plan = measure_plan(case.f, case.x[0], rank=max(ranks), chunk=8)
    theirs = wide_plan(case)
    for rank in ranks:
        truth = true_bases(case, rank)[0]
        ours = run_trial(case, 0, rank, lanczos(), truth, plan)
        two = run_trial(case, 0, rank, published(max_iterations=2), truth, theirs)
        their_seconds = two.seconds * 2 * rank * (PUBLISHED_ITERATIONS + 1) / two.products
        table = f"{case.name}, random weights, k = {rank}"
        rows.append(
            Row(
                table,
                "ours, verified",
                {"products": ours.products, "seconds": ours.seconds, "worst angle, deg": ours.angle_deg, "times": 1.0},
                "angle to a float32 run at 1e-5",
            )
        )
        rows.append(
            Row(
                table,
                "published, 50 iterations",
                {
                    "products": 2.0 * rank * (PUBLISHED_ITERATIONS + 1),
                    "seconds": their_seconds,
                    "times": their_seconds / ours.seconds,
                },
                "two iterations measured, multiplied",
            )
        )
    return rows
