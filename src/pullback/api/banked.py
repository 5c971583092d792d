"""Local bases for `discover`: out of a bank what it has, into it what had to be computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pullback.api.model import Model
from pullback.api.settings import Report, Settings
from pullback.bank import Bank, RunSettings, Unit
from pullback.bank.bases import answers_of, basis_of, plan_from, plan_record, unit_of
from pullback.bank.request import made_from_seed
from pullback.bank.settings import NAME
from pullback.bank.unit import digest_of_latent, seed_of
from pullback.directions import local_basis
from pullback.errors import NoMemoryError
from pullback.geometry import Plan, TangentBasis
from pullback.geometry.memory import fewer
from pullback.models import NetworkFeatureMap

STAGE = "local bases"


@dataclass(frozen=True, eq=False)
class Banked:
    """Bases and what they cost now.

    Attributes:
        bases: One a latent.
        num_products: Products of those that were computed; the others cost nothing.
        num_found: How many came out of the bank.
        batch: Latents that were computed together in the end: fewer than were asked for once memory had run out.
    """

    bases: Sequence[TangentBasis]
    num_products: int
    num_found: int
    batch: int


def units_of(model: Model, f: NetworkFeatureMap, settings: Settings, *, cond: object = None) -> list[Unit]:
    """The units of a run, discovery samples first; their latents are not made yet."""
    made = made_from_seed(model, f, num_steps=settings.num_steps, cond=cond)
    first = unit_of(f, rank=settings.rank, tol=settings.tol, made={**made, "seed": 0})
    seeds = [*settings.discovery_seeds, *settings.held_out_seeds]
    return [dataclasses.replace(first, made={**made, "seed": seed}) for seed in seeds]


def open_bank(folder: Path, plan: Plan, *, batch: int) -> tuple[Bank, Plan]:
    """The bank of a folder, made if it is not there, and the plan that it was begun with: the same plan, the same bits.

    A new one says in ``run.json`` how many latents are computed together, and on how many threads.

    Raises:
        MismatchError: If the bank does not keep bases whole.
    """
    record = {**plan_record(plan), "threads": torch.get_num_threads()}
    bank = Bank.make(folder, RunSettings(shard_size=8, group=batch, plan=record))
    return bank, plan_from(bank.settings.plan) if bank.settings.plan else plan


def plan_of_bank(folder: str | Path | None) -> Plan | None:
    """The plan that a folder's bank was begun with, which later runs keep to; None without one. Nothing is written.

    Raises:
        FileFormatError: If ``run.json`` is damaged.
    """
    if folder is None or not (Path(folder) / NAME).is_file():
        return None
    plan = Bank.open(folder).settings.plan
    return plan_from(plan) if plan else None


def banked_bases(
    f: NetworkFeatureMap,
    x: Tensor,
    units: Sequence[Unit],
    *,
    batch: int,
    plan: Plan,
    folder: Path | None,
    progress: Report,
) -> Banked:
    """The basis at each latent, `(B, *x_shape)`: whatever the bank has of exactly this latent is not computed.

    What is missing is computed in batches, each with the random start that belongs to its units; in smaller ones, and
    with a warning, once memory runs out.

    Raises:
        NoMemoryError: If one latent alone is too many.
    """
    units = [dataclasses.replace(unit, x=digest_of_latent(latent)) for unit, latent in zip(units, x, strict=True)]
    bank, plan = (None, plan) if folder is None else open_bank(folder, plan, batch=batch)
    found = {} if bank is None else _found(bank, units, f)
    missing = [i for i in range(len(units)) if i not in found]
    num_products, num_found = 0, len(found)
    progress(STAGE, len(found), len(units))
    with bank.writer("discover") if bank is not None and missing else nullcontext() as writer:
        while missing:
            part = missing[:batch]
            group, latents = [units[i] for i in part], x[part]
            generator = torch.Generator().manual_seed(seed_of(group))
            try:
                basis = local_basis(f, latents, rank=group[0].rank, tol=group[0].tol, generator=generator, plan=plan)
            except (RuntimeError, NoMemoryError) as error:
                batch = fewer(len(part), error)
                continue
            if writer is not None:
                writer.add(answers_of(group, latents, basis))
            found |= dict(zip(part, basis.samples(), strict=True))
            num_products += basis.products.total
            missing = missing[batch:]
            progress(STAGE, len(found), len(units))
    return Banked([found[i] for i in range(len(units))], num_products, num_found, batch)


def _found(bank: Bank, units: Sequence[Unit], f: NetworkFeatureMap) -> dict[int, TangentBasis]:
    reader = bank.reader()
    return {i: basis_of(reader.get(unit), f) for i, unit in enumerate(units) if unit in reader}
