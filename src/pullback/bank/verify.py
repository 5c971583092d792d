"""Whether a bank is what it says: every byte of it, a few units computed again, and what a kill left lying about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pullback.bank.entries import Named, entry_of, misfit
from pullback.bank.index import DONE, JOURNAL_SUFFIX, PARTIAL, SHARDS, journal_paths, scan, shard_sizes
from pullback.bank.journal import read_journal
from pullback.bank.settings import NAME
from pullback.bank.shard import Shard
from pullback.bank.store import Bank
from pullback.errors import PullbackError

REFUSED = "refused"


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        num_units: Units whose every byte is right, each once.
        num_shards: Files that hold them.
        refused: What is wrong with each damaged shard or journal, by file name.
        problems: Journal entries that fit no shard.
        strays: Sound shards that no journal names yet; they count.
        orphans: Half-written files that a kill left, relative to the bank.
        is_cleaned: Whether refused files were moved to ``refused/``, orphans removed and the journals mended.
    """

    num_units: int
    num_shards: int
    refused: Mapping[str, str]
    problems: tuple[str, ...]
    strays: tuple[str, ...]
    orphans: tuple[str, ...]
    is_cleaned: bool = False

    @property
    def is_sound(self) -> bool:
        """Whether nothing was refused and everything named is there; strays and orphans are no damage."""
        return not self.refused and not self.problems


def verify_bank(bank: Bank, *, clean: bool = False) -> Verdict:
    """Reads every byte of a bank against its digests.

    Args:
        bank: The bank; nobody should write to it meanwhile if it is to be cleaned.
        clean: Whether to set damaged files aside in ``refused/``, remove what kills left, and mend the journals. The
            next run computes again what was set aside.

    Returns:
        What was found, before anything was cleaned.
    """
    problems: list[str] = []
    named, strays = scan(bank.folder, problems=problems)
    refused, sound = _shards(bank.folder, {each.shard: each for each in named})
    refused |= _journals(bank.folder)
    verdict = Verdict(
        num_units=len({unit_id for ids in sound.values() for unit_id in ids}),
        num_shards=len(sound),
        refused=refused,
        problems=tuple(text for text in problems if not any(text.startswith(f"{name}") for name in refused)),
        strays=tuple(name for name in strays if name in sound),
        orphans=tuple(sorted(str(path.relative_to(bank.folder)) for path in orphans(bank.folder))),
        is_cleaned=clean,
    )
    if clean:
        _clean(bank, verdict, problems)
    return verdict


def orphans(folder: Path) -> list[Path]:
    """Files that a kill left half-written: no reader ever looks at them."""
    found = [path for part in ("", SHARDS, DONE) for path in (folder / part).glob(f"*{PARTIAL}")]
    found += [path for path in folder.glob(f"{NAME}.*") if path not in found]
    empty = [path for path in journal_paths(folder) if path.stat().st_size == 0]
    return [path for path in found + empty if path.is_file()]


def _shards(folder: Path, named: Mapping[str, Named]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """What is wrong with damaged shards, and the ids in the others."""
    refused: dict[str, str] = {}
    sound: dict[str, list[str]] = {}
    for name in sorted(shard_sizes(folder)):
        try:
            entry, shard = entry_of(folder / SHARDS / name), Shard.open(folder / SHARDS / name)
            shard.read_all()
            if Named.of(entry) != named.get(name, Named.of(entry)):
                raise shard.refusal("the units that the journal names", f"{len(entry['ids'])} others")
        except PullbackError as error:
            refused[name] = str(error)
        else:
            sound[name] = entry["ids"]
    return refused, sound


def _journals(folder: Path) -> dict[str, str]:
    refused: dict[str, str] = {}
    for path in journal_paths(folder):
        for line in read_journal(path):
            problem = line.problem or misfit(line.entry, path.name)
            if problem:
                refused.setdefault(path.name, problem)
    return refused


def _clean(bank: Bank, verdict: Verdict, problems: list[str]) -> None:
    for name in verdict.orphans:
        (bank.folder / name).unlink(missing_ok=True)
    missing = [text.partition(":")[0] for text in problems if "named in a journal, but not there" in text]
    with bank.writer("verify") as writer:
        writer.adopt(verdict.strays)
        for name in verdict.refused:
            if name.endswith(JOURNAL_SUFFIX):
                _carry_over(bank.folder / DONE / name, writer.note)
                _move(bank.folder / DONE / name, bank.folder / REFUSED)
            else:
                missing.append(name)
                _move(bank.folder / SHARDS / name, bank.folder / REFUSED)
        for name in sorted(set(missing)):
            writer.note({"dropped": name})


def _carry_over(journal: Path, note: Callable[[Mapping[str, Any]], None]) -> None:
    for line in read_journal(journal):
        if not line.problem and not misfit(line.entry, journal.name):
            note(line.entry)


def _move(path: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    path.replace(folder / path.name)
