"""Which unit lies where: folded from the journals and, for what they do not name, from the shards themselves.

Nothing here is kept on disk that could not be made again. 72 bytes a unit stay in memory; while it is made, twice that:
what the journals say of a shard is packed as it is read, for a list of texts takes five times as much.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pullback.bank.entries import Named, entry_of, misfit
from pullback.bank.journal import read_journal
from pullback.bank.shard import SUFFIX
from pullback.bank.unit import ID_LENGTH
from pullback.errors import FileFormatError

SHARDS, DONE, JOURNAL_SUFFIX, PARTIAL = "shards", "done", ".jsonl", ".partial"


@dataclass(frozen=True, eq=False)
class Index:
    """A bank's units in the order of their ids.

    Attributes:
        ids: Sorted, each once, `(n,)` of 32 bytes.
        keys: The key of each, `(n,)`.
        shard: Which of ``shards`` holds it, `(n,)`.
        row: Where in it, `(n,)`.
        shards: File names.
        strays: Shards that no journal names: a kill came between the two. They count.
        failed: What was set aside, by key: ``{"tries", "error", "traceback", "unit"}``.
        problems: What was refused and why, by name; the rest is readable.
    """

    ids: np.ndarray
    keys: np.ndarray
    shard: np.ndarray
    row: np.ndarray
    shards: tuple[str, ...]
    strays: tuple[str, ...] = ()
    failed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """How many units each of ``shards`` serves; fewer than it holds if another has them too."""
        return dict(zip(self.shards, np.bincount(self.shard, minlength=len(self.shards)).tolist(), strict=True))

    def place(self, unit_id: str) -> tuple[str, int] | None:
        """Shard and row of an id, or None."""
        at = self.position(unit_id)
        return None if at is None else (self.shards[self.shard[at]], int(self.row[at]))

    def position(self, unit_id: str) -> int | None:
        """Where an id stands in ``ids``, or None."""
        at = int(np.searchsorted(self.ids, unit_id.encode()))
        return at if at < len(self.ids) and self.ids[at] == unit_id.encode() else None

    def ordered(self) -> np.ndarray:
        """Positions in id order, one for each key: a unit whose latent came out differently elsewhere counts once."""
        return np.sort(_distinct(self.keys)[0])


class Keys:
    """Sorted keys, 32 bytes each; a set of texts takes five times as much.

    Args:
        keys: In any order, `(n,)` of 32 bytes.
    """

    def __init__(self, keys: np.ndarray) -> None:
        self._keys = np.sort(keys)

    def __contains__(self, key: str) -> bool:
        at = int(np.searchsorted(self._keys, key.encode()))
        return at < len(self._keys) and self._keys[at] == key.encode()


def build_index(folder: Path) -> Index:
    """Reads the journals, and the headers of shards that they do not name."""
    problems: list[str] = []
    failed: dict[str, Mapping[str, Any]] = {}
    named, strays = scan(folder, problems=problems, failed=failed)
    sizes = [len(each.ids) // ID_LENGTH for each in named]
    names = tuple(each.shard for each in named)
    keys, ids = unpacked(each.keys for each in named), unpacked(each.ids for each in named)
    del named  # the arrays hold it all
    order, ids = _distinct(ids)  # of equal ids the first by shard name
    keys = keys[order]
    shard = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[order]
    row = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes] or [np.zeros(0, np.int32)])[order]
    done = {text for key in keys if (text := key.decode()) in failed} if failed else set()
    return Index(
        ids=ids,
        keys=keys,
        shard=shard,
        row=row,
        shards=names,
        strays=tuple(strays),
        failed={key: entry for key, entry in failed.items() if key not in done},
        problems=tuple(problems),
    )


def unpacked(parts: Iterable[bytes]) -> np.ndarray:
    """Ids or keys of many shards as one array, `(n,)` of 32 bytes."""
    return np.frombuffer(b"".join(parts), dtype=f"S{ID_LENGTH}")


def _distinct(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the distinct ids in their order, of equal ones the first; and the ids themselves.

    What `numpy.unique` does, with fewer copies at a time.
    """
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    is_first = np.ones(len(ids), dtype=bool)
    is_first[1:] = ids[1:] != ids[:-1]
    return (order, ids) if is_first.all() else (order[is_first], ids[is_first])


def scan(
    folder: Path, *, problems: list[str] | None = None, failed: dict[str, Mapping[str, Any]] | None = None
) -> tuple[list[Named], list[str]]:
    """What is said of the shards that are there, by name, and which of them are strays."""
    problems = [] if problems is None else problems
    failed = {} if failed is None else failed
    sizes = shard_sizes(folder)
    named, dropped = _said(folder, problems, failed)
    found: dict[str, Named] = {}
    for each in named:
        if each.shard in sizes:
            if each.num_bytes == sizes[each.shard]:  # else the shard speaks for itself, below
                found[each.shard] = each
        elif each.shard not in dropped:
            problems.append(f"{each.shard}: named in a journal, but not there")
    strays = []
    for name in sorted(set(sizes) - set(found)):
        try:
            found[name] = Named.of(entry_of(folder / SHARDS / name))
            strays.append(name)
        except FileFormatError as error:
            problems.append(f"{name}: {error}")
    return [found[name] for name in sorted(found)], strays


def _said(folder: Path, problems: list[str], failed: dict[str, Mapping[str, Any]]) -> tuple[list[Named], set[str]]:
    """What the journals say of shards, and which they dropped; what was set aside goes to ``failed``."""
    named: list[Named] = []
    dropped: set[str] = set()
    for entry in journal_entries(folder, problems):
        if "failed" in entry:
            failed[str(entry["failed"])] = entry
        elif "dropped" in entry:
            dropped.add(entry["dropped"])
        else:
            named.append(Named.of(entry))
    return named, dropped


def journal_entries(folder: Path, problems: list[str]) -> Iterator[Mapping[str, Any]]:
    """The sound entries of all journals; what is wrong with the others goes to ``problems``."""
    for path in journal_paths(folder):
        for line in read_journal(path):
            problem = line.problem or misfit(line.entry, path.name)
            if problem:
                problems.append(problem)
            else:
                yield line.entry


def journal_paths(folder: Path) -> list[Path]:
    """The journals by name; no link, folder or pipe of such a name is ever opened."""
    paths = sorted((folder / DONE).glob(f"*{JOURNAL_SUFFIX}"))
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def shard_sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file in ``shards/`` that is a shard by name."""
    if not (folder / SHARDS).is_dir():
        return {}
    with os.scandir(folder / SHARDS) as entries:
        return {
            entry.name: entry.stat().st_size
            for entry in entries
            if entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False)
        }
