"""What all figures of one run share: the model, its latents from seeds, and bases that are computed once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from pullback.analyses.parts import Parts
from pullback.analyses.record import Value
from pullback.analyses.sizes import Size
from pullback.api.banked import banked_bases
from pullback.api.finder import check_rank
from pullback.api.model import Model
from pullback.api.settings import HELD_OUT_OFFSET, SEEDS_PER_RUN, Report, silent
from pullback.bank.bases import unit_of
from pullback.edit import typical_distance
from pullback.geometry import Plan, TangentBasis
from pullback.geometry.batching import most_on, plan_and_batch
from pullback.models import Condition, NetworkFeatureMap
from pullback.models.multistep import denoise_multistep, picture_steps
from pullback.portraits.judge import Judge
from pullback.types import Pool

TOL = 1e-3
NUM_COMPARED = 16
"""Samples whose features are compared to find the unit of scale, as every edit does."""


@dataclass(eq=False)
class Context:
    """One run of analyses.

    Attributes:
        model: The model.
        size: How much is computed.
        seed: Of the run; other seeds take other samples.
        bank: Folder that keeps bases, shared by all figures; None computes each anew.
        judge: Reads factors, where they are known.
        siblings: Folder of models of few and of many factors, for the figure that compares them.
        prompts: Texts, for the figure that compares them.
        progress: Called as ``progress(stage, done, total)``.
        figure: The one that is being made.
        parts: Parts of it that are finished.
        most_bases: How many bases it needs at most.
        num_bases: How many of them it has by now.
        batch: Latents whose bases are computed together; as many as fit if 0, fewer once memory has run out.
        how: How the run computes; measured at the first latents it meets if None.
    """

    model: Model
    size: Size
    seed: int = 0
    bank: Path | None = None
    judge: Judge | None = None
    siblings: Path | None = None
    prompts: Sequence[str] = ()
    progress: Report = silent
    figure: str = ""
    parts: Parts = field(default_factory=Parts)
    most_bases: int = 1
    num_bases: int = 0
    batch: int = 0
    how: Plan | None = None
    _distances: dict[str, float] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.batch = self.batch or most_on(self.model.device)

    def begin(self, figure: str, most_bases: int, parts: Parts) -> None:
        """Counts from here on for another figure."""
        self.figure, self.parts, self.most_bases, self.num_bases = figure, parts, max(most_bases, 1), 0
        self.count(0)

    def count(self, num_bases: int) -> None:
        """So many bases more are there."""
        self.num_bases += num_bases
        self.progress(self.figure, min(self.num_bases, self.most_bases), self.most_bases)

    def generator(self, stream: int = 0) -> torch.Generator:
        """A fresh generator of this run; another one for each stream, such as a sample or a timestep."""
        return torch.Generator().manual_seed(self.seed * 1_000 + stream)

    def seeds(self, num: int, *, held_out: bool = False) -> range:
        """The first seeds of this run, of discovery samples or of those that take no part."""
        first = self.seed * SEEDS_PER_RUN + (HELD_OUT_OFFSET if held_out else 0)
        return range(first, first + num)

    def latents(self, t_fraction: float, num: int, *, held_out: bool = False) -> Tensor:
        """Latents at t on the DDIM trajectories of the seeds, `(num, *x_shape)`."""
        seeds = self.seeds(num, held_out=held_out)
        return self.model.sample_latent(t_fraction=t_fraction, seeds=seeds, num_steps=self.size.num_steps)

    def feature_map(
        self, t_fraction: float, *, pool: Pool = "none", layer: str | None = None, cond: Condition | None = None
    ) -> NetworkFeatureMap:
        """The map at t and condition; refuses a feature that is smaller than the rank.

        Raises:
            RankError: If it is.
        """
        f = self.model.feature_map(t_fraction=t_fraction, pool=pool, layer=layer, cond=cond)
        check_rank(f, self.size.rank)
        return f

    def plan(self, f: NetworkFeatureMap, x: Tensor) -> Plan:
        """How the run computes, measured once at the first latents it meets, `(B, *x_shape)`."""
        if self.how is None:
            self.how, self.batch = plan_and_batch(
                f, x, rank=self.size.rank, most=self.batch, generator=self.generator()
            )
        return self.how

    def bases(
        self, f: NetworkFeatureMap, x: Tensor, *, rank: int | None = None, is_shared: bool = True
    ) -> list[TangentBasis]:
        """The tangent basis at each latent, `(B, *x_shape)`; what the bank has of exactly it is not computed.

        Args:
            f: The map at one t.
            x: The latents.
            rank: Of the bases; that of the run by default.
            is_shared: Whether they are looked for and kept in the bank, for other figures and later runs.
        """
        rank, plan = self.size.rank if rank is None else rank, self.plan(f, x)
        found = banked_bases(
            f,
            x,
            [unit_of(f, rank=rank, tol=TOL, x=latent) for latent in x],
            batch=self.batch,
            plan=plan,
            folder=self.bank if is_shared else None,
            progress=silent,
        )
        self.batch = found.batch
        self.count(len(x))
        return list(found.bases)

    def bases_everywhere(self, pools: Sequence[Pool]) -> Iterator[tuple[dict[str, Value], TangentBasis]]:
        """The basis of every sample at every t and pooling, each with the columns that say where it is."""
        for t_fraction in self.size.t_fractions:
            x = self.latents(t_fraction, self.size.num_samples)
            for pool in pools:
                for sample, basis in enumerate(self.bases(self.feature_map(t_fraction, pool=pool), x)):
                    yield {"t_fraction": t_fraction, "pool": str(pool), "sample": sample}, basis

    def distance(self, f: NetworkFeatureMap) -> float:
        """Median distance of the features of two samples at the map's t: ten units of scale."""
        key = json.dumps(dict(f.origin), sort_keys=True)
        if key not in self._distances:
            x = self.model.sample_latent(t=f.t, seeds=self.seeds(NUM_COMPARED), num_steps=self.size.num_steps)
            self._distances[key] = typical_distance(f, x)
        return self._distances[key]

    def pictures(self, x: Tensor, t: float) -> Tensor:
        """Clean samples of latents at t, `(B, *x_shape)`, as exact as those of a DDIM walk of the run's steps."""
        steps = picture_steps(self.size.num_steps, self.model.schedule.fraction(t))
        return torch.cat([denoise_multistep(self.model, part, t, num_steps=steps) for part in x.split(64)])
