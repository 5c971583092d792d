"""Ways to the top k singular triplets, each with its products, seconds, worst angle and residual."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from scipy.linalg import eigh
from scipy.sparse.linalg import LinearOperator, svds
from torch import Tensor

from benchmarks.cases import Case, portraits
from benchmarks.record import Figure, Row
from pullback.errors import NotConvergedWarning
from pullback.geometry import JacobianAt, Plan, TangentBasis, measure_plan, principal_angles, top_singular
from pullback.geometry.cost import timed as timed_twice
from pullback.geometry.plan import JvpEngine, VjpEngine
from pullback.geometry.power import power_iteration

TOL = 1e-3
DEGREES = 180 / np.pi
PUBLISHED_CHUNK = 25
TOGETHER = "ours, verified, all samples in a batch"
MOST_PRODUCTS = 10_000
"""Where the published algorithm is stopped when it does not reach our residual."""
OURS, PUBLISHED, MENDED = (
    "ours, verified",
    "published, as its driver runs it (50 iterations)",
    "published, stop test mended",
)
T = TypeVar("T")
Solver = Callable[[JacobianAt, int], tuple[Tensor, Tensor, Tensor]]
"""J at one latent and a rank to u `(k, D)`, s `(k,)`, v `(k, N)`."""


@dataclass(frozen=True)
class Trial:
    """What one solver did at one latent."""

    products: int
    seconds: float
    angle_deg: float
    residual: float


def lanczos(*, verify: bool = True, block: int | None = None) -> Solver:
    """Ours, as `local_basis` runs it."""

    def run(jac: JacobianAt, rank: int) -> tuple[Tensor, Tensor, Tensor]:
        basis = top_singular(jac, rank, tol=TOL, verify=verify, block=block)
        return basis.u, basis.s, basis.v.flatten(1)

    return run


def published(
    *,
    max_iterations: int = 50,
    is_stop_sign_free: bool = False,
    until_residual: bool = False,
    most: int = MOST_PRODUCTS,
) -> Solver:
    """The published block power iteration, with its last rotation, which costs 2 k products, left in.

    Until our residual, it has ``most`` products in place of ``max_iterations``.
    """

    def run(jac: JacobianAt, rank: int) -> tuple[Tensor, Tensor, Tensor]:
        found = power_iteration(
            jac,
            rank,
            generator=torch.Generator().manual_seed(0),
            max_iterations=most // (2 * rank) - 1 if until_residual else max_iterations,
            is_stop_sign_free=is_stop_sign_free,
            residual_tol=TOL if until_residual else None,
        )
        return found.u[0], found.s[0], found.v[0]

    return run


def scipy_solver(name: str) -> Solver:
    """``svds`` of scipy, one product at a time; its tolerance is on s alone, so that it is set to a tenth of ours."""

    def run(jac: JacobianAt, rank: int) -> tuple[Tensor, Tensor, Tensor]:
        def push(v: np.ndarray) -> np.ndarray:
            return jac.jvp_flat(torch.from_numpy(np.asarray(v, np.float32)).reshape(1, 1, -1)).numpy().ravel()

        def pull(u: np.ndarray) -> np.ndarray:
            return jac.vjp_flat(torch.from_numpy(np.asarray(u, np.float32)).reshape(1, 1, -1)).numpy().ravel()

        operator = LinearOperator((jac.dim_h, jac.dim_x), matvec=push, rmatvec=pull, dtype=np.float32)  # pyright: ignore[reportCallIssue]
        found = svds(operator, k=rank, tol=TOL / 10, solver=name, rng=np.random.default_rng(0))  # pyright: ignore[reportArgumentType] - the stub asks for an int
        u, s, vt = (np.asarray(part) for part in found)
        order = np.argsort(-s)
        u, s, v = (torch.from_numpy(np.ascontiguousarray(part[order])) for part in (u.T, s, vt))
        return u, s, v

    return run


SOLVERS: dict[str, Solver] = {
    OURS: lanczos(),
    "ours, without the probe": lanczos(verify=False),
    "ours, verified, one direction a step": lanczos(block=1),
    PUBLISHED: published(),
    MENDED: published(is_stop_sign_free=True),
    "published, until our residual": published(until_residual=True),
    "scipy PROPACK": scipy_solver("propack"),
    "scipy ARPACK": scipy_solver("arpack"),
}


def true_bases(case: Case, rank: int) -> list[TangentBasis]:
    """The truth: Lanczos in the precision of the case, to 1e-9 in float64 and to 1e-5 in float32."""
    tol = 1e-9 if case.f.dtype == torch.float64 else 1e-5
    jac = JacobianAt(case.f, case.x)
    return list(top_singular(jac, rank, tol=tol, max_products=40 * rank + 2000, verify=False).samples())


def dense_triplets(case: Case, rank: int) -> tuple[Tensor, Tensor]:
    """Top u `(k, D)` and v `(k, N)` of the whole matrix at the first latent: eigenvectors of J J^T, not iterated.

    Squaring costs half of the digits, which leaves 1e-8 of the largest singular value: a thousandth of what is asked.
    """
    matrix = JacobianAt(case.f, case.x[0], plan=Plan.fixed(chunk=32)).dense().double().numpy()
    last = len(matrix) - 1
    squares, vectors = eigh(matrix @ matrix.T, subset_by_index=[last + 1 - rank, last], driver="evr")
    u = vectors.T[::-1].copy()
    v = u @ matrix / np.sqrt(squares[::-1])[:, None]
    return torch.from_numpy(u), torch.from_numpy(v)


def run_trial(case: Case, index: int, rank: int, solver: Solver, truth: TangentBasis, plan: Plan) -> Trial:
    """One solver at one latent; its residual and angle are measured afterwards, and cost it nothing."""
    jac = JacobianAt(case.f, case.x[index], plan=plan)
    (u, s, v), seconds = timed(lambda: solver(jac, rank))
    products = jac.products.total
    return Trial(products, seconds, angle_deg(u, v, truth), residual_of(jac, u, s, v))


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """What a solver returns, and its seconds; that it did not converge is seen in its residual."""
    start = time.perf_counter()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)
        found = call()
    return found, time.perf_counter() - start


def run_together(case: Case, rank: int, truth: Sequence[TangentBasis], plan: Plan) -> list[Trial]:
    """Ours at all latents of a case in one batch, as `discover` runs it; each has its share of the seconds."""
    jac = JacobianAt(case.f, case.x, plan=plan)
    basis, seconds = timed(lambda: top_singular(jac, rank, tol=TOL))
    trials = []
    for i, (each, true) in enumerate(zip(basis.samples(), truth, strict=True)):
        u, s, v = each.u, each.s, each.v.flatten(1)
        residual = residual_of(JacobianAt(case.f, case.x[i]), u, s, v)
        trials.append(Trial(each.products.total, seconds / len(case.x), angle_deg(u, v, true), residual))
    return trials


def angle_deg(u: Tensor, v: Tensor, truth: TangentBasis) -> float:
    """The larger of the largest principal angles in H and in X."""
    in_h = principal_angles(u.double(), truth.u.double()).max()
    in_x = principal_angles(v.double(), truth.v.flatten(1).double()).max()
    return DEGREES * max(float(in_h), float(in_x))


def residual_of(jac: JacobianAt, u: Tensor, s: Tensor, v: Tensor) -> float:
    """``max(|J v - s u|, |J^T u - s v|) / s_1`` over the triplets, by products of its own."""
    right = jac.jvp_flat(v[None].float().to(jac.x))[0] - s[:, None] * u
    left = jac.vjp_flat(u[None].float().to(jac.x))[0] - s[:, None] * v
    return max(float(torch.linalg.vector_norm(part, dim=1).max()) for part in (right, left)) / float(s.max())


def wide_plan(case: Case) -> Plan:
    """The fastest exact engines for as many directions of one sample in a call as the published run has."""

    def seconds(jvp: JvpEngine, vjp: VjpEngine, *, is_push: bool) -> float:
        jac = JacobianAt(case.f, case.x[0], plan=Plan.fixed(jvp, vjp, chunk=PUBLISHED_CHUNK))
        multiply, dim = (jac.jvp_flat, jac.dim_x) if is_push else (jac.vjp_flat, jac.dim_h)
        rows = torch.ones(1, PUBLISHED_CHUNK, dim, dtype=jac.dtype, device=jac.x.device)
        return timed_twice(lambda: multiply(rows), jac.x.device)

    pushes: tuple[JvpEngine, ...] = ("vmap", "loop", "double_backward")
    pulls: tuple[VjpEngine, ...] = ("vmap", "loop")
    jvp = min(pushes, key=lambda engine: seconds(engine, "loop", is_push=True))
    vjp = min(pulls, key=lambda engine: seconds("loop", engine, is_push=False))
    return Plan.fixed(jvp, vjp, chunk=PUBLISHED_CHUNK)


def portraits_rows(*, rank: int, num: int, progress: Callable[[str], None]) -> list[Row]:
    """The main table on the shipped model at three timesteps, for every solver."""
    cases, exact = portraits(num=num), portraits(num=num, dtype=torch.float64)
    table = f"Portraits, k = {rank}, {num} samples x 3 timesteps (rivals: 1 x 3), one at a time"
    return accuracy_rows(cases, exact, rank=rank, solvers=SOLVERS, progress=progress, table=table)


def accuracy_rows(
    cases: Sequence[Case],
    exact: Sequence[Case],
    *,
    rank: int,
    solvers: Mapping[str, Solver],
    progress: Callable[[str], None],
    table: str,
    num_rivals: int = 1,
    num_rival_cases: int | None = None,
) -> list[Row]:
    """The main table: ours at every latent of every case, rivals at the first of each, and times as ratios to ours.

    Args:
        cases: Float32 maps and latents.
        exact: The same for the truth: in float64, where that is affordable.
        rank: k.
        solvers: By name, `OURS` among them; the names of all of our ways begin with "ours".
        progress: Told what is being measured.
        table: Name of the table.
        num_rivals: Latents of each case that the solvers of others see; they take minutes each.
        num_rival_cases: Cases that they see, all by default.
    """
    trials: dict[str, list[Trial]] = {name: [] for name in (*solvers, TOGETHER)}
    ours: dict[str, list[float]] = {name: [] for name in (*solvers, TOGETHER)}
    for i, (case, precise) in enumerate(zip(cases, exact, strict=True)):
        is_shared = num_rival_cases is None or i < num_rival_cases
        truth = true_bases(precise, rank)
        plan = measure_plan(case.f, case.x[0], rank=rank)
        theirs = wide_plan(case) if is_shared else plan
        for index in range(len(case.x)):
            for name, solver in solvers.items():
                if not (name.startswith("ours") or (is_shared and index < num_rivals)):
                    continue
                progress(f"{case.name}, rank {rank}, sample {index}, {name}")
                used = theirs if name.startswith("published") else plan
                trials[name].append(run_trial(case, index, rank, solver, truth[index], used))
                ours[name].append(trials[OURS][-1].seconds)
        progress(f"{case.name}, rank {rank}, {TOGETHER}")
        trials[TOGETHER] += run_together(case, rank, truth, measure_plan(case.f, case.x, rank=rank))
        ours[TOGETHER] += [trial.seconds for trial in trials[OURS][-len(case.x) :]]
    return [Row(table, name, _figures(trials[name], ours[name], rank), _note(trials[name])) for name in trials]


def _note(trials: Sequence[Trial]) -> str:
    num = sum(trial.residual > TOL for trial in trials)
    return f"{num} of {len(trials)} above residual {TOL:g}" if num else ""


def _figures(trials: Sequence[Trial], ours: Sequence[float], rank: int) -> dict[str, Figure]:
    products, seconds = [t.products for t in trials], [t.seconds for t in trials]
    ratios = [theirs / mine for theirs, mine in zip(seconds, ours, strict=True)]
    spread = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
    return {
        "latents": float(len(trials)),
        "products": statistics.fmean(products),
        "products / 2k": statistics.fmean(products) / (2 * rank),
        "worst angle, deg": max(t.angle_deg for t in trials),
        "worst residual": max(t.residual for t in trials),
        "seconds, median": statistics.median(seconds),
        "time / ours, median": statistics.median(ratios),
        "quartiles of that": f"{spread[0]:.2g}-{spread[2]:.2g}",
        "ms a product": 1000 * sum(seconds) / sum(products),
    }
