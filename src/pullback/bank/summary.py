"""What a bank says of its samples at each timestep: means, distances, and what chance would have made of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pullback.bank.maps import MAX_MAP, distance_map
from pullback.bank.means import check_one_kind, ids_by_t, mean_shares, mean_spectrum, mean_subspace, stream
from pullback.bank.store import Bank, Reader
from pullback.errors import OptionError
from pullback.geometry.nulls import haar_distances

BLOCK_BYTES = 1 << 28
"""Of the block of a map: U in float64; another of its size comes and goes with each row."""
MAX_BLOCK = 256


@dataclass(frozen=True, eq=False)
class AtTime:
    """The units of one t.

    Attributes:
        t: Timestep.
        num_units: All of them; means are over these.
        ids: Of those in the map, in order.
        spectrum: Mean of s, shape `(k,)`.
        subspace: Orthonormal rows of the mean subspace, shape `(k, D)`.
        shares: Of each of these rows, the mean over units of ``|P_b r|^2``, shape `(k,)`.
        distances: Between T_h, shape `(n, n)`.
        null: Of pairs of random spans of this rank and dimension, shape `(400,)`.
        num_passes: How often units were read, the first look at each shard not counted.
    """

    t: float
    num_units: int
    ids: tuple[str, ...]
    spectrum: Tensor
    subspace: Tensor
    shares: Tensor
    distances: Tensor
    null: Tensor
    num_passes: int

    @property
    def pairs(self) -> Tensor:
        """Each distance once, shape `(n (n - 1) / 2,)`."""
        return self.distances[tuple(torch.triu_indices(*self.distances.shape, offset=1))]

    @property
    def concentration(self) -> float:
        """Mean squared cosine between the mean subspace and each T_h: 1 if all are one."""
        return float(self.shares.mean())

    @property
    def least_concentration(self) -> float:
        """What the best subspace has whatever the units are: one of them holds 1/n, a mean one k/D."""
        return max(1 / self.num_units, len(self.subspace) / self.subspace.shape[1])


def at_each_t(bank: Bank, reader: Reader, *, max_samples: int = 500, num_passes: int = 20) -> Iterator[AtTime]:
    """Means and maps at each t, by increasing t, with one t in memory at a time.

    Args:
        bank: The bank, which must keep U.
        reader: A view of it.
        max_samples: Units in a map, the first by id; means are over all.
        num_passes: Of the mean subspace.

    Raises:
        OptionError: If the bank keeps no U, a t has fewer than two units, or a number has no meaning.
        MismatchError: If units differ in more than sample and t.
    """
    bank.settings.storage.needs("u")
    for name, value, most in (("max_samples", max_samples, MAX_MAP), ("num_passes", num_passes, 1000)):
        least = 2 if name == "max_samples" else 1
        if not least <= value <= most:
            raise OptionError(wanted=f"{name} from {least} to {most:,}", got=str(value), hint="leave it out")
    groups = ids_by_t(reader)
    counts = {t: len(ids) for t, ids in groups.items()}
    if not counts or min(counts.values()) < 2:
        raise OptionError(
            wanted="two samples or more at each t",
            got=", ".join(f"{num} at t {t:g}" for t, num in counts.items()) or "an empty bank",
            hint="`pullback bank run DIR` goes on with a run; --samples of a new one",
        )
    check_one_kind(reader, list(reader.ids()), may_differ={"t"})
    return (_at_time(bank, reader, t, ids, max_samples, num_passes) for t, ids in groups.items())


def _at_time(bank: Bank, reader: Reader, t: float, ids: list[str], max_samples: int, num_passes: int) -> AtTime:
    first = next(stream(reader, ids[:1], "u"))
    block = max(1, min(MAX_BLOCK, BLOCK_BYTES // (8 * first.numel())))
    spectrum = mean_spectrum(reader, ids)
    subspace = mean_subspace(bank, reader, ids, rank=len(first), num_passes=num_passes)
    shares = mean_shares(bank, reader, ids, rows=subspace.value)
    distances = distance_map(bank, reader, ids[:max_samples], block=block)
    return AtTime(
        t=t,
        num_units=len(ids),
        ids=tuple(ids[:max_samples]),
        spectrum=spectrum.value,
        subspace=subspace.value,
        shares=shares.value,
        distances=distances.value,
        null=haar_distances(*first.shape),
        num_passes=sum(each.num_passes for each in (spectrum, subspace, shares, distances)),
    )
