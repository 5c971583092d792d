"""Which unit lies where: folded from the journals and, for what they do not name, from the shards themselves.

Nothing here is kept on disk that could not be made again. 80 bytes a unit in memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pullback.bank.journal import read_journal
from pullback.bank.shard import MAX_UNITS, SUFFIX, Shard
from pullback.bank.unit import ID_LENGTH, Unit
from pullback.errors import FileFormatError

SHARDS, DONE, JOURNAL_SUFFIX, PARTIAL = "shards", "done", ".jsonl", ".partial"
_SHARD_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\.safetensors")
_ID = re.compile(rf"[0-9a-f]{{{ID_LENGTH}}}")
_FAILED = frozenset({"failed", "unit", "tries", "error", "traceback"})


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
        at = int(np.searchsorted(self.ids, unit_id.encode()))
        if at == len(self.ids) or self.ids[at] != unit_id.encode():
            return None
        return self.shards[self.shard[at]], int(self.row[at])

    def ordered(self) -> np.ndarray:
        """Positions in id order, one for each key: a unit whose latent came out differently elsewhere counts once."""
        _, first = np.unique(self.keys, return_index=True)
        return np.sort(first)


def build_index(folder: Path) -> Index:
    """Reads the journals, and the headers of shards that they do not name."""
    problems: list[str] = []
    failed: dict[str, Mapping[str, Any]] = {}
    entries, strays = scan(folder, problems=problems, failed=failed)
    names = [entry["shard"] for entry in entries]
    ids = np.array([unit_id for entry in entries for unit_id in entry["ids"]], dtype=f"S{ID_LENGTH}")
    keys = np.array([key for entry in entries for key in entry["keys"]], dtype=f"S{ID_LENGTH}")
    sizes = [len(entry["ids"]) for entry in entries]
    shard = np.repeat(np.arange(len(entries), dtype=np.int32), sizes)
    row = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes] or [np.zeros(0, np.int32)])
    ids, first = np.unique(ids, return_index=True)  # of equal ids the first by shard name
    keys = keys[first]
    done = set(keys.tolist())
    return Index(
        ids=ids,
        keys=keys,
        shard=shard[first],
        row=row[first],
        shards=tuple(names),
        strays=tuple(strays),
        failed={key: entry for key, entry in failed.items() if key.encode() not in done},
        problems=tuple(problems),
    )


def scan(
    folder: Path, *, problems: list[str] | None = None, failed: dict[str, Mapping[str, Any]] | None = None
) -> tuple[list[Mapping[str, Any]], list[str]]:
    """The shards that are there, as ``{"shard", "bytes", "keys", "ids"}`` by name, and which of them are strays."""
    problems = [] if problems is None else problems
    failed = {} if failed is None else failed
    sizes = shard_sizes(folder)
    found: dict[str, Mapping[str, Any]] = {}
    entries = list(journal_entries(folder, problems))
    dropped = {entry["dropped"] for entry in entries if "dropped" in entry} - set(sizes)
    for entry in entries:
        if "failed" in entry:
            failed[str(entry["failed"])] = entry
        elif "dropped" in entry or entry["shard"] in dropped:
            continue
        elif entry["shard"] not in sizes:
            problems.append(f"{entry['shard']}: named in a journal, but not there")
        elif entry["bytes"] == sizes[entry["shard"]]:  # else the shard speaks for itself, below
            found[entry["shard"]] = entry
    strays = []
    for name in sorted(set(sizes) - set(found)):
        try:
            found[name] = entry_of(folder / SHARDS / name)
            strays.append(name)
        except FileFormatError as error:
            problems.append(f"{name}: {error}")
    return [found[name] for name in sorted(found)], strays


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


def entry_of(path: Path) -> dict[str, Any]:
    """What a journal should say of a shard, from its header.

    Raises:
        FileFormatError: If it is none, or has a name that no writer gives.
    """
    if not _SHARD_NAME.fullmatch(path.name):
        raise FileFormatError(wanted="a name as writers give", got=repr(path.name), hint="take the file away")
    return line_for(path, [row.unit for row in Shard.open(path).rows])


def line_for(path: Path, units: Sequence[Unit]) -> dict[str, Any]:
    """What a journal should say of a shard that holds these units."""
    return {
        "shard": path.name,
        "bytes": path.stat().st_size,
        "keys": [unit.key for unit in units],
        "ids": [unit.id for unit in units],
    }


def misfit(entry: Mapping[str, Any], journal: str) -> str:
    """What is wrong with an entry that has the right checksum; anyone can compute a checksum."""
    if "failed" in entry:
        is_right = isinstance(entry["failed"], str) and _ID.fullmatch(entry["failed"]) and set(entry) <= _FAILED
        return "" if is_right else f"{journal}: a failed unit without a key, or with more than belongs to it"
    if set(entry) == {"dropped"} and isinstance(entry["dropped"], str):
        return ""
    if set(entry) != {"shard", "bytes", "keys", "ids"}:
        return f"{journal}: an entry with {sorted(map(str, entry))[:5]}"
    if not isinstance(entry["shard"], str) or not _SHARD_NAME.fullmatch(entry["shard"]):
        return f"{journal}: {str(entry['shard'])[:60]!r} is not the name of a shard"
    lists = [entry["keys"], entry["ids"]]
    are_lists = all(isinstance(each, list) and 0 < len(each) <= MAX_UNITS for each in lists)
    if not are_lists or len(lists[0]) != len(lists[1]) or type(entry["bytes"]) is not int:
        return f"{journal}: keys, ids and bytes of {entry['shard']} do not fit"
    if not all(isinstance(text, str) and _ID.fullmatch(text) for each in lists for text in each):
        return f"{journal}: an id of {entry['shard']} is not {ID_LENGTH} hexadecimal digits"
    return ""
