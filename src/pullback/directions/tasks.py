"""What an estimator of directions is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from pullback.directions.global_ import Match
from pullback.directions.masks import Mask
from pullback.directions.types import Direction
from pullback.geometry.plan import Plan
from pullback.geometry.tangent import TangentBasis
from pullback.models import Denoiser
from pullback.models.schedule import Time
from pullback.types import FeatureMap, Pool


@dataclass(frozen=True)
class Cost:
    """What an estimate took; a product is one Jv or J^T u of one sample, a pass one evaluation of one sample.

    Attributes:
        encoder_products: Products of the network up to h.
        network_products: Products of the whole network.
        encoder_passes: Evaluations of h.
        network_passes: Evaluations of the whole network, such as those of the walk to the samples.

    Example:
        >>> (Cost(encoder_products=3) + Cost(network_passes=2)).work(network_over_encoder=4)
        11
    """

    encoder_products: int = 0
    network_products: int = 0
    encoder_passes: int = 0
    network_passes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def work(self, *, network_over_encoder: int) -> int:
        """All of it in passes of the encoder, a product as one: the whole network counts as several."""
        encoder = self.encoder_products + self.encoder_passes
        return encoder + network_over_encoder * (self.network_products + self.network_passes)


@dataclass(frozen=True, eq=False)
class Estimate:
    """Directions with the map that applies them.

    Attributes:
        directions: At most as many as were asked for.
        f: The map whose ``J^T u`` makes a direction of H one of X at a sample. Directions of X do not need it.
        cost: What they took.
        bases: Local bases that they were made from, empty for methods without Jacobian. Those of ``"decoder"``
            have u and v changed over: u is what lives in H.
    """

    directions: tuple[Direction, ...]
    f: FeatureMap
    cost: Cost
    bases: tuple[TangentBasis, ...] = ()


@dataclass(frozen=True, eq=False)
class Task:
    """What to find directions of, the same for every estimator.

    Attributes:
        den: The model.
        x: One latent at t, `x_shape`: local directions. Or two and more, `(B, *x_shape)`: global ones.
        t: Their timestep.
        rank: How many directions; local bases are of this rank too.
        layer: Path of the feature layer, where h matters.
        pool: Pooling of h.
        cond: Condition.
        match: How local directions become global ones.
        tol: Largest residual of a local basis.
        batch: Samples that go through the network together.
        size: Of a perturbation, for ``"pca_perturbed"``.
        num_perturbations: For each sample, for ``"pca_perturbed"``.
        mask: In x0, for ``"loco"``, which needs one; the others refuse it, since they know no region.
        plan: How products are computed; if None measured by estimators of h, ``Plan.fixed()`` for other maps.
        seed: Of starting vectors, perturbations and random directions.
    """

    den: Denoiser
    x: Tensor
    t: Time
    rank: int = 10
    layer: str | None = None
    pool: Pool = "none"
    cond: Any = None
    match: Match = "nearest"
    tol: float = 1e-3
    batch: int = 4
    size: float = 0.1
    num_perturbations: int = 64
    mask: Mask | None = None
    plan: Plan | None = None
    seed: int = 0

    @property
    def samples(self) -> Tensor:
        """The latents as a batch."""
        return self.x if self.x.ndim > len(self.den.x_shape) else self.x[None]

    def feature_map(self, pool: Pool | None = None) -> FeatureMap:
        """The map x -> h of the task."""
        return self.den.feature_map(t=self.t, layer=self.layer, pool=pool or self.pool, cond=self.cond)

    def generator(self) -> torch.Generator:
        """A fresh generator of the task's seed."""
        return torch.Generator().manual_seed(self.seed)
