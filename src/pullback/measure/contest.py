"""Ways of making K directions, side by side on the portrait world: ours, the controls, the supervised ceiling.

Each method is a function from latents x at t to unit directions at x, so that all are moved, denoised and read in the
same way. A direction of H becomes one of X by one reverse product, ``v = J^T u / |J^T u|``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pullback.directions.tasks import Cost
from pullback.errors import TransportWarning
from pullback.geometry.tangent import TangentBasis
from pullback.geometry.transport import Inverse, one_product, transport
from pullback.measure.effects import Effects
from pullback.measure.score import (
    Indices,
    bootstrap,
    coverage,
    dci,
    num_found,
    num_found_null,
    purity,
    purity_of_mean,
    success,
    symmetry,
    transfer,
)
from pullback.types import FeatureMap

Array = NDArray[np.float64]
Mover = Callable[[Tensor], Tensor]
"""Latents `(S, *x_shape)` to unit directions `(S, K, *x_shape)`."""


def by_one_product(f: FeatureMap, u: Tensor, *, chunk: int = 16) -> Mover:
    """Directions of H, shape `(K, D)`, made on each sample by one reverse product."""
    return lambda x: torch.cat([one_product(f, part, u) for part in x.split(chunk)])


def by_transport(
    f: FeatureMap,
    u: Tensor,
    basis_of: Callable[[FeatureMap, Tensor], TangentBasis],
    *,
    inverse: Inverse = "transpose",
) -> Mover:
    """Directions of H, shape `(K, D)`, transported to a tangent basis of each sample."""

    def move(x: Tensor) -> Tensor:
        basis = basis_of(f, x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TransportWarning)  # random controls are foreign to every sample
            return torch.stack([transport(u, basis.sample(i), inverse=inverse).v for i in range(len(x))])

    return move


def everywhere(v: Tensor) -> Mover:
    """The same directions of X, shape `(K, *x_shape)`, on each sample."""
    return lambda x: v.to(x).expand(len(x), *v.shape)


def ridge_directions(h: Tensor, z: Array, *, num: int | None = None, penalty: float = 0.1) -> Tensor:
    """The supervised ceiling: for each factor, the ridge regression of z on h, as unit vectors of H.

    ``w_j = H^T a_j`` with ``a_j = (H H^T + lambda I)^-1 z_j``, centred h and lambda = penalty x mean eigenvalue.

    Args:
        h: Features of latents of known factors, shape `(M, D)`.
        z: Their factors, shape `(M, F)`.
        num: How many factors may have a direction: those whose values h predicts best, by the error of each latent
            from all others, ``a_ij / (H H^T + lambda I)^-1_ii``, relative to the variance. None for all.
        penalty: Relative strength of the penalty, > 0.

    Returns:
        Shape `(F, D)` in the order of the factors, or `(min(num, F), D)`, what h predicts best first; float32.
    """
    centred = h.double() - h.double().mean(dim=0)
    gram = centred @ centred.T
    target = torch.from_numpy(z - z.mean(axis=0))
    eye = torch.eye(len(gram), dtype=gram.dtype) * penalty * gram.diagonal().mean()
    inverse = torch.linalg.inv(gram + eye)
    weights = inverse @ target  # (M, F)
    errors = (weights / inverse.diagonal()[:, None]).square().mean(dim=0) / target.square().mean(dim=0)
    kept = slice(None) if num is None else errors.argsort(stable=True)[:num]
    w = weights[:, kept].T @ centred
    return (w / w.norm(dim=1, keepdim=True)).float()


@dataclass(frozen=True)
class Result:
    """One row of the comparison.

    Attributes:
        method: What made the directions.
        effects: What they did to held-out samples.
        cost: What it took to find them, as counted; not what moving and reading took, which is the same for all.
    """

    method: str
    effects: Effects
    cost: Cost = field(default_factory=Cost)

    def row(self, counts: Sequence[int] = (12, 24), *, seed: int = 0) -> dict[str, str | float]:
        """Returns the figures as plain values: D@K with its matched null, purity, transfer, pass rate ...

        A method with fewer than K directions enters D@K with all it has.
        """
        odd, passed = self.effects.odd, np.asarray(self.effects.passed.all(axis=2))
        figures: dict[str, str | float] = {"method": self.method}
        figures["directions"] = len(odd)
        for count in counts:
            found = bootstrap(lambda odd, drawn: float(num_found(odd, drawn)), odd[:count], num=100, seed=seed)
            figures |= {f"D@{count}": found.value, f"D@{count} low": found.low, f"D@{count} high": found.high}
            figures[f"D@{count} null 99 %"] = num_found_null(odd[:count], seed=seed)
        for name, figure in FIGURES.items():
            value = bootstrap(lambda odd, drawn, figure=figure: float(np.mean(figure(odd, drawn))), odd, seed=seed)
            figures |= {name: value.value, f"{name} low": value.low, f"{name} high": value.high}
        figures["symmetry"] = float(symmetry(odd, self.effects.even).mean())
        figures["success"] = float(success(odd, passed).mean())
        figures["pass rate"] = float(self.effects.passed.mean())
        for name in ("locality", "outside"):
            if (values := getattr(self.effects, name)) is not None:
                found = bootstrap(lambda values, drawn: float(values[:, drawn].mean()), values, seed=seed)
                figures |= {name: found.value, f"{name} low": found.low, f"{name} high": found.high}
        if self.effects.outside_of_even is not None:
            figures["outside of even"] = float(self.effects.outside_of_even.mean())
        figures["coverage"] = float(coverage(odd).mean())
        figures["disentanglement"], figures["completeness"] = dci(odd)
        figures["effect"] = float(self.effects.size.mean())
        figures["length"] = float(np.median(self.effects.length))
        return figures


FIGURES: dict[str, Callable[[Array, Indices], Array]] = {
    "purity": purity,
    "purity of mean": lambda odd, drawn: purity_of_mean(odd[:, drawn]),
    "transfer": transfer,
}
