"""Means over a bank, in a stated number of passes: one unit in memory at a time, float64, in the order of ids.

The order and the precision make the result a function of the contents alone: the same bits whether one process
computed the units, or a hundred did in any order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pullback.bank.store import Bank, Reader
from pullback.errors import MismatchError, OptionError, RankError


@dataclass(frozen=True, eq=False)
class Mean:
    """A mean and what it took.

    Attributes:
        value: In float64.
        num_units: Units it is of.
        num_passes: How often each unit's tensor was read; the first pass also checks the shards.
    """

    value: Tensor
    num_units: int
    num_passes: int


def ids_by_t(reader: Reader) -> dict[float, list[str]]:
    """Ids at each timestep, in order, one for each key; from the headers alone."""
    at = {row.unit.id: row.unit.t for row in reader.rows()}
    found: dict[float, list[str]] = {t: [] for t in sorted(set(at.values()))}
    for unit_id in reader.ids():
        found[at[unit_id]].append(unit_id)
    return found


def check_one_kind(reader: Reader, ids: Sequence[str], *, may_differ: Collection[str] = ()) -> None:
    """Raises unless units differ in their sample alone, or in what is named; from the headers alone.

    Args:
        reader: A view of a bank.
        ids: Which units.
        may_differ: Fields of a unit that are compared, as ``{"t"}``.

    Raises:
        MismatchError: Naming what differs: two models, layers, prompts, ranks or timesteps have no mean.
    """
    first, *others = (unit.record() for unit in reader.kinds(ids)) if ids else ({},)
    for other in others:
        if names := [name for name in first if first[name] != other[name] and name not in {"x", "made", *may_differ}]:
            raise MismatchError(
                wanted=f"units that differ in {' and '.join(['sample', *sorted(may_differ)])} alone",
                got=", ".join(f"{name} {first[name]} and {other[name]}" for name in names),
                hint="choose units of one model, layer, prompt, rank and timestep, or keep each in a bank of its own",
            )


def mean_spectrum(reader: Reader, ids: Sequence[str]) -> Mean:
    """``mean_b s_b``, one pass.

    Returns:
        Shape `(k,)`.

    Raises:
        OptionError: If there are no units.
        MismatchError: If they differ in more than their sample.
    """
    check_one_kind(reader, ids)
    return Mean(_mean(each.double() for each in stream(reader, ids, "s")), len(ids), 1)


def mean_subspace(bank: Bank, reader: Reader, ids: Sequence[str], *, rank: int, num_passes: int = 20) -> Mean:
    """The ``rank`` leading eigenvectors of ``mean_b U_b^T U_b``: the span that is nearest to all T_h, extrinsically.

    Subspace iteration from the first unit's own U: each pass multiplies by the mean projector, so that a D x D
    matrix is never made. Memory: three of `(rank, D)` in float64.

    Args:
        bank: The bank, which must keep U.
        reader: A view of it.
        ids: Of which units, in order.
        rank: Dimensions of the mean; at most that of the units.
        num_passes: Multiplications.

    Returns:
        Orthonormal rows, shape `(rank, D)`, by falling share.

    Raises:
        OptionError: If the bank keeps no U, or there are no units.
        MismatchError: If they differ in more than their sample.
        RankError: If the units have a smaller rank.
    """
    bank.settings.storage.needs("u")
    check_one_kind(reader, ids)
    start = next(stream(reader, ids[:1], "u"), None)
    if start is None:
        raise OptionError(wanted="at least one unit", got="none", hint="`pullback bank ls DIR`")
    if not 1 <= rank <= len(start):
        raise RankError(wanted=f"rank between 1 and {len(start)}", got=str(rank), hint="ask for fewer dimensions")
    rows = _orthonormal(start.double())[:rank]
    for _ in range(num_passes):
        pushed = _mean(_project(rows, u) for u in stream(reader, ids, "u"))  # (rank, D)
        small, _, _ = torch.linalg.svd(pushed @ rows.mT)  # by falling share
        rows = _orthonormal(small.mT @ pushed)
    return Mean(rows, len(ids), num_passes)


def mean_shares(bank: Bank, reader: Reader, ids: Sequence[str], *, rows: Tensor) -> Mean:
    """How much of each unit row the units' T_h hold, ``mean_b |P_b r|^2``, one pass.

    Args:
        bank: The bank, which must keep U.
        reader: A view of it.
        ids: Of which units, in order.
        rows: Unit rows of H, shape `(m, D)`.

    Returns:
        From 0 to 1, shape `(m,)`. Of rows of `mean_subspace` their mean is its concentration: 1 if all T_h are one.

    Raises:
        OptionError: If the bank keeps no U, or there are no units.
        MismatchError: If they differ in more than their sample.
    """
    bank.settings.storage.needs("u")
    check_one_kind(reader, ids)
    rows = rows.double()
    return Mean(_mean(_project(rows, u).square().sum(dim=1) for u in stream(reader, ids, "u")), len(ids), 1)


def aligned_mean(bank: Bank, reader: Reader, ids: Sequence[str], *, reference: Tensor) -> Mean:
    """The mean of each unit's nearest u to each row of ``reference``, sign-aligned and scaled to unit length  [P1].

    One step of the fixed point that `global_directions` iterates; each step is one pass.

    Args:
        bank: The bank, which must keep U.
        reader: A view of it.
        ids: Of which units, in order.
        reference: Unit rows of H, shape `(m, D)`; sketched ones for a bank of sketches.

    Returns:
        Unit rows, shape `(m, D)`.

    Raises:
        OptionError: If the bank keeps no U, or there are no units.
        MismatchError: If they differ in more than their sample.
    """
    bank.settings.storage.needs("u")
    check_one_kind(reader, ids)
    reference = reference.double()

    def nearest(u: Tensor) -> Tensor:
        cosine = reference @ u.double().mT  # (m, k)
        best = cosine.abs().argmax(dim=1)
        return u.double()[best] * cosine.gather(1, best[:, None]).sign()

    mean = _mean(nearest(u) for u in stream(reader, ids, "u"))
    return Mean(mean / torch.linalg.vector_norm(mean, dim=1, keepdim=True).clamp_min(1e-300), len(ids), 1)


def stream(reader: Reader, ids: Sequence[str], name: str, *, shape: Sequence[int] | None = None) -> Iterator[Tensor]:
    """One tensor of each unit, in order.

    Args:
        reader: A view of a bank.
        ids: Which units, in order.
        name: Of the tensor.
        shape: Of each; that of the first if None.

    Raises:
        RankError: If one has another shape.
    """
    for unit_id in ids:
        tensor = reader.tensors(unit_id, [name])[name]
        shape = tuple(tensor.shape) if shape is None else tuple(shape)
        if tuple(tensor.shape) != shape:
            raise RankError(
                wanted=f"units of one shape, {shape}",
                got=str(tuple(tensor.shape)),
                hint="choose units of one rank, layer and pooling",
            )
        yield tensor


def _project(rows: Tensor, u: Tensor) -> Tensor:
    q = _orthonormal(u.double())  # fp16 and sketches are not exactly orthonormal
    return rows @ q.mT @ q


def _orthonormal(rows: Tensor) -> Tensor:
    return torch.linalg.qr(rows.mT)[0].mT


def _mean(values: Iterator[Tensor]) -> Tensor:
    total, count = None, 0
    for value in values:
        total = value.clone() if total is None else total.add_(value)
        count += 1
    if total is None:
        raise OptionError(wanted="at least one unit", got="none", hint="`pullback bank ls DIR` lists what is there")
    return total / count
