"""A short measurement that picks the engines."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from pullback.errors import ModelError, NoMemoryError
from pullback.geometry.cost import BLOCKS, GUARD, expected_products, timed
from pullback.geometry.jacobian import JacobianAt
from pullback.geometry.linalg import generator_or_fixed, randn
from pullback.geometry.memory import release
from pullback.geometry.plan import JvpEngine, Plan, VjpEngine
from pullback.types import FeatureMap

JVP_TIERS: tuple[tuple[JvpEngine, ...], ...] = (("vmap", "loop", "double_backward"), ("finite_difference",))
VJP_TIERS: tuple[tuple[VjpEngine, ...], ...] = (("vmap", "loop"),)
CHUNK, CHUNK_ACCELERATOR = 16, 64
E = TypeVar("E", bound=str)
_PLANS: weakref.WeakKeyDictionary[FeatureMap, dict[tuple[int, ...], Plan]] = weakref.WeakKeyDictionary()


def measure_plan(
    f: FeatureMap | Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    rank: int = 10,
    chunk: int | None = None,
    generator: torch.Generator | None = None,
) -> Plan:
    """Time the engines at x, after a warm-up call each, and keep the fastest jvp and the fastest vjp.

    An engine that is fast on one direction may be slow on many and the other way round: each is judged at the width of
    block at which a basis takes it least time. Finite differences are tried where no exact engine works; they, and
    double backward where forward mode fails, come with a warning that says why.

    Args:
        f: A feature map, or a plain batched callable.
        x: One latent or a batch, as the products will meet it.
        rank: Of the bases that engines are compared for: narrow blocks suit low ranks.
        chunk: Most (sample, direction) pairs in one network call, 16 on a CPU and 64 elsewhere by default; the plan has
            fewer if memory runs out.
        generator: For the directions that are timed.

    Returns:
        A plan with all times filled in. Costs some ten chunks of products, and two calls of each narrower width.

    Raises:
        ModelError: If no engine can differentiate the map.
        NoMemoryError: If every exact engine wants too much memory for one direction of these samples.
    """
    generator = generator_or_fixed(generator)
    jac = JacobianAt(f, x)
    chunk = (CHUNK if jac.x.device.type == "cpu" else CHUNK_ACCELERATOR) if chunk is None else chunk
    most = max(1, chunk // jac.num_samples)
    v = randn((jac.num_samples, most, jac.dim_x), generator, like=jac.x).to(jac.dtype)
    u = randn((jac.num_samples, most, jac.dim_h), generator, like=jac.x).to(jac.dtype)
    fitting = [chunk]

    def seconds_per_jvp(engine: JvpEngine, num: int = most) -> float:
        trial = JacobianAt(jac.f, x, plan=Plan.fixed(engine, chunk=min(fitting)))
        seconds = timed(lambda: trial.jvp_flat(v[:, :num]), jac.x.device)
        fitting.append(trial.plan.chunk)
        return seconds / num / jac.num_samples

    def seconds_per_vjp(engine: VjpEngine, num: int = most) -> float:
        trial = JacobianAt(jac.f, x, plan=Plan.fixed(vjp_engine=engine, chunk=min(fitting)))
        seconds = timed(lambda: trial.vjp_flat(u[:, :num]), jac.x.device)
        fitting.append(trial.plan.chunk)
        return seconds / num / jac.num_samples

    def basis_by(seconds: Callable[[E, int], float]) -> Callable[[E], float]:
        widths = {1, min(most, BLOCKS[-1])}
        return lambda engine: min(expected_products(rank + GUARD, num) * seconds(engine, num) for num in widths)

    jvp_engine = _fastest(JVP_TIERS, basis_by(seconds_per_jvp))
    vjp_engine = _fastest(VJP_TIERS, basis_by(seconds_per_vjp))
    jvp_seconds, vjp_seconds = seconds_per_jvp(jvp_engine), seconds_per_vjp(vjp_engine)
    by_width = [
        (num * jac.num_samples, (seconds_per_jvp(jvp_engine, num) + seconds_per_vjp(vjp_engine, num)) / 2)
        for num in BLOCKS
        if num < most
    ]
    by_width.append((most * jac.num_samples, (jvp_seconds + vjp_seconds) / 2))
    return Plan(jvp_engine, vjp_engine, min(fitting), "auto", jvp_seconds, vjp_seconds, tuple(by_width))


def timed_plan(f: FeatureMap, x: Tensor, plan: Plan, *, generator: torch.Generator | None = None) -> Plan:
    """``plan`` with the times that its engines take here and now: what an older run chose, at its cost today.

    Args:
        f: A feature map.
        x: One latent or a batch, as the products will meet it.
        plan: Engines and chunk; its times are not looked at.
        generator: For the directions that are timed.

    Returns:
        The same engines with all times filled in, and a smaller chunk if memory runs out.

    Raises:
        ModelError: If an engine of the plan cannot differentiate the map here.
    """
    generator = generator_or_fixed(generator)
    jac = JacobianAt(f, x, plan=plan)
    most = max(1, plan.chunk // jac.num_samples)
    shapes = [(jac.num_samples, most, dim) for dim in (jac.dim_x, jac.dim_h)]
    v, u = (randn(shape, generator, like=jac.x).to(jac.dtype) for shape in shapes)

    def seconds(num: int) -> tuple[float, float]:
        calls = (lambda: jac.jvp_flat(v[:, :num]), lambda: jac.vjp_flat(u[:, :num]))
        jvp, vjp = (timed(call, jac.x.device) / num / jac.num_samples for call in calls)
        return jvp, vjp

    by_width = {num: seconds(num) for num in (*(block for block in BLOCKS if block < most), most)}
    means = tuple((num * jac.num_samples, sum(each) / 2) for num, each in by_width.items())
    jvp, vjp = by_width[most]
    return replace(plan, chunk=jac.plan.chunk, seconds_per_jvp=jvp, seconds_per_vjp=vjp, seconds_by_width=means)


def plan_for(f: FeatureMap, x: Tensor, *, rank: int) -> Plan:
    """`measure_plan`, once for each map, rank and shape of x."""
    plans = _PLANS.setdefault(f, {})
    key = (rank, *x.shape)
    if key not in plans:
        plans[key] = measure_plan(f, x, rank=rank)
    return plans[key]


def _fastest(tiers: Sequence[Sequence[E]], seconds: Callable[[E], float]) -> E:
    """The fastest engine of the first tier in which one works; one that wants too much memory is one that failed."""
    reason, lack = "", None
    for tier in tiers:
        times: dict[E, float] = {}
        for engine in tier:
            try:
                times[engine] = seconds(engine)
            except NoMemoryError as error:
                release(error)
                lack, reason = error.with_traceback(None), f"{engine} wants too much memory"
            except (ModelError, NotImplementedError, RuntimeError) as error:
                reason = f"{engine} failed: {str(error).splitlines()[0]}"
        if times:
            best = min(times, key=lambda engine: times[engine])
            if reason and best not in ("vmap", "loop"):
                warnings.warn(f"products use {best}, since {reason}", stacklevel=3)
            return best
        if lack is not None:  # fewer samples at a time would do, which is better than an engine that is not exact
            raise lack
    raise ModelError(
        wanted="f must be differentiable in x",
        got=reason,
        hint="pullback.testing.check_feature_map(f, x) names the cause",
    )
