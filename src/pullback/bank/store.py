"""The bank: a folder of answers that many writers fill at once, without locks, and any reader reads.

* ``run.json``: what all writers share.
* ``shards/*.safetensors``: 16 to 64 units each, written once, whole or not at all.
* ``done/*.jsonl``: what was written and what failed, one journal a writer.
* ``refused/``: damaged files that ``verify --clean`` set aside.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pullback.bank.entries import entry_of, line_for
from pullback.bank.index import DONE, JOURNAL_SUFFIX, PARTIAL, SHARDS, Index, build_index
from pullback.bank.journal import Journal
from pullback.bank.settings import RunSettings, claim, read_settings
from pullback.bank.shard import MAX_UNITS, SUFFIX, Row, Shard, kind_of, write_shard
from pullback.bank.unit import Unit
from pullback.bank.work import Answer
from pullback.errors import MismatchError, OptionError
from pullback.files import At, Header, unwatched

if TYPE_CHECKING:
    from torch import Tensor

MAX_OPEN_SHARDS = 64


@dataclass(frozen=True)
class Bank:
    """A bank on disk.

    Attributes:
        folder: Where it is.
        settings: What ``run.json`` says.
    """

    folder: Path
    settings: RunSettings

    @classmethod
    def open(cls, folder: str | Path) -> Bank:
        """A bank that is there; nothing is written.

        Raises:
            OptionError: If there is none.
            FileFormatError: If its ``run.json`` is damaged.
        """
        return cls(Path(folder), read_settings(Path(folder)))

    @classmethod
    def make(cls, folder: str | Path, settings: RunSettings) -> Bank:
        """The bank of a folder, made if it is not there.

        Raises:
            MismatchError: If it is there and was made for something else.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        return cls(Path(folder), claim(Path(folder), settings))

    def reader(self) -> Reader:
        """A view of what is there now; it does not see what comes later."""
        return Reader(self.folder, build_index(self.folder))

    def writer(self, label: str = "main", *, at: At = unwatched) -> Writer:
        """A writer with files of its own, whoever else writes.

        Raises:
            OSError: If the folder cannot be written to.
        """
        return Writer(self.folder, f"{label}-{secrets.token_hex(4)}", self.settings, at)


class Reader:
    """Answers by id, with a bounded number of shard headers in memory."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder, self.index = folder, index
        self._shards: OrderedDict[str, Shard] = OrderedDict()
        self._checked: dict[str, Shard] = {}

    def __len__(self) -> int:
        return len(self.index)

    def __contains__(self, unit: Unit) -> bool:
        return self.id_of(unit) is not None

    def id_of(self, unit: Unit) -> str | None:
        """The id under which the bank has this unit, or None. A latent that is known must be the very one."""
        if unit.x:
            return unit.id if self.index.place(unit.id) else None
        return self._by_key.get(unit.key)

    def get(self, unit: Unit | str) -> Answer:
        """The answer of a unit, or of an id, checked against its digest.

        Raises:
            OptionError: If the bank has not got it.
            FileFormatError: If its shard is damaged.
            MismatchError: If the shard holds another unit than the journal says.
        """
        unit_id = unit if isinstance(unit, str) else self.id_of(unit)
        name, row = self._place(unit_id)
        answer = self.shard(name).read(row)
        if answer.unit.id != unit_id or (isinstance(unit, Unit) and answer.unit.key != unit.key):
            raise _misnamed(name)
        return answer

    def tensors(self, unit_id: str, names: Sequence[str]) -> dict[str, Tensor]:
        """Some tensors of one unit, for whoever reads many in any order.

        The first touch of a shard reads and checks all of it; afterwards a row costs its own bytes alone.

        Raises:
            OptionError: If the bank has not got the unit.
            FileFormatError: If its shard is damaged, or has no such tensor.
            MismatchError: If the shard holds other units than the journal says.
        """
        name, row = self._place(unit_id)
        if name not in self._checked:
            self._served(name)
            shard = self.shard(name)
            shard.read_all()
            self._checked[name] = Shard(shard.path, Header({}, shard.header.entries))  # 2 KB; units left out
        return self._checked[name].slices(row, names)

    def ids(self) -> Iterator[str]:
        """Ids in order, one for each key."""
        return (name.decode() for name in self.index.ids[self.index.ordered()])

    def rows(self) -> Iterator[Row]:
        """What the headers say of each unit, file by file; of equal ids the one that `get` returns.

        Raises:
            FileFormatError: If a header is damaged.
            MismatchError: If a shard holds other units than the journal says.
        """
        for name in self.index.shards:
            yield from self._served(name)

    def kinds(self, ids: Iterable[str]) -> list[Unit]:
        """One unit of each kind among some: units of a kind differ in their sample alone. Of the headers alone.

        Raises:
            OptionError: If the bank has not got one of them.
            FileFormatError, MismatchError: As `rows`.
        """
        numbers, units = self._kinds
        return [units[i] for i in sorted({int(numbers[self._position(unit_id)]) for unit_id in ids})]

    def shard(self, name: str) -> Shard:
        """A shard of this bank, its header read once."""
        if name not in self._shards:
            self._shards[name] = Shard.open(self.folder / SHARDS / name)
        self._shards.move_to_end(name)
        if len(self._shards) > MAX_OPEN_SHARDS:
            self._shards.popitem(last=False)
        return self._shards[name]

    def _place(self, unit_id: str | None) -> tuple[str, int]:
        at = self._position(unit_id)
        return self.index.shards[self.index.shard[at]], int(self.index.row[at])

    def _position(self, unit_id: str | None) -> int:
        at = self.index.position(unit_id) if unit_id else None
        if at is None:
            raise OptionError(
                wanted="a unit of this bank", got=unit_id or "one that was not computed", hint="`pullback bank ls DIR`"
            )
        return at

    def _served(self, name: str) -> list[Row]:
        rows = enumerate(self.shard(name).rows)
        served = [row for i, row in rows if self.index.place(row.unit.id) == (name, i)]
        if len(served) != self.index.sizes[name]:
            raise _misnamed(name)
        return served

    @cached_property
    def _kinds(self) -> tuple[np.ndarray, list[Unit]]:
        """The number of the kind of each unit of the index, and a unit of each kind."""
        numbers = np.full(len(self.index), -1, dtype=np.int32)
        found: dict[tuple[Any, ...], int] = {}
        units: list[Unit] = []
        for row in self.rows():
            number = found.setdefault(row.unit.company, len(units))
            if number == len(units):
                units.append(row.unit)
            numbers[self._position(row.unit.id)] = number
        return numbers, units

    @cached_property
    def _by_key(self) -> dict[str, str]:
        keys = (key.decode() for key in self.index.keys[self.index.ordered()])
        return dict(zip(keys, self.ids(), strict=True))


def _misnamed(shard: str) -> MismatchError:
    return MismatchError(
        wanted=f"the units in {shard} that a journal names",
        got="others",
        hint="`pullback bank verify DIR --clean` mends it; a run computes its units again",
    )


class Writer:
    """Gathers answers into shards; the only writer of its files. A context manager that flushes on a good end.

    Attributes:
        name: In the names of all its files.
        num_written: Units that are safe on disk.
    """

    def __init__(self, folder: Path, name: str, settings: RunSettings, at: At = unwatched) -> None:
        self.folder, self.name, self.settings, self._at = folder, name, settings, at
        self._journal = Journal(folder / DONE / f"{name}{JOURNAL_SUFFIX}", at=at)
        self._buffer: list[Answer] = []
        self._num_shards = self.num_written = 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None or issubclass(kind, KeyboardInterrupt):
                self.flush()
        finally:
            self._journal.close()

    @property
    def is_flushed(self) -> bool:
        """Whether all that was added is on disk."""
        return not self._buffer

    def add(self, answers: Sequence[Answer]) -> bool:
        """Takes the answers of one group, and writes a shard when enough have come together; returns whether it did."""
        before = self._num_shards
        if len(self._buffer) + len(answers) > MAX_UNITS:
            self.flush()
        for answer in answers:
            kept = self.settings.storage.apply(answer)
            if self._buffer and kind_of(kept) != kind_of(self._buffer[0]):
                self.flush()
            self._buffer.append(kept)
        if len(self._buffer) >= self.settings.shard_size:
            self.flush()
        return self._num_shards > before

    def flush(self) -> None:
        """Writes what has gathered: the shard first, then the line that names it."""
        if not self._buffer:
            return
        path = self.folder / SHARDS / f"{self.name}-{self._num_shards:06d}{SUFFIX}"
        try:
            write_shard(path, self._buffer, at=self._at)
        except OSError:
            path.with_name(path.name + PARTIAL).unlink(missing_ok=True)  # it would fill what is full already
            raise
        written, self._buffer = self._buffer, []  # safe, whatever becomes of the line: without it the shard is a stray
        self._num_shards += 1
        self.num_written += len(written)
        self._journal.append(line_for(path, [answer.unit for answer in written]))

    def adopt(self, strays: Sequence[str]) -> None:
        """Names shards in the journal that a killed writer left whole, but without their line."""
        for name in strays:
            self._journal.append(entry_of(self.folder / SHARDS / name))

    def note(self, entry: Mapping[str, Any]) -> None:
        """Appends an entry as it is: what a repair carries over from a damaged journal, or ``{"dropped": shard}``."""
        self._journal.append(entry)

    def set_aside(self, unit: Unit, *, tries: int, error: str, trace: str) -> None:
        """Notes that a unit always fails, with its traceback."""
        entry: dict[str, Any] = {"failed": unit.key, "unit": unit.record(), "tries": tries}
        self._journal.append({**entry, "error": error[:500], "traceback": trace[-20_000:]})
