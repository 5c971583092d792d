"""Two models on the same latents: how far apart their local spaces are, and which directions one of them lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pullback.api.banked import banked_bases, open_bank
from pullback.api.drawn import check_predictions, drawn_by, more_latents
from pullback.api.finder import check_rank
from pullback.api.model import Model, load
from pullback.api.settings import Report, silent
from pullback.bank.bases import unit_of
from pullback.directions import Direction, global_directions
from pullback.edit import typical_distance
from pullback.errors import MismatchError, OptionError, RankError, ShapeError
from pullback.geometry import JacobianAt, Plan, TangentBasis
from pullback.geometry.batching import fitting_batch, plan_and_batch
from pullback.measure.compare import Angles, Response, angles_between, own_response, responses
from pullback.measure.lacking import Drawn
from pullback.models import NetworkFeatureMap
from pullback.models.ddim import denoise
from pullback.types import Pool

PICTURE_SCALES = (-8.0, 0.0, 8.0)
NUM_PICTURED, NUM_PEOPLE = 3, 4
SCHEDULE_TOLERANCE = 1e-3
"""Of the amounts of signal and noise at one t: schedules are rounded differently, and no more."""


@dataclass(frozen=True, eq=False)
class Side:
    """The directions of one model at one t, as the other sees them.

    Attributes:
        responses: One a direction.
        strips: By direction, pictures of both models along it: `(2, people, scales, H, W, 3)`, its owner first.
    """

    responses: tuple[Response, ...]
    strips: Mapping[int, np.ndarray] = field(default_factory=dict)

    @property
    def missing(self) -> tuple[int, ...]:
        """Directions that the other model lacks."""
        return tuple(each.index for each in self.responses if each.is_missing)


@dataclass(frozen=True, eq=False)
class Step:
    """What was found at one t.

    Attributes:
        angles: Between the local spaces.
        vanished: Directions of the first model, as the second sees them.
        appeared: Directions of the second, as the first sees them.
        drawn: What the second draws least of what the first does, as "vanished", and the reverse; empty if not asked.
        num_products: Jacobian products of bases, less what came out of the bank.
    """

    angles: Angles
    vanished: Side
    appeared: Side
    drawn: Mapping[str, Drawn]
    num_products: int


def compare(
    a: Any,
    b: Any,
    *,
    num_samples: int = 16,
    num_predictions: int = 64,
    t_fractions: Sequence[float] = (0.8, 0.5, 0.2),
    rank: int = 10,
    layer: str | None = None,
    pool: Pool = "none",
    seed: int = 0,
    num_steps: int = 20,
    tol: float = 1e-3,
    batch: int | None = None,
    plan: Plan | None = None,
    bank: str | Path | None = None,
    with_pictures: bool = True,
    progress: Report = silent,
) -> list[Step]:
    """Returns, for each t, how the second model differs from the first on latents that the first made.

    Angles need no common coordinates of h: they are taken between spans of v, in X, and in H beside. A direction counts
    as missing when the other model's own response to it falls out of line with its response to all others; see
    `own_response` and `responses` in `pullback.measure.compare`. What a model no longer draws it may still respond
    to: so predictions are compared too, see `pullback.measure.lacking`.

    Args:
        a: The first model, such as the base: whatever `load` takes.
        b: The second, such as the fine-tuned one; its latents must have the same shape and schedule.
        num_samples: Latents at each t whose bases are compared.
        num_predictions: Latents at each t whose predictions are, from the same seed on; 0 leaves that out.
        t_fractions: Shares of T.
        rank: Local directions a latent, and at most as many global ones.
        layer: Feature layer of both; the innermost block of each by default.
        pool: How h is pooled.
        seed: First seed of the latents.
        num_steps: DDIM steps of a whole walk.
        tol: Largest residual of a basis.
        batch: Latents whose bases are computed together; as many as fill the device and fit into its memory if None.
        plan: How products are computed; measured on the first model if None.
        bank: Folder that keeps the bases.
        with_pictures: Whether directions are drawn.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        OptionError: If there are fewer than two samples, or one to seven predictions.
        ShapeError: If latents of the two models differ in shape.
        MismatchError: If they hold another amount of signal or noise at a t.
        RankError: If a feature has fewer than ``rank`` dimensions, or the rank is below 1.
    """
    a, b = (each if isinstance(each, Model) else load(each) for each in (a, b))
    check_comparison(a, b, t_fractions=t_fractions, num_samples=num_samples, rank=rank)
    check_predictions(num_predictions)
    steps = []
    for t_fraction in t_fractions:
        x = a.sample_latent(t_fraction=t_fraction, seeds=range(seed, seed + num_samples), num_steps=num_steps)
        maps = [model.feature_map(t_fraction=t_fraction, layer=layer, pool=pool) for model in (a, b)]
        for f in maps:
            check_rank(f, rank)
        if plan is None:
            plan, batch = plan_and_batch(maps[0], x, rank=rank, most=batch)
        batch = batch or fitting_batch(maps[0], x, rank=rank)
        plan = plan if bank is None else open_bank(Path(bank), plan, batch=batch)[1]
        work = _Work(x, rank, tol, batch, plan, None if bank is None else Path(bank), f"t/T {t_fraction:g}", progress)
        walk = max(1, round(num_steps * t_fraction)) if with_pictures else 0
        more = more_latents(a, x, num=num_predictions, t_fraction=t_fraction, seed=seed, num_steps=num_steps)
        drawn = drawn_by((a, b), more, maps[0].t or 0, batch=batch, with_pictures=with_pictures)
        steps.append(_step((a, b), maps, work, drawn, walk))
    return steps


def check_comparison(a: Model, b: Model, *, t_fractions: Sequence[float], num_samples: int, rank: int) -> None:
    """Refuses what could not be compared, before anything slow begins."""
    if num_samples < 2:
        raise OptionError(wanted="two samples or more", got=str(num_samples), hint="raise --samples")
    if rank < 1:
        raise RankError(wanted="a rank of at least 1", got=str(rank), hint="10 is usual")
    if a.x_shape != b.x_shape:
        raise ShapeError(
            wanted=f"two models with latents {a.x_shape}", got=str(b.x_shape), hint="compare models of one data size"
        )
    for t_fraction in t_fractions:
        times = [(model.schedule, model.schedule.timestep(t_fraction)) for model in (a, b)]
        ours, theirs = ((schedule.alpha(t), schedule.sigma(t)) for schedule, t in times)
        if not np.allclose(ours, theirs, rtol=SCHEDULE_TOLERANCE, atol=SCHEDULE_TOLERANCE):
            raise MismatchError(
                wanted=f"as much signal and noise at t/T {t_fraction:g}, {ours[0]:.4f} and {ours[1]:.4f}",
                got=f"{theirs[0]:.4f} and {theirs[1]:.4f}",
                hint="what A makes is no latent of B at that t; compare models of one noise schedule",
            )


@dataclass(eq=False)
class _Work:
    """What the steps of one t share; the batch shrinks once memory has run out."""

    x: Tensor
    rank: int
    tol: float
    batch: int
    plan: Plan
    folder: Path | None
    stage: str
    progress: Report

    def bases(self, f: NetworkFeatureMap, name: str) -> tuple[Sequence[TangentBasis], int]:
        """Bases of one model, and products spent."""
        units = [unit_of(f, rank=self.rank, tol=self.tol, x=latent) for latent in self.x]
        found = banked_bases(
            f,
            self.x,
            units,
            batch=self.batch,
            plan=self.plan,
            folder=self.folder,
            progress=lambda _, done, total: self.progress(f"{self.stage} {name}", done, total),
        )
        self.batch = found.batch
        return found.bases, found.num_products

    def gains(self, f: NetworkFeatureMap, v: Tensor) -> tuple[Tensor, Tensor]:
        """`own_response` to each v of `(K, B, *x_shape)`, and all of it, ``|J v|``, as `(K, B)` each."""
        parts, lengths = [], []
        for start in range(0, len(self.x), self.batch):
            part = slice(start, start + self.batch)
            pushed = JacobianAt(f, self.x[part], plan=self.plan).jvp(v[:, part].transpose(0, 1))
            parts.append(own_response(pushed).mT)
            lengths.append(torch.linalg.vector_norm(pushed.double(), dim=-1).mT)
        return torch.cat(parts, dim=1).cpu(), torch.cat(lengths, dim=1).cpu()


def _step(
    models: tuple[Model, Model], maps: Sequence[NetworkFeatureMap], work: _Work, drawn: Mapping[str, Drawn], walk: int
) -> Step:
    generator = torch.Generator().manual_seed(0)
    (a, cost_a), (b, cost_b) = (work.bases(f, name) for f, name in zip(maps, "AB", strict=True))
    angles = angles_between(a, b, t=float(maps[0].t or 0), generator=generator)
    vanished = _side(models, maps, a, work, walk)
    appeared = _side(models[::-1], maps[::-1], b, work, walk)
    return Step(angles, vanished, appeared, drawn, cost_a + cost_b)


def _side(
    models: Sequence[Model],
    maps: Sequence[NetworkFeatureMap],
    bases: Sequence[TangentBasis],
    work: _Work,
    walk: int,
) -> Side:
    """The owner's directions, as the other model responds to them."""
    directions: Sequence[Direction] = global_directions(bases, rank=work.rank)
    u = torch.stack([each.vector for each in directions])
    v = torch.stack([_carried(u, basis) for basis in bases], dim=1)  # (K, B, *x_shape)
    (own, lengths), (other, _) = (work.gains(f, v) for f in maps)
    found = responses(own, other, generator=torch.Generator().manual_seed(0))
    if not walk:
        return Side(tuple(found))
    distance = typical_distance(maps[0], work.x)
    drawn = sorted(found, key=lambda each: (not each.is_missing, each.share))[:NUM_PICTURED]
    steps = {each.index: 0.1 * distance / lengths[each.index].clamp_min(1e-12) for each in drawn}  # all of J v moves h
    strips = {i: _strip(models, maps[0], work.x, v[i], step, walk) for i, step in steps.items()}
    return Side(tuple(found), strips)


def _carried(u: Tensor, basis: TangentBasis) -> Tensor:
    """``V^T U u``, scaled, as `transport` makes it, without its warning: what is not shared shows in the interval."""
    v = (u.to(basis.u) @ basis.u.mT) @ basis.v.flatten(1)
    return (v / torch.linalg.vector_norm(v, dim=1, keepdim=True).clamp_min(1e-30)).unflatten(1, basis.v.shape[1:])


def _strip(models: Sequence[Model], f: NetworkFeatureMap, x: Tensor, v: Tensor, step: Tensor, walk: int) -> np.ndarray:
    """The same latents moved along v, as each model finishes them."""
    people = slice(0, NUM_PEOPLE)
    sizes = step[people].to(x).reshape(-1, *[1] * (x.ndim - 1))
    moved = torch.stack([x[people] + scale * sizes * v[people] for scale in PICTURE_SCALES], dim=1)
    frames = []
    for model in models:
        x0 = denoise(model, moved.flatten(0, 1), f.t or 0, num_steps=walk)
        pictures = model.to_image(x0)
        frames.append(pictures.reshape(*moved.shape[:2], *pictures.shape[1:]))
    return np.stack(frames)
