"""Block Golub-Kahan-Lanczos with full re-orthogonalisation, on a batch of Jacobians in step.

Two orthonormal bases grow in turn, a block at a time: U by J V (`push`), V by J^T U (`pull`). Every product is kept as
its coordinates in the other basis, so that two rank-sized matrices hold all that is known of J:

    J v_i   = sum_l pushed[i, l] u_l        J^T u_i = sum_l pulled[i, l] v_l

An SVD of one gives triplets, and the other gives their residuals without a further product. (Golub and Kahan 1965;
Golub, Luk and Overton 1981.)
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from pullback.geometry.coordinates import Coordinates
from pullback.geometry.jacobian import JacobianAt
from pullback.geometry.linalg import deflated, orthonormal_rows, randn, row_svd, small, svd_each
from pullback.geometry.triplets import Triplets, relative

CHECK_EVERY = 4
"""Products of a sample between two small SVDs, at least; a share of the triplets where that is more."""
NUM_PROBES = 3
PROBE_STEPS = 2


def check_interval(guarded: int, device: torch.device) -> int:
    """Products of a sample between two small SVDs, which the CPU computes while an accelerator waits."""
    return max(CHECK_EVERY, guarded // (8 if device.type == "cpu" else 2))


GUARD_TOL = 0.1
"""Relative residual at which a guard has shown itself, so that the gap behind the answer is known."""
SPAN_ANGLE = 5.0
"""Largest angle of the answer's span to the true one, in units of the tolerance: .3 degrees at tol 1e-3, as a bound."""
LEAST_GAP = 1e-2
"""Gap behind the answer, relative to s_1, below which its last directions are one cluster with the guards."""


@dataclass(frozen=True)
class Goal:
    """When to stop: when the span of ``rank`` triplets is right, or after ``max_products`` a sample.

    Attributes:
        rank: k.
        guarded: k and the guards.
        tol: Largest relative residual of the k.
        max_products: Budget.
        is_probed: Whether a deflated probe follows.
        noise: Relative residual that rounding leaves, below which nothing is asked for.
    """

    rank: int
    guarded: int
    tol: float
    max_products: int
    is_probed: bool
    noise: float = 0.0

    def is_met(self, s: Tensor, residual: Tensor) -> Tensor:
        """Which samples have ``guarded`` triplets that suffice.

        Residuals r_i of the k are at most ``tol``, those of the guards `GUARD_TOL`; and the bound of Wedin (1972) on
        the angle of the span, ``sin <= |r| / (s_k - s_{k+1})``, is at most `SPAN_ANGLE` times ``tol``. All are relative
        to s_1, so that the gap decides how far an answer must be refined. Without guards residuals alone decide.

        Args:
            s: Shape `(B, m)`, falling.
            residual: Relative, shape `(B, m)`.

        Returns:
            Shape `(B,)`.
        """
        if s.shape[1] < self.guarded:
            return torch.zeros(len(s), dtype=torch.bool)
        own, guards = residual[:, : self.rank], residual[:, self.rank : self.guarded]
        is_met = (own <= self.tol).all(-1) & (guards <= max(GUARD_TOL, self.tol)).all(-1)
        if 0 < self.rank < self.guarded:
            scale = s[:, 0].clamp_min(torch.finfo(s.dtype).tiny)
            gap = ((s[:, self.rank - 1] - s[:, self.rank]) / scale).clamp_min(LEAST_GAP)
            is_met &= torch.linalg.vector_norm(own, dim=-1) <= (SPAN_ANGLE * self.tol * gap).clamp_min(self.noise)
        return is_met


def lanczos(jac: JacobianAt, goal: Goal, *, block: int, generator: torch.Generator) -> Triplets:
    """The first ``goal.guarded`` triplets of every sample.

    Samples that have converged leave the batch. A deflated probe then looks for a singular value above s_rank outside
    the answer; where it finds one, its vectors join the bases and the iteration goes on.

    Args:
        jac: J at a batch of x.
        goal: When to stop.
        block: Directions a step.
        generator: For the first block, for what replaces dependent vectors, and for probes.

    Returns:
        ``goal.guarded`` triplets, verified where the goal was met.
    """
    found: dict[int, Triplets] = {}
    queue = [(list(range(jac.num_samples)), Krylov(jac, block, generator))]
    peak_bytes = 0
    while queue:
        samples, state = queue.pop()
        answer, is_done = state.advance(goal)
        peak_bytes = max(peak_bytes, state.num_bytes)
        done = [i for i in range(len(samples)) if is_done[i]]
        rest = [i for i in range(len(samples)) if not is_done[i]]
        verified, missing = _probe(state.jac.subset(done), _take(answer, done), goal, generator)
        for place, i in enumerate(done):
            directions = missing[place]
            if directions is not None and state.num_products < goal.max_products:
                queue.append(([samples[i]], state.subset([i]).with_directions(directions)))
            else:
                found[samples[i]] = _take(answer, [i], is_verified=verified[place : place + 1])
        if rest:
            queue.append(([samples[i] for i in rest], state.subset(rest)))
    return _join([found[i] for i in range(jac.num_samples)], peak_bytes)


class Krylov:
    """Orthonormal bases U `(B, m, D)` and V `(B, n, N)`, and J seen through them."""

    def __init__(self, jac: JacobianAt, block: int, generator: torch.Generator) -> None:
        self.jac = jac
        self.generator = generator
        first = randn((jac.num_samples, block, jac.dim_x), generator, like=jac.x).to(jac.dtype)
        self.v = orthonormal_rows(first)[0]
        self.u = self.v.new_zeros(jac.num_samples, 0, jac.dim_h)
        self.pushed = Coordinates(jac.num_samples)
        self.pulled = Coordinates(jac.num_samples, block)
        self.num_products = 0
        self.num_checked = 0

    @property
    def num_bytes(self) -> int:
        """Size of both bases."""
        return self.u.element_size() * (self.u.numel() + self.v.numel())

    @property
    def is_complete(self) -> bool:
        """Whether no vector is left to multiply: the bases span all that J can reach."""
        return self.pushed.num_rows == self.v.shape[1] and self.pulled.num_rows == self.u.shape[1]

    def advance(self, goal: Goal) -> tuple[Triplets, Tensor]:
        """Multiply until a sample meets the goal; also says which did, or gave up."""
        while True:
            if self.pushed.num_rows < self.v.shape[1]:
                self.push()
            else:
                self.pull()
            if min(self.pushed.num_rows, self.pulled.num_rows) < goal.guarded and not self.is_complete:
                continue
            is_last = self.is_complete or self.num_products >= goal.max_products
            if self.num_products < self.num_checked + check_interval(goal.guarded, self.v.device) and not is_last:
                continue
            self.num_checked = self.num_products
            s, u, v, residual = self.ritz(goal.guarded)
            is_done = goal.is_met(s, residual) | is_last
            if bool(is_done.any()):
                u, v = u.to(self.u) @ self.u[:, : u.shape[2]], v.to(self.v) @ self.v[:, : v.shape[2]]
                return Triplets(u, s, v, residual, is_done), is_done

    def push(self) -> None:
        """Multiply the new vectors of V by J, and extend U by what comes."""
        new = self.v[:, self.pushed.num_rows :]
        self.u, rows = extend(self.u, self.jac.jvp_flat(new), self.generator)
        self.pushed.append(rows)
        self.num_products += new.shape[1]

    def pull(self) -> None:
        """Multiply the new vectors of U by J^T, and extend V by what comes."""
        new = self.u[:, self.pulled.num_rows :]
        self.v, rows = extend(self.v, self.jac.vjp_flat(new), self.generator)
        self.pulled.append(rows)
        self.num_products += new.shape[1]

    def ritz(self, num: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Triplets from the side whose products are all expressed: s, coordinates of u and v, relative residual."""
        from_v = self.pulled.num_rows == self.u.shape[1]
        pushed, pulled = self.pushed.values, self.pulled.values
        inner, outer = (pushed, pulled) if from_v else (pulled, pushed)
        far, s, near = svd_each(inner)
        far, s, near = far.mT[:, :num], s[:, :num], near[:, :num]
        error = near @ outer
        error = error - pad(s[..., None] * far, (0, error.shape[2] - far.shape[2]))
        residual = relative(torch.linalg.vector_norm(error, dim=-1), s)
        return (s, near, far, residual) if from_v else (s, far, near, residual)

    def subset(self, samples: Sequence[int]) -> Krylov:
        """The state of some of the samples."""
        part = copy.copy(self)
        part.jac = self.jac.subset(samples)
        part.u, part.v = (each[list(samples)] for each in (self.u, self.v))
        part.pushed, part.pulled = (each.subset(samples) for each in (self.pushed, self.pulled))
        return part

    def with_directions(self, v: Tensor) -> Krylov:
        """Add directions to V, and what J makes of them to U, so that the next triplets know of them."""
        self.v, _ = extend(self.v, v, self.generator)
        self.pulled.width = self.v.shape[1]
        self.push()
        self.pull()
        return self


def extend(basis: Tensor, block: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Grow an orthonormal basis by a block of vectors, and express the block in it.

    Each new vector is projected out of the basis twice, which is enough. What the block lacks in rank is made up by
    random vectors, orthogonal to all others and with coordinate 0: so a zero Jacobian has a basis like any other.

    Args:
        basis: Orthonormal rows, shape `(B, m, n)`.
        block: Shape `(B, b, n)`.
        generator: For the random vectors.

    Returns:
        The larger basis, shape `(B, m + min(b, n - m), n)`, and the coordinates of ``block`` in it.
    """
    room = min(block.shape[1], basis.shape[2] - basis.shape[1])
    inside = block @ basis.mT  # (B, b, m)
    rest = block - inside @ basis
    mix, size, rows = row_svd(rest)  # rest = mix^T size rows
    mix, size, rows = mix[:, :room], size[:, :room], rows[:, :room]
    noise = 10 * torch.finfo(block.dtype).eps * small(torch.linalg.matrix_norm(block))
    is_lacking = size <= noise[:, None]
    if bool(is_lacking.any()):
        random = deflated(randn(tuple(rows.shape), generator, like=rows), basis)
        rows = torch.where(is_lacking[..., None].to(rows.device), random, rows)
        size = torch.where(is_lacking, 0.0, size)
    again = rows @ basis.mT
    new, triangle = orthonormal_rows(rows - again @ basis)
    weight = small(mix).mT * size[:, None, :]  # (B, b, room)
    coordinates = torch.cat([small(inside) + weight @ small(again), weight @ small(triangle)], dim=2)
    return torch.cat([basis, new], dim=1), coordinates


def _probe(
    jac: JacobianAt, answer: Triplets, goal: Goal, generator: torch.Generator
) -> tuple[Tensor, list[Tensor | None]]:
    """Which samples are verified, and the directions that one which is not has missed.

    A few power steps of random vectors on (I - U^T U) J (I - V^T V), as in SPEC section 2, with the guard vectors
    deflated too: whatever then exceeds s_rank was missed.
    """
    is_met = goal.is_met(answer.s, answer.residual)
    missing: list[Tensor | None] = [None] * len(is_met)
    if not goal.is_probed:
        return torch.zeros_like(is_met), missing
    if goal.rank == 0 or goal.guarded == min(jac.dim_h, jac.dim_x) or not bool(is_met.any()):
        return is_met, missing
    num = min(NUM_PROBES, jac.dim_x - goal.guarded, jac.dim_h - goal.guarded)
    start = randn((jac.num_samples, num, jac.dim_x), generator, like=jac.x).to(jac.dtype)
    probes, _ = orthonormal_rows(deflated(start, answer.v))
    images = deflated(jac.jvp_flat(probes), answer.u)
    for _ in range(PROBE_STEPS):
        probes = row_svd(deflated(jac.vjp_flat(images), answer.v))[2]
        probes, _ = orthonormal_rows(deflated(probes, answer.v))
        images = deflated(jac.jvp_flat(probes), answer.u)
    largest = row_svd(images)[1][:, 0]
    threshold = answer.s[:, goal.rank - 1] * (1 + goal.tol) + goal.tol * answer.s[:, 0]
    is_missed = is_met & (largest > threshold)
    for i in is_missed.nonzero().flatten().tolist():
        missing[i] = probes[i : i + 1]
    return is_met & ~is_missed, missing


def _take(answer: Triplets, samples: Sequence[int], is_verified: Tensor | None = None) -> Triplets:
    i = list(samples)
    is_verified = answer.is_verified[i] if is_verified is None else is_verified
    return Triplets(answer.u[i], answer.s[i], answer.v[i], answer.residual[i], is_verified)


def _join(parts: Sequence[Triplets], peak_bytes: int) -> Triplets:
    names = ("u", "s", "v", "residual", "is_verified")
    joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    return Triplets(**joined, krylov_bytes=peak_bytes)
