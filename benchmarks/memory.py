"""Peak memory of one basis, each in a process of its own: activations and Krylov basis, as the system saw them."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import torch

from benchmarks.cases import Case, celebahq, portraits
from benchmarks.record import Figure, Row
from benchmarks.solvers import PUBLISHED_CHUNK, SOLVERS, published
from pullback.geometry import JacobianAt, Plan, measure_plan

OURS, THEIRS = "ours, verified", "published"
TABLE = "Peak memory of one basis"


def memory_rows(*, ranks: tuple[int, ...] = (10, 50), large: bool = False) -> list[Row]:
    """Peak resident bytes above those of the loaded model, ours and the published algorithm at its chunk of 25."""
    rows = []
    for case in ("portraits", "celebahq")[: 2 if large else 1]:
        for rank in ranks:
            ours, theirs = (_in_child(case, rank, name) for name in (OURS, THEIRS))
            figures: dict[str, Figure] = {
                "ours, MiB": ours,
                "published, MiB": theirs,
                "ours / published": ours / theirs,
            }
            rows.append(
                Row(TABLE, f"{case}, k = {rank}", figures, "published: two iterations, which hold as much as fifty")
            )
    return rows


def _in_child(case: str, rank: int, name: str) -> float:
    command = [sys.executable, "-m", "benchmarks.memory", case, str(rank), name]
    return float(
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    )


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _case(name: str) -> Case:
    return celebahq() if name == "celebahq" else portraits(t_fractions=(0.8,), num=1)[0]


def _measure(case: Case, rank: int, name: str) -> float:
    """MiB above what loading and one forward pass had taken."""
    with torch.no_grad():
        case.f(case.x[:1])
    before = _peak_bytes()
    if name == OURS:
        SOLVERS[OURS](JacobianAt(case.f, case.x[0], plan=measure_plan(case.f, case.x[0], rank=rank)), rank)
    else:
        published(max_iterations=2)(JacobianAt(case.f, case.x[0], plan=Plan.fixed(chunk=PUBLISHED_CHUNK)), rank)
    return (_peak_bytes() - before) / 2**20


if __name__ == "__main__":
    print(json.dumps(_measure(_case(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
