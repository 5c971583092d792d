"""One basis in a process of its own: its peak memory, activations and Krylov basis, as the system saw them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass

import torch

from benchmarks.cases import Case, celebahq, portraits
from benchmarks.record import Figure, Row
from benchmarks.resident import peak_bytes, reset_peak
from benchmarks.solvers import OURS, PUBLISHED_CHUNK, TOL, published, residual_of, timed
from pullback.bank.bases import plan_from, plan_record
from pullback.geometry import JacobianAt, Plan, measure_plan, top_singular
from pullback.geometry.cost import GUARD, best_block
from pullback.geometry.plan import JvpEngine

THEIRS, PULL = "published, two iterations", "one J^T u"
TABLE = "Peak memory of one basis"
CHUNK, LARGE_CHUNK = 16, 2
"""Directions in a call that a plan may have; of the 256-px architecture one alone fills two cores."""


@dataclass(frozen=True)
class Alone:
    """What a basis took in a process of its own.

    Attributes:
        mib: Peak resident memory above what there was after one forward pass.
        krylov_mib: Of the Krylov bases, which it holds; 0 for the published run.
        seconds: Of the basis; the plan was measured before, in another process.
        products: Of the basis.
        residual: Largest, relative to s_1.
    """

    mib: float
    krylov_mib: float
    seconds: float
    products: int
    residual: float


def memory_rows(*, ranks: tuple[int, ...] = (10, 50)) -> list[Row]:
    """Peak resident bytes above those of the loaded model: by the plan, by each engine, and the published run."""
    rows, case = [], case_of("portraits")
    for rank in ranks:
        theirs = alone("portraits", rank, THEIRS)
        plans = {"by its plan": measure_plan(case.f, case.x[0], rank=rank, chunk=CHUNK)}
        engines: tuple[JvpEngine, ...] = ("vmap", "loop", "double_backward")
        plans |= {f"{engine}, one at a time": Plan.fixed(engine, "loop", chunk=1) for engine in engines}
        for name, plan in plans.items():
            ours = alone("portraits", rank, OURS, plan)
            rows.append(Row(TABLE, f"portraits, k = {rank}, {name}", figures_of(ours, theirs), told(plan, rank)))
    return rows


def figures_of(ours: Alone, theirs: Alone) -> dict[str, Figure]:
    """Peaks and their ratio."""
    return {
        "ours, MiB": ours.mib,
        "of it Krylov bases": ours.krylov_mib,
        "published, MiB": theirs.mib,
        "ours / published": ours.mib / theirs.mib if theirs.mib else None,
    }


def told(plan: Plan, rank: int) -> str:
    """A plan in words, with the width of the block that it makes."""
    block = best_block(plan, 1, rank + GUARD)
    return f"{plan.jvp_engine} / {plan.vjp_engine}, chunk {plan.chunk}, block {block}"


def case_of(name: str) -> Case:
    """``portraits``, or ``celebahq`` for the 256-px architecture; one latent."""
    return celebahq()[0] if name == "celebahq" else portraits(t_fractions=(0.8,), num=1)[0]


def alone(case: str, rank: int, name: str, plan: Plan | None = None) -> Alone:
    """One basis of a case, in a child process.

    Args:
        case: As for `case_of`.
        rank: k.
        name: `OURS`, `THEIRS`, or `PULL` for a reverse product, of which every way holds the graph.
        plan: How ours computes; the published run has `PUBLISHED_CHUNK` directions in a call, and two iterations, which
            hold as much as fifty.
    """
    plan = plan or Plan.fixed(chunk=PUBLISHED_CHUNK)
    command = [sys.executable, "-m", "benchmarks.memory", case, str(rank), name, json.dumps(plan_record(plan))]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Alone(**json.loads(printed.splitlines()[-1]))


def measured(case: Case, rank: int, name: str, plan: Plan) -> Alone:
    """One basis, or merely one product, in this process, which should have done nothing else."""
    with torch.no_grad():
        case.f(case.x[:1])
    before = reset_peak()
    jac = JacobianAt(case.f, case.x[0], plan=plan)
    if name == PULL:
        _, seconds = timed(lambda: jac.vjp_flat(torch.ones(1, 1, jac.dim_h)))
        return Alone((peak_bytes() - before) / 2**20, 0.0, seconds, jac.products.total, 0.0)
    krylov = 0.0
    if name == OURS:
        basis, seconds = timed(lambda: top_singular(jac, rank, tol=TOL))
        u, s, v, krylov = basis.u, basis.s, basis.v.flatten(1), basis.krylov_bytes / 2**20
    else:
        (u, s, v), seconds = timed(lambda: published(max_iterations=2)(jac, rank))
    products, mib = jac.products.total, (peak_bytes() - before) / 2**20
    return Alone(mib, krylov, seconds, products, residual_of(jac, u, s, v))


if __name__ == "__main__":
    _, which, number, solver, how = sys.argv
    print(json.dumps(asdict(measured(case_of(which), int(number), solver, plan_from(json.loads(how))))))
