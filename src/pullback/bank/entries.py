"""What a journal says of a shard, or of a unit that failed; and what is wrong with what it says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pullback.bank.shard import MAX_UNITS, Shard
from pullback.bank.unit import ID_LENGTH, Unit
from pullback.errors import FileFormatError

_SHARD_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\.safetensors")
_ID = re.compile(rf"[0-9a-f]{{{ID_LENGTH}}}")
_FAILED = frozenset({"failed", "unit", "tries", "error", "traceback"})


@dataclass(frozen=True, slots=True)
class Named:
    """What a journal, or a shard itself, says of a shard; packed, since there are many.

    Attributes:
        shard: Its file name.
        num_bytes: Of the file.
        keys: 32 bytes for each unit.
        ids: The same.
    """

    shard: str
    num_bytes: int
    keys: bytes
    ids: bytes

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Named:
        """Of what `line_for` says."""
        keys, ids = ("".join(entry[name]).encode() for name in ("keys", "ids"))
        return cls(entry["shard"], entry["bytes"], keys, ids)

    def texts(self) -> list[str]:
        """The ids."""
        text = self.ids.decode()
        return [text[start : start + ID_LENGTH] for start in range(0, len(text), ID_LENGTH)]


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
