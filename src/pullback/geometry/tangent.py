"""The answer: singular triplets of J with all that is known about how good they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pullback.geometry.plan import Plan, Products
from pullback.types import Origin

CLUSTER_GAP = 0.01


@dataclass(frozen=True, eq=False)
class TangentBasis:
    """Local semantic directions at x: ``J = U S V^T``, cut at rank k  (2302.12469, 2307.12868).

    Rows are vectors and ``J v_i = + s_i u_i``. The free sign of a pair is fixed by one rule: the entry of largest
    magnitude of each u is positive. For a batch of x everything has a leading B; `sample` takes one out.

    Attributes:
        u: Orthonormal vectors in H, shape `(k, D)`.
        s: Singular values, decreasing, shape `(k,)`.
        v: Orthonormal vectors in X, shape `(k, *x_shape)`.
        residual: ``max(|J v - s u|, |J^T u - s v|) / s_1`` of each triplet, shape `(k,)`.
        s_next: The singular value after the last, 0 where there is none, shape `()`.
        is_verified: Whether the residuals met the tolerance in full precision and a deflated probe found no
            larger singular value outside the span; shape `()`. A small residual alone does not prove that these are
            the top k.
        products_each: Jacobian products spent, sample by sample.
        plan: How the products were computed.
        method: Name of the algorithm.
        krylov_bytes: Largest size of the Krylov bases, which grows with the rank, apart from activations.
        origin: All that determined f.
    """

    u: Tensor
    s: Tensor
    v: Tensor
    residual: Tensor
    s_next: Tensor
    is_verified: Tensor
    products_each: tuple[Products, ...]
    plan: Plan
    method: str
    krylov_bytes: int = 0
    origin: Origin = field(default_factory=dict)

    @property
    def rank(self) -> int:
        """How many triplets: k."""
        return self.s.shape[-1]

    @property
    def is_batched(self) -> bool:
        """Whether every tensor has a leading B."""
        return self.s.ndim == 2

    @property
    def verified(self) -> bool:
        """Whether every sample is verified."""
        return bool(self.is_verified.all())

    @property
    def products(self) -> Products:
        """Jacobian products spent, over all samples."""
        return sum(self.products_each, Products())

    @property
    def gap(self) -> Tensor:
        """``s_k / s_{k+1}``, infinite where nothing follows; shape `()`. An angle at a gap near 1 means nothing."""
        if self.rank == 0:
            return torch.full_like(self.s_next, torch.inf)
        last = self.s[..., -1]
        return torch.where(self.s_next > 0, last / self.s_next, torch.inf)

    @property
    def clusters(self) -> tuple[Any, ...]:
        """Runs of indices whose neighbours differ by at most 1 % of s, each to be compared as a subspace only.

        Tuples of indices; a batch has one tuple of them for each sample.

        Example:
            >>> from pullback.testing import planted_spectrum
            >>> from pullback.geometry import JacobianAt, top_singular
            >>> f = planted_spectrum([3.0, 2.0, 2.0, 1.0], dim_x=8, dim_h=6)
            >>> top_singular(JacobianAt(f, torch.zeros(8)), 3).clusters
            ((0,), (1, 2))
        """
        if self.is_batched:
            return tuple(sample.clusters for sample in self.samples())
        return clusters_of(self.s.tolist())

    def sample(self, index: int) -> TangentBasis:
        """The basis at one x of a batch; a single basis is its own sample 0."""
        if not self.is_batched:
            return self.samples()[index]
        return TangentBasis(
            u=self.u[index],
            s=self.s[index],
            v=self.v[index],
            residual=self.residual[index],
            s_next=self.s_next[index],
            is_verified=self.is_verified[index],
            products_each=(self.products_each[index],),
            plan=self.plan,
            method=self.method,
            krylov_bytes=self.krylov_bytes,
            origin=self.origin,
        )

    def samples(self) -> tuple[TangentBasis, ...]:
        """One basis for each x."""
        return tuple(self.sample(i) for i in range(len(self.s))) if self.is_batched else (self,)


def joined(parts: Sequence[TangentBasis]) -> TangentBasis:
    """Batched bases of one map, rank and plan as one batch, in order.

    Args:
        parts: One or more, each batched.
    """
    first = parts[0]
    names = ("u", "s", "v", "residual", "s_next", "is_verified")
    return dataclasses.replace(
        first,
        **{name: torch.cat([getattr(part, name) for part in parts]) for name in names},
        products_each=tuple(products for part in parts for products in part.products_each),
        krylov_bytes=max(part.krylov_bytes for part in parts),
    )


def clusters_of(s: list[float], *, relative_gap: float = CLUSTER_GAP) -> tuple[tuple[int, ...], ...]:
    """Runs of a decreasing list whose neighbours differ by at most ``relative_gap`` of the larger one.

    Example:
        >>> clusters_of([4.0, 2.0, 1.99, 0.0, 0.0])
        ((0,), (1, 2), (3, 4))
    """
    runs: list[list[int]] = []
    for i, value in enumerate(s):
        if i and s[i - 1] - value <= relative_gap * s[i - 1]:
            runs[-1].append(i)
        else:
            runs.append([i])
    return tuple(tuple(run) for run in runs)


def signs(u: Tensor) -> Tensor:
    """+1 or -1 for each row of u: what makes its entry of largest magnitude positive; shape `(..., k, 1)`."""
    peak = u.gather(-1, u.abs().argmax(dim=-1, keepdim=True))
    return torch.where(peak < 0, -1.0, 1.0).to(u)
