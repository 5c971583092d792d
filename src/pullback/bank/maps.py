"""Distances between all units of a list, block by block: memory for two blocks, and a stated number of passes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from itertools import chain

import torch

from pullback.bank.means import Mean, check_one_kind, stream
from pullback.bank.store import Bank, Reader
from pullback.errors import MismatchError, OptionError
from pullback.geometry.grassmann import geodesic_distance

MAX_MAP = 20_000
"""Rows of a map: 3.2 GB in float64."""


def distance_map(
    bank: Bank, reader: Reader, ids: Sequence[str], *, block: int = 256, may_differ: Collection[str] = ()
) -> Mean:
    """Geodesic distances of T_h, each pair once  (2307.12868).

    Args:
        bank: The bank, which must keep U.
        reader: A view of it.
        ids: Which units, in order.
        block: Units in memory at a time, beside one more.
        may_differ: Fields of a unit that are compared: ``{"t"}`` for a map across timesteps.

    Returns:
        ``value`` symmetric with a zero diagonal, shape `(n, n)`, in float64; at most ceil(n / block) passes.

    Raises:
        OptionError: If the bank keeps no U, there are no units, or the map would not fit.
        MismatchError: If they differ in more than their sample.
    """
    bank.settings.storage.needs("u")
    if not ids:
        raise OptionError(wanted="at least one unit", got="none", hint="`pullback bank ls DIR` lists what is there")
    if len(ids) > MAX_MAP:
        raise OptionError(
            wanted=f"at most {MAX_MAP:,} units in a map",
            got=f"{len(ids):,}",
            hint="choose a timestep, or fewer samples",
        )
    check_one_kind(reader, ids, may_differ=may_differ)
    distances = torch.zeros(len(ids), len(ids), dtype=torch.float64)
    for start in range(0, len(ids), block):
        rows = torch.stack(list(stream(reader, ids[start : start + block], "u")))  # (block, k, D)
        for offset, u in enumerate(chain(rows, stream(reader, ids[start + block :], "u", shape=rows.shape[1:]))):
            num = min(len(rows), offset)  # pairs below the diagonal; the others mirror them
            if num:
                found = geodesic_distance(u.expand(num, *u.shape), rows[:num])
                distances[start + offset, start : start + num] = found
    return Mean(distances + distances.mT, len(ids), math.ceil(len(ids) / block))


def timestep_map(bank: Bank, reader: Reader, *, samples: Mapping[object, Mapping[float, str]]) -> Mean:
    """``mean over samples of d(T_h at t_i, T_h at t_j)``, one pass: the units of one sample in memory at a time.

    Args:
        bank: The bank, which must keep U.
        reader: A view of it.
        samples: For each sample, its id at each t; every sample has the same t, as `samples_by_seed` gives them.

    Returns:
        Shape `(T, T)`, by increasing t.

    Raises:
        OptionError: If the bank keeps no U, or there is no sample.
        MismatchError: If units differ in more than sample and t.
    """
    bank.settings.storage.needs("u")
    if not samples:
        raise OptionError(wanted="at least one sample", got="none", hint="run with several t")
    check_one_kind(reader, [unit_id for each in samples.values() for unit_id in each.values()], may_differ={"t"})
    total = None
    for key in sorted(samples, key=str):
        u = torch.stack(list(stream(reader, [samples[key][t] for t in sorted(samples[key])], "u")))  # (T, k, D)
        found = torch.stack([geodesic_distance(each.expand_as(u), u) for each in u])  # (T, T), T bases at a time
        total = found if total is None else total + found
    assert total is not None
    return Mean(total / len(samples), len(samples), 1)


def samples_by_seed(reader: Reader) -> dict[object, dict[float, str]]:
    """Ids by seed and t, of seeds that have every t of the bank.

    Raises:
        MismatchError: If units differ in more than seed and t: another model or prompt is another sample.
    """
    places: dict[str, tuple[object, float]] = {}
    kinds: set[str] = set()
    for unit in (row.unit for row in reader.rows() if "seed" in row.unit.made):
        places[unit.id] = unit.made["seed"], unit.t
        kinds.add(dataclasses.replace(unit, t=0, made={**unit.made, "seed": 0}).key)
    if len(kinds) > 1:
        raise MismatchError(
            wanted="units that differ in seed and t alone",
            got=f"{len(kinds)} kinds of them",
            hint="choose the samples yourself, or keep each model, layer and prompt in a bank of its own",
        )
    found: dict[object, dict[float, str]] = {}
    for unit_id in reader.ids():
        if unit_id in places:
            seed, t = places[unit_id]
            found.setdefault(seed, {})[t] = unit_id
    every = {t for _, t in places.values()}
    return {seed: each for seed, each in found.items() if set(each) == every}
