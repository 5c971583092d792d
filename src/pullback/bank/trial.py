"""Kills a run, on purpose, and tells what it left: for the tests, and for the file system that you mean to use.

``python tools/bank_kill.py --folder /mnt/share/x`` runs these there.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

from pullback.bank.contents import content_digest
from pullback.bank.driver import run_here
from pullback.bank.index import PARTIAL, SHARDS, build_index, journal_paths
from pullback.bank.settings import RunSettings
from pullback.bank.store import Bank
from pullback.bank.toy import KillAt, ToyWork, toy_units
from pullback.bank.verify import orphans, verify_bank
from pullback.errors import PullbackError

COUNTS, FOLDER = "counts", "bank"


@dataclass(frozen=True)
class Wreck:
    """What a kill left.

    Attributes:
        num_partial: Half-written shards.
        num_strays: Whole shards without a line in a journal.
        num_torn: Journals whose last line has no end.
        num_stored: Units that are safe.
    """

    num_partial: int
    num_strays: int
    num_torn: int
    num_stored: int

    @property
    def place(self) -> str:
        """Where the kill landed, in words."""
        parts = [
            (self.num_partial, "a shard half-written"),
            (self.num_torn, "a journal line half-written"),
            (self.num_strays, "a shard without its line"),
        ]
        return " and ".join(words for num, words in parts if num) or "between two writes"


@dataclass(frozen=True)
class Outcome:
    """One kill and what became of the run.

    Attributes:
        wreck: What lay there.
        was_killed: Whether the kill came before the run was over.
        num_again: Units that were computed more than once in all.
        is_equal: Whether the finished bank equals one that nobody disturbed.
        num_orphans: Half-written files left after ``verify --clean``.
        is_sound: Whether nothing was refused on the way.
    """

    wreck: Wreck
    was_killed: bool
    num_again: int
    is_equal: bool
    num_orphans: int
    is_sound: bool

    def holds(self, shard_size: int) -> bool:
        """Whether the promises were kept."""
        return self.is_equal and self.is_sound and self.num_orphans == 0 and self.num_again <= shard_size


def undisturbed(folder: Path, *, num: int, settings: RunSettings) -> str:
    """The content digest of a run that nobody kills."""
    bank = Bank.make(folder / FOLDER, settings)
    run_here(bank, toy_units(num), ToyWork())
    return content_digest(bank.reader())


def strike(
    folder: Path, *, num: int, settings: RunSettings, wanted: str, kill: KillAt | None = None, after: float = 0
) -> Outcome:
    """Runs ``num`` toy units in a process of their own, kills it with SIGKILL, looks, and finishes the run.

    Args:
        folder: An empty folder.
        num: Units.
        settings: Of the bank.
        wanted: `undisturbed`, of the same units.
        kill: A step of the write protocol to strike at, or None ...
        after: ... to strike so many seconds after the start of the run.

    Returns:
        What happened.
    """
    folder.mkdir(parents=True, exist_ok=True)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["pullback.bank.trial"])
    has_begun = processes.Event()
    victim = processes.Process(target=victim_main, args=(folder, num, settings, kill, has_begun))
    victim.start()
    if kill is None:
        has_begun.wait()
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):  # it may be through
            os.kill(victim.pid or 0, signal.SIGKILL)
    victim.join()
    wreck = look(folder / FOLDER)
    return _finished(folder, num, settings, wanted, wreck, was_killed=victim.exitcode == -signal.SIGKILL)


def victim_main(folder: Path, num: int, settings: RunSettings, kill: KillAt | None, has_begun: Event) -> None:
    """The process that is going to die."""
    bank = Bank.make(folder / FOLDER, settings)
    has_begun.set()
    work = ToyWork(counts=folder / COUNTS)
    run_here(bank, toy_units(num), work, at=kill) if kill else run_here(bank, toy_units(num), work)


def look(folder: Path) -> Wreck:
    """What lies in a bank."""
    index = build_index(folder)
    journals = [path.read_bytes() for path in journal_paths(folder)]
    return Wreck(
        num_partial=len(list((folder / SHARDS).glob(f"*{PARTIAL}"))),
        num_strays=len(index.strays),
        num_torn=sum(bool(text) and not text.endswith(b"\n") for text in journals),
        num_stored=len(index),
    )


def _finished(folder: Path, num: int, settings: RunSettings, wanted: str, wreck: Wreck, *, was_killed: bool) -> Outcome:
    bank = Bank.make(folder / FOLDER, settings)
    is_sound = True
    try:
        run_here(bank, toy_units(num), ToyWork(counts=folder / COUNTS))
        verify_bank(bank, clean=True)
        is_sound = verify_bank(bank).is_sound
        found = content_digest(bank.reader())
    except PullbackError as error:
        found, is_sound = str(error), False
    return Outcome(
        wreck=wreck,
        was_killed=was_killed,
        num_again=(folder / COUNTS).stat().st_size - num,
        is_equal=found == wanted,
        num_orphans=len(orphans(bank.folder)),
        is_sound=is_sound,
    )
