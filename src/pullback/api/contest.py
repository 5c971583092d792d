"""The found directions beside their rivals on the portrait world: same samples, walk, effect and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pullback.api.discovery import Discovery
from pullback.api.model import Model
from pullback.api.settings import SEEDS_PER_RUN, Report, silent
from pullback.directions import global_directions, local_basis, pca_of_h, random_h, random_x, rotated
from pullback.directions.estimators import Task, estimate
from pullback.directions.tasks import Cost
from pullback.directions.types import Direction
from pullback.errors import OptionError
from pullback.geometry.tangent import TangentBasis, joined
from pullback.geometry.transport import Inverse
from pullback.measure.contest import Mover, Result, by_one_product, by_transport, everywhere, ridge_directions
from pullback.measure.effects import Reads, ReadsPlaces, Walk, effects, matched_length
from pullback.measure.report_data import ComparisonRow
from pullback.models.counting import counted
from pullback.models.untrained import untrained_like
from pullback.portraits import render, sample
from pullback.portraits.judge import Judge, load_judge
from pullback.portraits.oracle import to_clean
from pullback.types import FeatureMap

SOURCES = ("ours", "rotated", "random h", "pca of h", "supervised", "random network")
"""Where directions of H come from: ours, the matched control, other controls, the supervised ceiling, no training."""
INVERSES: dict[str, Inverse] = {"transported": "transpose", "pinv": "pinv"}
METHODS = (*(f"{source}{move}" for move in ("", *(f" {name}" for name in INVERSES)) for source in SOURCES), "random x")
"""Every source moved by one product ``J^T u``, and by both forms of transport to a basis of the edited sample."""
RIVALS = ("pullback pooled", "eps", "x0", "decoder", "pca perturbed")
"""Other estimators (`pullback.directions.estimators`), moved by one product, given as much work as ours took."""
WHOLE = ("eps", "x0", "decoder")
"""Those that differentiate the whole network."""
NETWORK_OVER_ENCODER = 4
"""Passes of the encoder that one of the whole network counts for; 3.4 to 4.7 were measured on small U-Nets."""
TUNING_OFFSET, GATE_OFFSET, KNOWN_OFFSET = 300_000, 320_000, 340_000
"""Seeds inside a run's million for matching effects, for the gate, and for renders of known factors."""
NUM_GATE, NUM_KNOWN, NUM_PCA = 128, 512, 256
BATCH = 8
"""Latents together at most; fewer where those of the discovery were."""


@dataclass(frozen=True)
class ContestSettings:
    """How methods are compared.

    Attributes:
        methods: Which of `METHODS` and `RIVALS`.
        num_held_out: Samples that are edited and read.
        num_tuning: Other samples, on which the length of each direction's move is matched to the effect.
        size: The effect at which methods are compared: mean |e| in standard deviations.
        num_steps: Steps from t to the picture, of `denoise_multistep`.
        num_gate: Unedited samples that the gate is set on; None for the published number, as below.
        num_known: Renders of known factors behind the ceiling.
        num_pca: Samples behind the PCA of h.
    """

    methods: tuple[str, ...] = (*SOURCES, "random x")
    num_held_out: int = 64
    num_tuning: int = 4
    size: float = 1.0
    num_steps: int = 4
    num_gate: int | None = None
    num_known: int | None = None
    num_pca: int | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.methods if name not in (*METHODS, *RIVALS)]
        if unknown or min(self.num_held_out, self.num_tuning) < 2 or self.size <= 0 or self.num_steps < 1:
            raise OptionError(
                wanted=f"methods among {', '.join((*METHODS, *RIVALS))}, at least 2 samples, effect and steps above 0",
                got=f"{self}",
                hint="the defaults are those of the published table",
            )


def contest(
    model: Model,
    found: Discovery,
    settings: ContestSettings | None = None,
    *,
    judge: Reads | None = None,
    progress: Report = silent,
) -> list[Result]:
    """Compares the directions of ``found`` with other ways of making as many, on samples that no method has seen.

    Costs per method 2 K (S + 2 S_tuning) pictures of K directions, and one reverse product for each on each sample.

    Args:
        model: A model of the portrait world, or another one with a reader of its own.
        found: Its directions.
        settings: How methods are compared.
        judge: Reads factors, or whatever else is to be told apart; that of the portraits by default.
        progress: Called as ``progress(stage, done, total)``.

    Returns:
        One result a method.
    """
    settings = settings or ContestSettings()
    arena, results = Contest(model, found, settings, judge or load_judge()), []
    for done, method in enumerate(settings.methods):
        progress("comparison", done, len(settings.methods))
        results.append(arena.run(method))
    progress("comparison", len(results), len(results))
    return results


def comparison_rows(results: Sequence[Result]) -> tuple[ComparisonRow, ...]:
    """Returns results as the report shows them: D@K with its null, purity, transfer, success, pass rate."""
    rows = []
    for result in results:
        row = result.row()
        figures: dict[str, tuple[float, ...] | None] = {}
        for name in ("D@12", "D@24", "purity", "transfer"):
            figures[name] = tuple(float(row[key]) for key in (name, f"{name} low", f"{name} high"))
            if name.startswith("D@"):
                figures[f"{name} null"] = (float(row[f"{name} null 99 %"]),)
        figures |= {name: (float(row[name]),) for name in ("success", "pass rate", "symmetry")}
        rows.append(ComparisonRow(result.method, figures, is_ours=result.method == "ours"))
    return tuple(rows)


class Contest:
    """What all methods of one comparison share; `contest` runs one after the other.

    What a method gives does not depend on those that ran before it. For the arguments see there.
    """

    def __init__(self, model: Model, found: Discovery, settings: ContestSettings, judge: Reads) -> None:
        self.model, self.found, self.settings, self.judge = model, found, settings, judge
        self.f = self._feature_map(model)
        self._kept: dict[tuple[int, int], tuple[Tensor, TangentBasis]] = {}
        self.t: Any = self.f.t
        self.batch = min(BATCH, found.settings.batch or BATCH)
        self.plan = found.bases[0].plan  # also of the other maps of this network: to measure each would cost more
        self.walk = Walk(model, self.t, settings.num_steps, judge.factors, judge.residual)
        with counted(model.network) as passes:
            self.x = self._latents(found.settings.held_out_seeds[0], settings.num_held_out)
        self.num_walked = passes.finished // settings.num_held_out  # passes of a sample, those of discovery too
        self.x_tuning = self._latents(self._seed(TUNING_OFFSET), settings.num_tuning)
        self.before, self.before_tuning = self.walk.unedited(self.x), self.walk.unedited(self.x_tuning)
        self.places = judge.places(self.before) if isinstance(judge, ReadsPlaces) else None
        unedited = self.walk.pictures(self._latents(self._seed(GATE_OFFSET), settings.num_gate or NUM_GATE))
        self.gate = float(np.quantile(judge.residual(unedited), 0.95))

    def run(self, method: str) -> Result:
        """Makes the directions, matches their effect on tuning samples, edits and reads the held-out ones."""
        move, cost = self._rival(method) if method in RIVALS else self._mover(method)
        tuning, held_out = move(self.x_tuning), move(self.x)
        size, before = self.settings.size, self.before_tuning
        length = matched_length(self.walk, self.x_tuning, tuning, size=size, unedited=before)
        found = effects(self.walk, self.x, held_out, length, gate=self.gate, unedited=self.before, places=self.places)
        return Result(method, found, cost)

    def _rival(self, method: str) -> tuple[Mover, Cost]:
        """Another estimator on as many samples as the work of ours allows, at least two and at most as many as ours."""
        latents, name = self.found.latents, method.replace(" ", "_")
        num = len(latents)
        if method in WHOLE:
            # what one sample costs depends on the spectrum: it is found out on one, which is not counted
            one = estimate(name, self._task(latents[0])).cost + Cost(network_passes=self.num_walked)
            own, each = (
                cost.work(network_over_encoder=NETWORK_OVER_ENCODER) for cost in (self._searched("ours", self.f), one)
            )
            num = min(num, max(2, round(own / each)))
        found = estimate(name, self._task(latents[:num]))
        move = by_one_product(found.f, _stacked(found.directions[: len(self.found)]), chunk=self.batch)
        return move, found.cost + Cost(network_passes=num * self.num_walked)

    def _task(self, x: Tensor) -> Task:
        settings = self.found.settings
        products = sum(basis.products.total for basis in self.found.bases)
        return Task(
            self.model,
            x,
            self.t,
            rank=settings.rank,
            layer=settings.layer,
            pool=settings.pool,
            tol=settings.tol,
            batch=self.batch,
            plan=self.plan,
            num_perturbations=max(settings.rank, products // len(self.found.latents)),
            seed=settings.seed,
        )

    def _mover(self, method: str) -> tuple[Mover, Cost]:
        rank, generator = len(self.found), torch.Generator().manual_seed(self.found.settings.seed)
        if method == "random x":
            return everywhere(_stacked(random_x(self.f, rank=rank, generator=generator))), Cost()
        inverse = INVERSES.get(method.split()[-1])
        source = method if inverse is None else method.rsplit(maxsplit=1)[0]
        f = self.f if source != "random network" else self._untrained
        num_pca = self.settings.num_pca or NUM_PCA
        makers = {
            "ours": lambda: _stacked(self.found),
            "rotated": lambda: _stacked(rotated(list(self.found), generator=generator)),
            "random h": lambda: _stacked(random_h(f, rank=rank, generator=generator)),
            "pca of h": lambda: _stacked(pca_of_h(f, self._latents(self._seed(0), num_pca), rank=rank)),
            "supervised": self._ceiling,
            "random network": lambda: _stacked(
                global_directions(self._bases(f, self.found.latents).samples(), rank=rank)
            ),
        }
        with counted(self.model.network) as passes:
            u = makers[source]()
        cost = Cost(encoder_passes=passes.early, network_passes=passes.finished) + self._searched(source, f)
        if inverse is None:
            return by_one_product(f, u, chunk=self.batch), cost
        return by_transport(f, u, self._bases, inverse=inverse), cost

    def _searched(self, source: str, f: FeatureMap) -> Cost:
        """Products behind the sources that are made of local bases, and the walks to the samples of those."""
        if source not in ("ours", "rotated", "random network"):
            return Cost()
        latents = self.found.latents
        bases = self._bases(f, latents).samples() if source == "random network" else self.found.bases
        return Cost(sum(basis.products.total for basis in bases), network_passes=len(latents) * self.num_walked)

    @cached_property
    def _untrained(self) -> Any:
        """The feature map of the same network with fresh random weights."""
        return self._feature_map(replace(self.model, network=untrained_like(self.model.network)))

    def _ceiling(self) -> Tensor:
        """Supervised directions of H, one a factor and at most as many as ours, from renders of known factors."""
        if not isinstance(self.judge, Judge):
            raise OptionError(
                wanted="a world of known factors for the supervised ceiling",
                got=f"a {type(self.judge).__name__}",
                hint="leave the method out for this model",
            )
        seed, num = self._seed(KNOWN_OFFSET), self.settings.num_known or NUM_KNOWN
        z = sample(num, seed=seed, world=self.judge.world)
        x0 = to_clean(render(z, world=self.judge.world)).to(self.x)
        x = self.model.noise(x0, self.t, self.model.draw(range(seed, seed + num)))
        with torch.no_grad():
            h = torch.cat([self.f(part).flatten(1) for part in x.split(64)])
        return ridge_directions(h.cpu(), z, num=len(self.found))

    def _bases(self, f: FeatureMap, x: Tensor) -> TangentBasis:
        """Bases at latents, computed once for all methods."""
        key = id(f), id(x)
        if key not in self._kept:
            generator, rank = torch.Generator().manual_seed(self.found.settings.seed), self.found.settings.rank
            parts = [
                local_basis(f, part, rank=rank, tol=1e-2, verify=False, generator=generator, plan=self.plan)
                for part in x.split(self.batch)
            ]
            self._kept[key] = x, joined(parts)  # with x, so that its id stays taken
        return self._kept[key][1]

    def _feature_map(self, model: Model) -> Any:
        settings = self.found.settings
        return model.feature_map(t_fraction=settings.t_fraction, layer=settings.layer, pool=settings.pool)

    def _latents(self, first: int, num: int) -> Tensor:
        settings = self.found.settings
        seeds = range(first, first + num)
        return self.model.sample_latent(t_fraction=settings.t_fraction, seeds=seeds, num_steps=settings.num_steps)

    def _seed(self, offset: int) -> int:
        return self.found.settings.seed * SEEDS_PER_RUN + offset


def _stacked(directions: Sequence[Direction]) -> Tensor:
    return torch.stack([each.vector for each in directions])
