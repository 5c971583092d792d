"""Ideas for fewer products, each with its figure: kept or dropped."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor

import pullback
from benchmarks.cases import Case, portraits
from benchmarks.record import Row
from benchmarks.solvers import TOL, angle_deg, true_bases
from pullback.geometry import JacobianAt, Plan, measure_plan, top_singular
from pullback.geometry.lanczos import Goal, Krylov
from pullback.geometry.linalg import orthonormal_rows, randn
from pullback.geometry.plan import JvpEngine, VjpEngine

GUARD = 5
NEIGHBOURS = 4


def idea_rows(*, ranks: tuple[int, ...] = (10, 50), num: int = 2) -> list[Row]:
    """Width of the block, number of guards, start from the directions of other samples; products without the probe."""
    cases = portraits(num=num + NEIGHBOURS)
    return [row for rank in ranks for row in (*_blocks(cases, rank, num), *_starts(cases, rank, num))]


def engine_rows(*, shapes: tuple[tuple[int, int], ...] = ((8, 1), (1, 1), (1, 8), (1, 16))) -> list[Row]:
    """Each engine's time of one product in passes of the encoder, by samples and directions of each in a call."""
    case = portraits(t_fractions=(0.8,), num=max(samples for samples, _ in shapes))[0]
    rows: dict[str, dict[str, float]] = {}
    for samples, directions in shapes:
        x = case.x[:samples]
        with torch.no_grad():
            forward = fastest_of(lambda x=x: case.f(x)) / samples
        for kind, name in [
            *(("jvp", name) for name in get_args(JvpEngine)),
            *(("vjp", n) for n in get_args(VjpEngine)),
        ]:
            plan = Plan.fixed(**{f"{kind}_engine": name}, chunk=samples * directions)
            jac = JacobianAt(case.f, x, plan=plan)
            multiply, dim = (jac.jvp_flat, jac.dim_x) if kind == "jvp" else (jac.vjp_flat, jac.dim_h)
            rows_in = randn((samples, directions, dim), torch.Generator().manual_seed(0), like=jac.x)
            each = fastest_of(lambda multiply=multiply, rows_in=rows_in: multiply(rows_in)) / samples / directions
            rows.setdefault(f"{kind}, {name}", {})[f"{samples} samples x {directions}"] = each / forward
    table = "Time of one product, in passes of the encoder; double_backward and vjp share one primal pass"
    return [Row(table, name, figures) for name, figures in rows.items()]


def pooled_rows(*, ranks: tuple[int, ...] = (10, 50), num: int = 8) -> list[Row]:
    """A pooled feature whole, by one reverse product a channel, against Lanczos, and where it gets dearer."""
    model = pullback.load("portraits")
    x = model.sample_latent(t_fraction=0.8, seeds=range(num), num_steps=20)
    f = model.feature_map(t_fraction=0.8, pool="sum")
    (channels,) = f.h_shape
    table, rows = f"A pooled h of {channels} channels whole, against Lanczos; {num} samples in a batch", []
    for rank in ranks:
        plan, figures = measure_plan(f, x, rank=rank), {}
        for method in ("pooled", "lanczos"):
            jac = JacobianAt(f, x, plan=plan)
            start = time.perf_counter()
            basis = top_singular(jac, rank, method=method, tol=TOL)
            figures[f"{method}, products"] = basis.products.total / num
            figures[f"{method}, s a sample"] = (time.perf_counter() - start) / num
        even = channels * figures["lanczos, s a sample"] / figures["pooled, s a sample"]
        rows.append(Row(table, f"k = {rank}", figures | {"as dear at so many channels": even}))
    return rows


def fastest_of(call: Callable[[], object], *, num: int = 3) -> float:
    """Seconds of the fastest of some calls, after one to warm up."""
    call()
    seconds = []
    for _ in range(num):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _blocks(cases: list[Case], rank: int, num: int) -> list[Row]:
    table = f"Width of the block and guards, k = {rank}, {num} samples x {len(cases)} timesteps"
    rows = []
    truth = [true_bases(Case(case.name, case.f, case.x[:num]), rank) for case in cases]
    for block, guard in ((1, 5), (2, 5), (3, 5), (4, 5), (8, 5), (1, 2), (1, 0)):
        products, angles = [], []
        for case, exact in zip(cases, truth, strict=True):
            jac = JacobianAt(case.f, case.x[:num], plan=Plan.fixed())
            basis = top_singular(jac, rank, tol=TOL, block=block, guard=guard, verify=False)
            products += [each.total for each in basis.products_each]
            angles += [angle_deg(o.u, o.v.flatten(1), true) for o, true in zip(basis.samples(), exact, strict=True)]
        figures = {"products": statistics.fmean(products), "products / 2k": statistics.fmean(products) / (2 * rank)}
        rows.append(Row(table, f"block {block}, guard {guard}", figures | {"worst angle, deg": max(angles)}))
    return rows


def _starts(cases: list[Case], rank: int, num: int) -> list[Row]:
    """First vector: random, or a mix of the directions that other samples share (whose own cost is not counted)."""
    table = f"First vector of a block of one, k = {rank}: products"
    names = ("random", "random signs", "weighted by s", "weighted by 1/s")
    rows = {name: {} for name in names}
    for case in cases:
        shared, s = _shared(case, rank, num)
        for name in names:
            weight = {"weighted by s": s, "weighted by 1/s": 1 / s}.get(name, torch.ones_like(s))
            jac = JacobianAt(case.f, case.x[:num], plan=Plan.fixed())
            start = None if name == "random" else weight[:, None] * shared
            rows[name][case.name] = statistics.fmean(_products_from(jac, rank, start))
    return [Row(table, name, figures) for name, figures in rows.items()]


def _shared(case: Case, rank: int, num: int) -> tuple[Tensor, Tensor]:
    """The 2k directions of X that the neighbours have most in common, and how much, relative to the first."""
    bases = top_singular(JacobianAt(case.f, case.x[num:]), rank, tol=1e-2, verify=False)
    rows = (bases.v.flatten(2) * bases.s[..., None]).flatten(0, 1)
    _, s, v = torch.linalg.svd(rows, full_matrices=False)
    return v[: 2 * rank], s[: 2 * rank] / s[0]


def _products_from(jac: JacobianAt, rank: int, start: Tensor | None) -> list[int]:
    """Products of every sample when the first vector is a random mix of the rows of ``start``."""
    counts = []
    for i in range(jac.num_samples):
        generator = torch.Generator().manual_seed(7)
        state = Krylov(jac.subset([i]) if jac.num_samples > 1 else jac, 1, generator)
        if start is not None:
            state.v = orthonormal_rows(randn((1, 1, len(start)), generator, like=start).sign() @ start)[0]
        state.advance(Goal(rank, rank + GUARD, TOL, 10_000, is_probed=False))
        counts.append(state.num_products)
    return counts
