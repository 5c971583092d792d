"""Local bases of many samples, the directions they share, and how well unseen samples know them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pullback.api.banked import banked_bases, plan_of_bank, units_of
from pullback.api.discovery import Discovery
from pullback.api.model import Model, load
from pullback.api.settings import Report, Settings, silent
from pullback.directions import global_directions, with_agreement
from pullback.edit import typical_distance
from pullback.errors import RankError
from pullback.geometry import Plan
from pullback.geometry.batching import fitting_batch, plan_and_batch
from pullback.measure.report_data import Stage
from pullback.models import NetworkFeatureMap
from pullback.types import Pool


def discover(
    model: Any,
    *,
    num_samples: int = 32,
    num_held_out: int = 16,
    rank: int = 24,
    t_fraction: float = 0.8,
    layer: str | None = None,
    pool: Pool = "none",
    seed: int = 0,
    num_steps: int = 20,
    tol: float = 1e-3,
    batch: int | None = None,
    cond: Any = None,
    plan: Plan | None = None,
    bank: str | Path | None = None,
    progress: Report = silent,
) -> Discovery:
    """Returns the directions that the local bases of ``num_samples`` samples share  (2302.12469).

    Everything is made from seeds; discovery and held-out seeds never meet. Costs about 200 Jacobian products a sample
    at rank 24; see `forecast`.

    Args:
        model: A `Model`, or anything that `load` takes.
        num_samples: Samples that the directions are made from.
        num_held_out: Other samples, on which agreement and its matched null are measured.
        rank: Local directions a sample, and at most as many global ones.
        t_fraction: Share of T at which the network is opened up; global directions are sound near T only.
        layer: Path of the feature layer; the innermost block by default.
        pool: How h is pooled.
        seed: Of the run.
        num_steps: DDIM steps of a whole walk from noise to picture.
        tol: Largest residual of a local basis.
        batch: Samples whose bases are computed together; as many as fill the device and fit into its memory if None.
        cond: Condition, such as ``model.cond(prompt="a cat")``.
        plan: How products are computed; measured if None. A bank that was begun with a plan keeps to it.
        bank: Folder that keeps local bases: what is there of exactly these latents is not computed again.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        OptionError: If a setting has no meaning.
        ModelError, LayerError: If the model cannot be loaded, or has no such layer.
        RankError: If the feature has fewer than ``rank`` dimensions.
        MismatchError: If the bank was made to keep less than whole bases.
    """
    settings = Settings(num_samples, num_held_out, rank, t_fraction, layer, pool, seed, num_steps, tol, batch)
    model = model if isinstance(model, Model) else load(model)
    f = model.feature_map(t_fraction=t_fraction, layer=layer, pool=pool, cond=cond)
    check_rank(f, rank)
    clock = _Clock(model)
    latents, held_out = (
        model.sample_latent(t_fraction=t_fraction, seeds=seeds, num_steps=num_steps, cond=cond)
        for seeds in (settings.discovery_seeds, settings.held_out_seeds)
    )
    distance = typical_distance(f, latents)
    clock.lap("samples")
    plan, batch = _how(f, latents, settings, plan_of_bank(bank) or plan)
    generator = torch.Generator().manual_seed(seed)
    banked = banked_bases(
        f,
        torch.cat([latents, held_out]),
        units_of(model, f, settings, cond=cond),
        batch=batch,
        plan=plan,
        folder=None if bank is None else Path(bank),
        progress=progress,
    )
    clock.lap("local bases", num_products=banked.num_products)
    own, others = banked.bases[:num_samples], banked.bases[num_samples:]
    found = with_agreement(global_directions(own, rank=rank), others, generator=generator)
    clock.lap("global directions")
    details = {"distance": distance, "seed": seed, "t_fraction": float(t_fraction)}
    return Discovery(
        directions=tuple(replace(each, origin={**each.origin, **details}) for each in found),
        bases=tuple(own),
        held_out_bases=tuple(others),
        latents=latents,
        held_out=held_out,
        settings=replace(settings, batch=banked.batch),
        origin=f.origin,
        distance=distance,
        stages=tuple(clock.stages),
    )


def _how(f: NetworkFeatureMap, x: torch.Tensor, settings: Settings, plan: Plan | None) -> tuple[Plan, int]:
    """The plan, measured unless there is one, and how many samples are computed together."""
    if plan is None:
        return plan_and_batch(f, x, rank=settings.rank, most=settings.batch)
    return plan, settings.batch or fitting_batch(f, x, rank=settings.rank)


def check_rank(f: NetworkFeatureMap, rank: int) -> None:
    """Refuses a rank that the feature has not got, before anything slow begins.

    Raises:
        RankError: If it is too large.
    """
    largest = min(torch.Size(f.h_shape).numel(), torch.Size(f.x_shape).numel())
    if rank > largest:
        raise RankError(
            wanted=f"rank of at most min(D, N) = {largest}", got=str(rank), hint="ask for fewer, or for a larger layer"
        )


class _Clock:
    """Splits a run into stages."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.stages: list[Stage] = []
        self._start, self._calls = time.perf_counter(), model.num_calls

    def lap(self, name: str, *, num_products: int = 0) -> None:
        now, calls = time.perf_counter(), self._model.num_calls
        self.stages.append(Stage(name, now - self._start, num_products, calls - self._calls))
        self._start, self._calls = now, calls
