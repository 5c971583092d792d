"""Bases of a model's own samples: what is asked for, as plain values, and the work that answers it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pullback.bank.bases import answers_of, plan_from, plan_record, unit_of
from pullback.bank.unit import Unit, seed_of
from pullback.bank.work import Answer
from pullback.errors import FileFormatError, MismatchError, OptionError

if TYPE_CHECKING:
    from pullback.models import Denoiser, NetworkFeatureMap
    from pullback.models.schedule import Schedule


@dataclass(frozen=True)
class Request:
    """Bases of ``num_samples`` seeds at some timesteps. It goes into ``run.json``, so that a copy can be finished.

    Attributes:
        model: What `load` takes: a name, a folder, a hub id.
        weights: Digest of its weights; "" while it has not been loaded. Another checkpoint is refused on resuming.
        num_samples: Seeds, at least 1.
        first_seed: The first of them.
        t_fractions: Shares of T, each once.
        layer: Path of the feature layer; "" for the innermost block.
        pool: "none", "sum", "sum2" ...
        prompt: Of a text model; "" for none.
        rank: Triplets of a basis.
        tol: Largest residual.
        num_steps: DDIM steps of a whole walk.
        dtype: In which the network runs.

    Raises:
        OptionError: If a value has no meaning.
    """

    model: str
    weights: str = ""
    num_samples: int = 32
    first_seed: int = 0
    t_fractions: tuple[float, ...] = (0.8,)
    layer: str = ""
    pool: str = "none"
    prompt: str = ""
    rank: int = 10
    tol: float = 1e-3
    num_steps: int = 20
    dtype: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "t_fractions", tuple(float(t) for t in self.t_fractions))
        for name in ("model", "weights", "layer", "pool", "prompt", "dtype"):
            if type(getattr(self, name)) is not str:
                raise OptionError(wanted=f"{name} as text", got=repr(getattr(self, name)), hint="see --help")
        for name, least in (("num_samples", 1), ("first_seed", 0), ("rank", 1), ("num_steps", 1)):
            if type(getattr(self, name)) is not int or getattr(self, name) < least:
                raise OptionError(
                    wanted=f"{name} of at least {least}", got=repr(getattr(self, name)), hint="see --help"
                )
        is_once = 0 < len(self.t_fractions) == len(set(self.t_fractions))
        if not is_once or not all(0 < t <= 1 for t in self.t_fractions):
            raise OptionError(wanted="shares of T in (0, 1], each once", got=f"{self.t_fractions}", hint="as 0.8,0.5")
        if self.dtype not in ("float32", "float64", "bfloat16", "float16") or not self.tol > 0:
            raise OptionError(wanted="a float dtype and tol > 0", got=f"{self.dtype}, {self.tol}", hint="float32, 1e-3")

    @property
    def num_units(self) -> int:
        """Samples times timesteps."""
        return self.num_samples * len(self.t_fractions)

    def record(self) -> dict[str, Any]:
        """Plain values for ``run.json``."""
        return {**dataclasses.asdict(self), "t_fractions": list(self.t_fractions)}


def request_from(record: Mapping[str, Any]) -> Request:
    """The request of a ``run.json``.

    Raises:
        FileFormatError: If it holds none.
    """
    try:
        return Request(**record)
    except (TypeError, ValueError, OptionError) as error:
        raise FileFormatError(
            wanted="a request in run.json", got=str(error)[:200], hint="give a model to start a run of your own"
        ) from error


@dataclass(frozen=True)
class ModelWork:
    """Makes the work of a request: loads the model where it is called, so that it can be sent to other machines.

    Attributes:
        request: What is asked for.
        plan: How products are computed, as in ``run.json``.
        device: Where to.
    """

    request: Request
    plan: Mapping[str, Any]
    device: str = "cpu"

    def __call__(self) -> BasisWork:
        """Loads the model.

        Raises:
            ModelError: If it cannot be loaded.
            MismatchError: If it is another checkpoint than the bank was begun with.
        """
        from pullback.models import load_denoiser

        model = load_denoiser(self.request.model, device=self.device, dtype=getattr(torch, self.request.dtype))
        return BasisWork(model, self.request, self.plan)


class BasisWork:
    """Bases of a loaded model's samples.

    Args:
        model: The model.
        request: What is asked for.
        plan: ``jvp_engine``, ``vjp_engine``, ``chunk``, ``dtype``, ``seconds_by_width``, ``threads``.

    Raises:
        MismatchError: If the model has other weights than the request names.
    """

    def __init__(self, model: Denoiser, request: Request, plan: Mapping[str, Any]) -> None:
        if request.weights and request.weights != model.digest:
            raise MismatchError(
                wanted=f"the checkpoint with weights {request.weights[:16]}",
                got=f"{request.model} with {model.digest[:16]}",
                hint="use another folder for another checkpoint",
            )
        self.model, self.request = model, request
        self.plan = plan_from(plan) if plan else None
        if plan.get("threads"):
            torch.set_num_threads(plan["threads"])
        self.cond = model.cond(prompt=request.prompt) if request.prompt else None
        self._maps: dict[float, NetworkFeatureMap] = {}

    def units(self) -> Iterator[Unit]:
        """Every unit, timestep by timestep: units of one timestep can be computed together."""
        return seeded(self.templates(), self.request)

    def templates(self) -> list[Unit]:
        """The first unit of each timestep; whoever has them needs no model to name the others."""
        request = self.request
        found = []
        for fraction in request.t_fractions:
            f = self.feature_map(float(self.model.schedule.timestep(fraction)))
            made = made_from_seed(self.model, f, num_steps=request.num_steps, cond=self.cond)
            found.append(unit_of(f, rank=request.rank, tol=request.tol, made={**made, "seed": request.first_seed}))
        return found

    def first_map(self) -> NetworkFeatureMap:
        """The map at the first t."""
        return self.feature_map(float(self.model.schedule.timestep(self.request.t_fractions[0])))

    def feature_map(self, t: float) -> NetworkFeatureMap:
        """The map at one t, made once."""
        if t not in self._maps:
            from pullback.models.layers import pool_of

            pool, layer = pool_of(self.request.pool), self.request.layer or None
            time = self.model.schedule.check(int(t) if t.is_integer() else t)
            self._maps[t] = self.model.feature_map(t=time, layer=layer, pool=pool, cond=self.cond)
        return self._maps[t]

    def compute(self, units: Sequence[Unit], /) -> list[Answer]:
        """The bases of samples at one t, together."""
        from pullback.directions import local_basis

        f, request = self.feature_map(units[0].t), self.request
        seeds = [int(unit.made["seed"]) for unit in units]
        x = self.model.sample_latent(t=f.t, seeds=seeds, num_steps=request.num_steps, cond=self.cond)
        generator = torch.Generator().manual_seed(seed_of(units))
        basis = local_basis(f, x, rank=request.rank, tol=request.tol, generator=generator, plan=self.plan)
        return answers_of(units, x, basis)


def seeded(templates: Iterable[Unit], request: Request) -> Iterator[Unit]:
    """Of each template one unit a seed, in order."""
    for first in templates:
        for seed in range(request.first_seed, request.first_seed + request.num_samples):
            yield dataclasses.replace(first, made={**first.made, "seed": seed})


def measured_plan(work: BasisWork, *, group: int) -> dict[str, Any]:
    """The fastest plan on this device with the threads that torch has now, as it goes into ``run.json``."""
    from pullback.geometry import measure_plan

    request, f = work.request, work.first_map()
    seeds = range(request.first_seed, request.first_seed + min(group, request.num_samples))
    x = work.model.sample_latent(t=f.t, seeds=seeds, num_steps=1, cond=work.cond)
    plan = measure_plan(f, x, rank=request.rank, generator=torch.Generator().manual_seed(0))
    return {**plan_record(plan), "threads": torch.get_num_threads()}


def made_from_seed(
    model: Denoiser, f: NetworkFeatureMap, *, num_steps: int, cond: object = None
) -> dict[str, str | int | float]:
    """How ``model.sample_latent`` makes a latent for f, all but the seed.

    Guidance bends the walk to the latent, and is no part of f, which sees the conditional pass alone.
    """
    from pullback.models.conditions import Condition, digest_of

    made: dict[str, str | int | float] = {
        "schedule": schedule_digest(model.schedule),
        "num_steps": num_steps,
        "condition": str(f.origin["condition"]),
    }
    if isinstance(cond, Condition) and cond.is_guided:
        made |= {"guidance": float(cond.guidance), "away_from": digest_of(cond.unconditional)}
    return made


def schedule_digest(schedule: Schedule) -> str:
    """The sha256 of a schedule's amounts of signal and noise at 100 shares of T."""
    from pullback.models.conditions import digest_of

    times = [schedule.timestep(i / 100) for i in range(1, 101)]
    return digest_of([[float(t), schedule.alpha(t), schedule.sigma(t)] for t in times])


def dims_of(work: BasisWork) -> tuple[int, int]:
    """D and N."""
    f = work.first_map()
    return math.prod(f.h_shape), math.prod(f.x_shape)
