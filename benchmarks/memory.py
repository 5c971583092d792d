"""One basis in a process of its own: its peak memory, activations and Krylov basis, as the system saw them."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass

import torch

from benchmarks.cases import Case, celebahq, portraits
from benchmarks.record import Row
from benchmarks.solvers import PUBLISHED_CHUNK, SOLVERS, published, residual_of, timed
from pullback.geometry import JacobianAt, Plan, measure_plan

OURS, THEIRS = "ours, verified", "published, two iterations"
TABLE = "Peak memory of one basis"
CHUNK, LARGE_CHUNK = 16, 2
"""Directions in a call that a plan may have; of the 256-px architecture one alone fills two cores."""


@dataclass(frozen=True)
class Alone:
    """What a basis took in a process of its own.

    Attributes:
        mib: Peak resident memory above what loading and one forward pass had taken.
        seconds: Of the basis; the plan was measured before.
        products: Of the basis.
        residual: Largest, relative to s_1.
    """

    mib: float
    seconds: float
    products: int
    residual: float


def memory_rows(*, ranks: tuple[int, ...] = (10, 50)) -> list[Row]:
    """Peak resident bytes above those of the loaded model, ours and the published algorithm at its chunk of 25."""
    rows = []
    for rank in ranks:
        ours, theirs = (alone("portraits", rank, name) for name in (OURS, THEIRS))
        figures = {"ours, MiB": ours.mib, "published, MiB": theirs.mib, "ours / published": ours.mib / theirs.mib}
        note = "published: two iterations, which hold as much as fifty"
        rows.append(Row(TABLE, f"portraits, k = {rank}", figures, note))
    return rows


def alone(case: str, rank: int, name: str) -> Alone:
    """One basis of a case, in a child process.

    Args:
        case: ``portraits``, or ``celebahq`` for the 256-px architecture.
        rank: k.
        name: `OURS` or `THEIRS`.
    """
    command = [sys.executable, "-m", "benchmarks.memory", case, str(rank), name]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Alone(**json.loads(printed.splitlines()[-1]))


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _measure(case: Case, rank: int, name: str, *, is_large: bool) -> Alone:
    with torch.no_grad():
        case.f(case.x[:1])
    before = _peak_bytes()
    if name == OURS:
        chunk = LARGE_CHUNK if is_large else CHUNK
        plan, solver = measure_plan(case.f, case.x[0], rank=rank, chunk=chunk), SOLVERS[OURS]
    else:
        plan, solver = Plan.fixed(chunk=PUBLISHED_CHUNK), published(max_iterations=2)
    jac = JacobianAt(case.f, case.x[0], plan=plan)
    (u, s, v), seconds = timed(lambda: solver(jac, rank))
    products, mib = jac.products.total, (_peak_bytes() - before) / 2**20
    return Alone(mib, seconds, products, residual_of(jac, u, s, v))


def _main(name: str, rank: int, solver: str) -> None:
    is_large = name == "celebahq"
    case = celebahq() if is_large else portraits(t_fractions=(0.8,), num=1)[0]
    print(json.dumps(asdict(_measure(case, rank, solver, is_large=is_large))))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
