"""Bases on a GPU: seconds against plain encoder passes and against the published algorithm, and their memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from benchmarks.cases import Case, celebahq, celebahq_name, portraits
from benchmarks.memory import told
from benchmarks.record import Figure, Row, say
from benchmarks.resident import peak_bytes, reset_peak
from benchmarks.solvers import SOLVERS, TOL, Solver, residual_of, wide_plan
from pullback.geometry import JacobianAt, Plan, measure_plan, top_singular

OURS, THEIRS = "ours, verified", "published, as its driver runs it (50 iterations)"
T = TypeVar("T")


def gpu_rows(*, ranks: tuple[int, ...] = (10, 50), batches: tuple[int, ...] = (8, 64)) -> list[Row]:
    """One latent at 256 px and of the shipped model, ours and published; then bases of many latents together."""
    if not torch.cuda.is_available():
        names = (celebahq_name(256), "portraits, t/T 0.8")
        return [Row(_table(name), OURS, {"seconds": None}, "no GPU on this machine") for name in names]
    cases = [celebahq(device="cuda"), portraits(t_fractions=(0.8,), num=max(batches), device="cuda")[0]]
    return [row for case in cases for row in alone_rows(case, ranks)] + together_rows(cases[1], ranks, batches)


def _table(name: str) -> str:
    return f"{name}, on a GPU, one latent, float32 without TF32"


def alone_rows(case: Case, ranks: Sequence[int]) -> list[Row]:
    """The first latent of a case, ours by the plan of each rank."""
    x, rows, wide = case.x[:1], [], wide_plan(case)
    for rank in ranks:
        plans = {OURS: measure_plan(case.f, x[0], rank=rank), THEIRS: wide}
        with torch.no_grad():
            _, passes = _timed(lambda rank=rank: [case.f(x) for _ in range(2 * rank)])
        own = 1.0
        for name, plan in plans.items():
            say(f"{case.name}, rank {rank}, {name}: {plan.jvp_engine}, {plan.vjp_engine}, chunk {plan.chunk}")
            figures = _figures(case, rank, SOLVERS[name], plan)
            own = figures["seconds"] if name == OURS else own
            ratios = {"time / ours": figures["seconds"] / own, "over 2k passes": figures["seconds"] / passes}
            note = told(plan, rank) if name == OURS else f"{plan.jvp_engine} / {plan.vjp_engine}, chunk {plan.chunk}"
            rows.append(Row(_table(case.name), f"k = {rank}, {name}", {**figures, **ratios}, note))
    return rows


def _figures(case: Case, rank: int, solver: Solver, plan: Plan) -> dict[str, float]:
    before = _reset_peak(case.x.device)
    jac = JacobianAt(case.f, case.x[0], plan=plan)
    (u, s, v), seconds = _timed(lambda: solver(jac, rank))
    peak = _peak(case.x.device) - before
    products = float(jac.products.total)
    return {
        "products": products,
        "products / 2k": products / (2 * rank),
        "seconds": seconds,
        "residual": residual_of(jac, u, s.to(u), v),
        "peak memory, MiB": peak / 2**20,
    }


def together_rows(case: Case, ranks: Sequence[int], batches: Sequence[int]) -> list[Row]:
    """Several latents of a case in one batch."""
    return [_together(case, rank, num) for rank in ranks for num in batches]


def _together(case: Case, rank: int, num: int) -> Row:
    x: Tensor = case.x[:num]
    say(f"{case.name}, rank {rank}, {num} latents together")
    plan = measure_plan(case.f, x, rank=rank)
    basis, seconds = _timed(lambda: top_singular(JacobianAt(case.f, x, plan=plan), rank, tol=TOL))
    products = basis.products.total / num
    figures: dict[str, Figure] = {
        "products a sample": products,
        "seconds a sample": seconds / num,
        "ms a product": 1000 * seconds / num / products,
    }
    return Row(f"{case.name}, on a GPU, latents together", f"k = {rank}, {num} latents", figures)


def _reset_peak(device: torch.device) -> int:
    if device.type != "cuda":
        return reset_peak()
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_bytes()


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    _wait()
    start = time.perf_counter()
    found = call()
    _wait()
    return found, time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
