"""Bases on a GPU: seconds against plain encoder passes and against the published algorithm, and their memory."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from benchmarks.cases import Case, celebahq, celebahq_name, portraits
from benchmarks.memory import told
from benchmarks.record import Figure, Row, say
from benchmarks.resident import peak_bytes, reset_peak
from benchmarks.solvers import OURS, SOLVERS, TOL, Solver, published, residual_of, timed_twice, wide_plan
from benchmarks.solvers import PUBLISHED as THEIRS
from pullback.errors import NotConvergedWarning
from pullback.geometry import JacobianAt, Plan, measure_plan, top_singular
from pullback.geometry.cost import GUARD, best_block, seconds_per_product
from pullback.geometry.engines import JVP_ENGINES, VJP_ENGINES, Point
from pullback.geometry.lanczos import Goal, Krylov
from pullback.geometry.linalg import orthonormal_rows, precision
from pullback.geometry.plan import counted_products

TF32 = "ours, first phase in TF32, the rest in float32"
ITERATIONS, MEASURED_ITERATIONS = 50, 10
"""Of the published run; of that at 256 px with the largest rank so many are measured, and multiplied."""
SMALL = "portraits, t/T 0.8"
TF32_TOL = 3e-3
"""Relative residual of the first phase; TF32 leaves a third of it."""
T = TypeVar("T")


RANKS, BATCHES = (10, 50), (8, 32, 128)
TOGETHER, REPLAYED = "portraits, t/T 0.8, on a GPU, latents together", "Products on a GPU, one direction of each latent"


def gpu_parts() -> dict[str, Callable[[], list[Row]]]:
    """Parts of the benchmark that need a GPU, each short enough for one that is lent for minutes."""
    most = 2 * max(RANKS) * (MEASURED_ITERATIONS + 1)
    parts: dict[str, tuple[str, Callable[[], list[Row]]]] = {
        "gpu-256px": (_table(celebahq_name(256)), lambda: alone_rows(_large(), RANKS, most_products=most)),
        "gpu-portraits": (_table(SMALL), lambda: alone_rows(_small(1), RANKS)),
        "gpu-batches": (TOGETHER, lambda: together_rows(_small(max(BATCHES)), RANKS, BATCHES)),
        "gpu-replayed": (REPLAYED, _replayed),
    }
    return {name: partial(_if_there, table, rows) for name, (table, rows) in parts.items()}


def _if_there(table: str, rows: Callable[[], list[Row]]) -> list[Row]:
    if torch.cuda.is_available():
        return rows()
    return [Row(table, "ours", {"seconds": None}, "no GPU on this machine")]


def _replayed() -> list[Row]:
    small = _small(max(BATCHES))
    return [replay_row(case, num) for case, num in ((small, 1), (small, max(BATCHES)), (_large(), 1))]


def _large() -> Case:
    return celebahq(device="cuda")[0]


def _small(num: int) -> Case:
    return portraits(t_fractions=(0.8,), num=num, device="cuda")[0]


def _table(name: str) -> str:
    return f"{name}, on a GPU, one latent, float32 without TF32"


def alone_rows(case: Case, ranks: Sequence[int], *, most_products: int | None = None) -> list[Row]:
    """The first latent of a case, ours by the plan of each rank.

    Args:
        case: The case.
        ranks: k.
        most_products: Of the published run, which is multiplied where it would take more.
    """
    x, rows, wide = case.x[:1], [], wide_plan(case)
    for rank in ranks:
        plan, num = measure_plan(case.f, x[0], rank=rank), ITERATIONS
        if most_products is not None:
            num = min(num, most_products // (2 * rank) - 1)
        theirs, how = published(max_iterations=num), f"{wide.jvp_engine} / {wide.vjp_engine}, chunk {wide.chunk}"
        solvers = {
            OURS: (SOLVERS[OURS], plan, told(plan, rank)),
            TF32: (first_in_tf32, plan, told(plan, rank)),
            THEIRS: (theirs, wide, how if num == ITERATIONS else f"{how}; {num} iterations measured, multiplied"),
        }
        with torch.no_grad():
            _, passes = _timed(lambda rank=rank: [case.f(x) for _ in range(2 * rank)])
        own = 0.0
        for name, (solver, used, note) in solvers.items():
            say(f"{case.name}, rank {rank}, {name}")
            figures = _figures(case, rank, solver, used)
            if name == THEIRS:
                times = (ITERATIONS + 1) / (num + 1)
                figures |= {key: times * figures[key] for key in ("products", "products / 2k", "seconds")}
            own = own or figures["seconds"]
            figures |= {"time / ours": figures["seconds"] / own, "over 2k passes": figures["seconds"] / passes}
            if name == OURS:
                each = seconds_per_product(plan, best_block(plan, 1, rank + GUARD))
                figures["of it products, s"] = figures["products"] * each
            rows.append(Row(_table(case.name), f"k = {rank}, {name}", dict(figures), note))
    return rows


def first_in_tf32(jac: JacobianAt, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Triplets of TF32 products, of which a Lanczos iteration in float32 then begins as with a block."""
    rough = JacobianAt(jac.f, jac.x, plan=replace(jac.plan, dtype="tf32"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)
        start = top_singular(rough, rank + GUARD, guard=0, tol=TF32_TOL, verify=False)
    state = Krylov(jac, rank + GUARD, torch.Generator().manual_seed(0))
    state.v = orthonormal_rows(start.v.flatten(1)[None].to(state.v))[0]
    with torch.no_grad(), precision():
        found, _ = state.advance(Goal(rank, rank + GUARD, TOL, 10_000, is_probed=False))
    return found.u[0, :rank], found.s[0, :rank].to(found.u), found.v[0, :rank]


def replay_row(case: Case, num: int) -> Row:
    """What a product takes as it is, and replayed: the difference is what launching its kernels takes."""
    x = case.x[:num]
    plan, point, figures = measure_plan(case.f, x, rank=50), Point(case.f, x), {}
    rows = {"Jv": torch.ones(1, *x.shape).to(x), "J^T u": torch.ones(1, num, *case.f.h_shape).to(x)}
    engines = {"Jv": JVP_ENGINES[plan.jvp_engine], "J^T u": VJP_ENGINES[plan.vjp_engine]}
    with precision():
        with torch.no_grad():
            figures["a pass, ms"] = 1000 * timed_twice(lambda: case.f(x), x.device)
        for name, engine in engines.items():
            with torch.inference_mode(False):
                as_it_is = timed_twice(lambda engine=engine, name=name: engine(point, rows[name]), x.device)
                replayed = timed_twice(lambda engine=engine, name=name: point.product(engine, rows[name]), x.device)
            figures |= {f"{name}, ms": 1000 * as_it_is, f"{name} replayed, ms": 1000 * replayed}
    note = f"{plan.jvp_engine} / {plan.vjp_engine}"
    return Row(REPLAYED, f"{case.name}, latents: {num}", figures, note)


def _figures(case: Case, rank: int, solver: Solver, plan: Plan) -> dict[str, float]:
    before = _reset_peak(case.x.device)
    jac = JacobianAt(case.f, case.x[0], plan=plan)
    with counted_products() as tally:
        (u, s, v), seconds = _timed(lambda: solver(jac, rank))
    peak = _peak(case.x.device) - before
    products = float(tally.products.total)
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
    return Row(TOGETHER, f"k = {rank}, {num} latents", figures)


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
