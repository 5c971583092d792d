"""Ideas for fewer products, each with its figure: kept or dropped."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import get_args

import torch
from torch import Tensor

import pullback
from benchmarks.cases import Case, celebahq, portraits, wide_pooled
from benchmarks.record import Row, say
from benchmarks.solvers import TOL, angle_deg, true_bases
from benchmarks.starts import NEIGHBOURS, vectors
from pullback.geometry import JacobianAt, Plan, measure_plan, top_singular
from pullback.geometry.linalg import randn
from pullback.geometry.plan import JvpEngine, VjpEngine
from pullback.types import FeatureMap


def idea_rows(*, ranks: tuple[int, ...] = (10, 50), num: int = 2) -> list[Row]:
    """Width of the block, guards, and the first vector, if not random; products without the probe."""
    cases = portraits(num=num + NEIGHBOURS)
    return [row for rank in ranks for row in (*_blocks(cases, rank, num), *vectors(cases, rank, num))]


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
        with torch.no_grad(), torch.autocast(x.device.type, torch.bfloat16):
            low = fastest_of(lambda x=x: case.f(x)) / samples
        rows.setdefault("a pass in bfloat16", {})[f"{samples} samples x {directions}"] = low / forward
    table = "Time of one product, in passes of the encoder; double_backward and vjp share one primal pass"
    return [Row(table, name, figures) for name, figures in rows.items()]


class TimedJacobianAt(JacobianAt):
    """A Jacobian that adds up the seconds of its products; those at a part of its samples count too."""

    def __init__(self, f: FeatureMap, x: Tensor, *, plan: Plan | None = None, clock: list[float] | None = None) -> None:
        super().__init__(f, x, plan=plan)
        self.clock = [] if clock is None else clock

    def jvp_flat(self, v: Tensor) -> Tensor:
        """``J v``, timed."""
        return self._timed(super().jvp_flat, v)

    def vjp_flat(self, u: Tensor) -> Tensor:
        """``J^T u``, timed."""
        return self._timed(super().vjp_flat, u)

    def _timed(self, multiply: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        start = time.perf_counter()
        product = multiply(rows)
        self.clock.append(time.perf_counter() - start)
        return product

    def _at(self, x: Tensor, samples: Sequence[int], plan: Plan) -> JacobianAt:
        return TimedJacobianAt(self.f, x, plan=plan, clock=self.clock)


def algebra_rows(*, ranks: Sequence[int] = (10, 50), batches: Sequence[int] = (1, 8)) -> list[Row]:
    """What of a basis is not its products: all that deflation, which spares none of these, could save."""
    case = portraits(t_fractions=(0.8,), num=max(batches))[0]
    return [algebra_row(case, rank, num) for rank in ranks for num in batches]


def algebra_row(case: Case, rank: int, num: int) -> Row:
    """One basis of so many latents together."""
    x = case.x[:num]
    jac = TimedJacobianAt(case.f, x, plan=measure_plan(case.f, x, rank=rank))
    start = time.perf_counter()
    top_singular(jac, rank, tol=TOL)
    seconds, products = time.perf_counter() - start, sum(jac.clock)
    figures = {"seconds": seconds, "of it products": products, "share of the rest": 1 - products / seconds}
    return Row("What of a basis is not its products", f"{case.name}, k = {rank}, latents: {num}", figures)


def pooled_rows(*, ranks: tuple[int, ...] = (10, 50), num: int = 8) -> list[Row]:
    """A pooled feature whole, by one reverse product a channel, against Lanczos, and where it gets dearer."""
    model = pullback.load("portraits")
    x = model.sample_latent(t_fraction=0.8, seeds=range(num), num_steps=20)
    small = Case("portraits", model.feature_map(t_fraction=0.8, pool="sum"), x)
    return [row for case in (small, wide_pooled(num=2)) for rank in ranks for row in _pooled(case, rank)]


def _pooled(case: Case, rank: int) -> list[Row]:
    (channels,) = case.f.h_shape
    num = len(case.x)
    table = f"A pooled h of {channels:,} channels whole, against Lanczos; {num} samples in a batch"
    plan, figures = measure_plan(case.f, case.x, rank=rank), {}
    for method in ("pooled", "lanczos"):
        jac = JacobianAt(case.f, case.x, plan=plan)
        start = time.perf_counter()
        basis = top_singular(jac, rank, method=method, tol=TOL)
        figures[f"{method}, products"] = basis.products.total / num
        figures[f"{method}, s a sample"] = (time.perf_counter() - start) / num
    even = channels * figures["lanczos, s a sample"] / figures["pooled, s a sample"]
    return [Row(table, f"k = {rank}", figures | {"as dear at so many channels": even})]


def spectrum_rows(*, ranks: tuple[int, ...] = (10, 50), guard: int = 5) -> list[Row]:
    """How fast singular values fall: what a Krylov space has to grow to, before its k-th direction stands out."""
    rows = []
    for case in (portraits(t_fractions=(0.8,), num=1)[0], celebahq(size=64)[0]):
        say(case.name)
        most = max(ranks) + guard
        jac = JacobianAt(case.f, case.x, plan=measure_plan(case.f, case.x, rank=most))
        s = top_singular(jac, most, tol=TOL).s[0].tolist()
        figures = {f"s_{k} / s_1": s[k - 1] / s[0] for k in ranks}
        figures |= {f"s_{k + guard} / s_{k}": s[k + guard - 1] / s[k - 1] for k in ranks}
        rows.append(Row("Spectra, one latent at t/T = .8", case.name, figures))
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
