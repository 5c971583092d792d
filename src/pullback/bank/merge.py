"""One bank out of several: shards are copied whole, what is there already is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pullback.bank.entries import entry_of
from pullback.bank.index import SHARDS, scan, shard_sizes
from pullback.bank.settings import told_apart
from pullback.bank.shard import Shard
from pullback.bank.store import Bank, Writer
from pullback.errors import FileFormatError, MismatchError, OptionError
from pullback.files import write_atomic


@dataclass
class Merged:
    """What came of a merge.

    Attributes:
        num_copied: Shards that were copied.
        num_known: Shards whose every unit was there.
        refused: What is wrong with those that were left out, by file.
    """

    num_copied: int = 0
    num_known: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def merge_banks(target: str | Path, sources: Sequence[Bank]) -> Merged:
    """Copies into ``target`` the shards of ``sources`` that hold something new; each is checked byte by byte first.

    A merge that was killed is started again. Sources stay as they are.

    Args:
        target: A bank, or a folder that becomes one with the settings of the first source.
        sources: Banks that keep the same of each unit.

    Returns:
        How many were copied, and what was refused; the rest is merged all the same.

    Raises:
        OptionError: If there are no sources.
        MismatchError: If a bank keeps something else, or was made for another request.
    """
    if not sources:
        raise OptionError(wanted="at least one bank to merge", got="none", hint="`pullback bank merge TARGET A B`")
    bank = Bank.make(target, sources[0].settings)
    for source in sources:
        _check_alike(bank, source)
    merged = Merged()
    with bank.writer("merge") as writer:
        for source in sources:
            _merge_one(bank, source, writer, merged)
    return merged


def _check_alike(bank: Bank, source: Bank) -> None:
    for name, kept in (("storage", dict), ("request", told_apart)):
        ours, theirs = (kept(each.settings.record()[name]) for each in (bank, source))
        if ours != theirs:
            raise MismatchError(
                wanted=f"banks with one {name}: {ours}", got=f"{source.folder} with {theirs}", hint="keep them apart"
            )


def _merge_one(bank: Bank, source: Bank, writer: Writer, merged: Merged) -> None:
    known_failed: dict[str, Mapping[str, Any]] = {}
    known = {unit_id for each in scan(bank.folder, failed=known_failed)[0] for unit_id in each.texts()}
    for name in sorted(shard_sizes(source.folder)):
        path = source.folder / SHARDS / name
        try:
            if known.issuperset(entry_of(path)["ids"]):
                merged.num_known += 1
                continue
            Shard.open(path).read_all()
            _copy(path, bank.folder / SHARDS / name)
        except FileFormatError as error:
            merged.refused[str(path)] = str(error)
            continue
        entry = entry_of(bank.folder / SHARDS / name)
        writer.note(entry)
        known.update(entry["ids"])
        merged.num_copied += 1
    failed: dict[str, Mapping[str, Any]] = {}
    scan(source.folder, failed=failed)
    for key in sorted(failed.keys() - known_failed.keys()):
        writer.note(failed[key])


def _copy(source: Path, target: Path) -> None:
    if target.exists():
        raise FileFormatError(
            wanted=f"a name that {target.parent} has not got", got=source.name, hint="the two files differ: rename one"
        )
    write_atomic(target, source.read_bytes())
