"""Where Lanczos may start if not at random, in two phases, and the least that it needs at all."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from benchmarks.cases import Case, portraits
from benchmarks.record import Row
from benchmarks.solvers import TOL, angle_deg, true_bases
from pullback.geometry import JacobianAt, Plan, TangentBasis, top_singular
from pullback.geometry.cost import GUARD
from pullback.geometry.lanczos import Goal, Krylov, lanczos
from pullback.geometry.linalg import orthonormal_rows, randn

NEIGHBOURS = 4
LATER = 0.02
"""Share of T by which a timestep before lies nearer to noise: twenty of a thousand."""
DEGREES = 0.1
STEP = 4
"""Products between two looks at the truth."""
SEED = 7


def start_rows(cases: Sequence[Case], before: Sequence[Case], rank: int, num: int) -> list[Row]:
    """Tables of first blocks, of two phases, and of the least that could do.

    Args:
        cases: Float32 maps with latents: the first ``num`` are computed, the others are their neighbours.
        before: The same samples `LATER` nearer to noise, for each case.
        rank: k.
        num: Samples of each case.
    """
    return [*blocks(cases, before, rank, num), *phases(cases, rank, num), *least(cases, rank, num)]


def portraits_rows(*, ranks: tuple[int, ...] = (10, 50), num: int = 2) -> list[Row]:
    """These tables of the shipped model, at three timesteps."""
    shares = (0.8, 0.5, 0.2)
    cases = portraits(t_fractions=shares, num=num + NEIGHBOURS)
    before = portraits(t_fractions=[share + LATER for share in shares], num=num)
    return [row for rank in ranks for row in start_rows(cases, before, rank, num)]


def vectors(cases: Sequence[Case], rank: int, num: int) -> list[Row]:
    """First vector: random, or a mix of the directions that other samples share (whose own cost is not counted)."""
    table = f"First vector of a block of one, k = {rank}: products"
    names = ("random", "random signs", "weighted by s", "weighted by 1/s")
    rows = {name: {} for name in names}
    for case in cases:
        known = _neighbours(case, rank, num)
        shared, s = _shared(known.v.flatten(2), known.s, 2 * rank)
        for name in names:
            weight = {"weighted by s": s, "weighted by 1/s": 1 / s}.get(name, torch.ones_like(s))
            start = None if name == "random" else weight[:, None] * shared
            counts = []
            for jac in _each(case, num):
                generator = torch.Generator().manual_seed(SEED)
                mixed = start
                if start is not None:
                    mixed = orthonormal_rows(randn((1, 1, len(start)), generator, like=start).sign() @ start)[0][0]
                counts.append(_products(jac, rank, mixed, generator))
            rows[name][case.name] = statistics.fmean(counts)
    return [Row(table, name, figures) for name, figures in rows.items()]


def blocks(cases: Sequence[Case], before: Sequence[Case], rank: int, num: int) -> list[Row]:
    """First block of k + 5: what is known of other samples, or of the same sample at a timestep before.

    What the start itself takes is counted where it is products at this sample, J^T U; the bases of others are not.
    """
    table = f"First block of k + {GUARD}, k = {rank}, {num} samples x {len(cases)} timesteps: products"
    found: dict[str, list[float]] = {}
    for case, noisier in zip(cases, before, strict=True):
        earlier = [_basis(jac, rank + GUARD).v.flatten(1) for jac in _each(noisier, num)]
        known = _neighbours(case, rank + GUARD, num)
        v, _ = _shared(known.v.flatten(2), known.s, rank + GUARD)
        u, _ = _shared(known.u, known.s, rank + GUARD)
        for jac, own in zip(_each(case, num), earlier, strict=True):
            starts: Mapping[str, Tensor | None] = {
                "random": orthonormal_rows(randn((1, rank + GUARD, jac.dim_x), _seeded(), like=jac.x))[0][0],
                "v of one neighbour": known.v[0].flatten(1),
                f"what {NEIGHBOURS} neighbours share in X": v,
                f"J^T of what {NEIGHBOURS} neighbours share in H": orthonormal_rows(jac.vjp_flat(u[None]))[0][0],
                "its own v, 20 timesteps before": own,
            }
            for name, start in starts.items():
                extra = rank + GUARD if name.startswith("J^T") else 0
                found.setdefault(name, []).append(_products(jac, rank, start, _seeded()) + extra)
            found.setdefault("no block: one random vector", []).append(_products(jac, rank, None, _seeded()))
    return [
        Row(table, name, {"products": statistics.fmean(each), "products / 2k": statistics.fmean(each) / (2 * rank)})
        for name, each in found.items()
    ]


def phases(cases: Sequence[Case], rank: int, num: int) -> list[Row]:
    """A first phase to a loose tolerance, as low precision allows, and what is then left to do in full precision."""
    table = f"Two phases, k = {rank}, {num} samples x {len(cases)} timesteps: products without the probe"
    rows = []
    for loose in (1e-1, 1e-2):
        counts: dict[str, list[float]] = {"first phase": [], "then to 1e-3": [], "at once to 1e-3": []}
        for jac in (jac for case in cases for jac in _each(case, num)):
            goal = Goal(rank, rank + GUARD, loose, 10_000, is_probed=False)
            before = jac.products.total
            answer = lanczos(jac, goal, block=1, generator=_seeded())
            counts["first phase"].append(jac.products.total - before)
            counts["then to 1e-3"].append(_products(jac, rank, answer.v[0], _seeded()))
            counts["at once to 1e-3"].append(_products(jac, rank, None, _seeded()))
        rows.append(Row(table, f"first to {loose:g}", {name: statistics.fmean(each) for name, each in counts.items()}))
    return rows


def least(cases: Sequence[Case], rank: int, num: int) -> list[Row]:
    """Products after which the answer is right, as only somebody knows who has the truth, and those of our own stop."""
    table = f"The least that could do, k = {rank}, {num} samples x {len(cases)} timesteps: products without the probe"
    told, ours = [], []
    for case in cases:
        truth = true_bases(Case(case.name, case.f, case.x[:num]), rank)
        for jac, true in zip(_each(case, num), truth, strict=True):
            told.append(_until_right(jac, rank, true))
            ours.append(_products(jac, rank, None, _seeded()))
    rows = {f"until {DEGREES} deg and residual 1e-3, told the truth": told, "until our own stop": ours}
    return [
        Row(table, name, {"products": statistics.fmean(each), "products / 2k": statistics.fmean(each) / (2 * rank)})
        for name, each in rows.items()
    ]


def _until_right(jac: JacobianAt, rank: int, truth: TangentBasis) -> int:
    state = Krylov(jac, 1, _seeded())
    while True:
        for _ in range(STEP // 2):
            state.push()
            state.pull()
        if state.pulled.num_rows < rank:
            continue
        _, u, v, residual = state.ritz(rank)
        if float(residual.max()) > TOL:
            continue
        u, v = u.to(state.u) @ state.u[:, : u.shape[2]], v.to(state.v) @ state.v[:, : v.shape[2]]
        if angle_deg(u[0], v[0], truth) <= DEGREES:
            return state.num_products


def _each(case: Case, num: int) -> list[JacobianAt]:
    return [JacobianAt(case.f, case.x[i : i + 1], plan=Plan.fixed()) for i in range(num)]


def _basis(jac: JacobianAt, rank: int) -> TangentBasis:
    return top_singular(jac, rank, tol=1e-2, verify=False).samples()[0]


def _neighbours(case: Case, rank: int, num: int) -> TangentBasis:
    return top_singular(JacobianAt(case.f, case.x[num:]), rank, tol=1e-2, verify=False)


def _shared(rows: Tensor, s: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The directions that samples have most in common, and how much, relative to the first: `(B, k, N)` to `(r, N)`."""
    _, size, v = torch.linalg.svd((rows * s[..., None]).flatten(0, 1), full_matrices=False)
    return v[:rank], size[:rank] / size[0]


def _products(jac: JacobianAt, rank: int, start: Tensor | None, generator: torch.Generator) -> int:
    """Products to the end from orthonormal rows, or from one random vector."""
    state = Krylov(jac, 1 if start is None else len(start), generator)
    if start is not None:
        state.v = start[None].to(state.v)
    state.advance(Goal(rank, rank + GUARD, TOL, 10_000, is_probed=False))
    return state.num_products


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)
