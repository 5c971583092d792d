"""What has been done, line by line: append-only, each line with its checksum, one writer a file.

A line is ``{"sum": first 16 digits of the sha256 of the entry, "entry": {...}}``. A last line without its end is what a
kill in mid-write leaves, and is passed over; any other line that does not fit its sum is reported and passed over.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pullback.bank.unit import canonical
from pullback.files import At, sync_folder, unwatched

MAX_LINE_BYTES = 1 << 22
SUM_LENGTH = 16
_LINE = re.compile(rb'\{"sum":"([0-9a-f]{16})","entry":(\{.*\})\}\n')


@dataclass(frozen=True)
class Line:
    """One line of a journal: its entry, or what is wrong with it.

    Attributes:
        entry: What was written; empty if the line is damaged.
        problem: What is wrong with it, by name; "" if nothing is.
        end: Bytes of the file up to the end of this line.
    """

    entry: Mapping[str, Any]
    problem: str
    end: int


class Journal:
    """The one file that this writer appends to; it is made at once, so that a folder that refuses says so now.

    Args:
        path: A new file.
        at: Told ``"journal"`` before a line is written, ``"torn"`` after half of it, ``"journaled"`` before it is
            flushed to disk, ``"done"`` after.

    Raises:
        FileExistsError: If there is one of that name: another writer has it.
    """

    def __init__(self, path: Path, *, at: At = unwatched) -> None:
        self.path, self._at = path, at
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o666)
        sync_folder(path.parent)

    def append(self, entry: Mapping[str, Any]) -> None:
        """Writes one line and flushes it to disk; whatever stops it, no half line stays for the next to be glued to."""
        line, start = line_of(entry), os.fstat(self._handle).st_size
        self._at("journal")
        half = len(line) // 2
        try:
            for part, step in ((line[:half], "torn"), (line[half:], "journaled")):
                _write_all(self._handle, part)
                self._at(step)
            os.fsync(self._handle)
        except BaseException:  # a full disk, or Ctrl-C, after which what had gathered is still written
            os.ftruncate(self._handle, start)
            raise
        self._at("done")

    def close(self) -> None:
        """Closes the file; an empty one is taken away."""
        is_empty = os.fstat(self._handle).st_size == 0
        os.close(self._handle)
        if is_empty:
            self.path.unlink(missing_ok=True)


def line_of(entry: Mapping[str, Any]) -> bytes:
    r"""The line of an entry, with its end.

    Example:
        >>> line_of({"shard": "a"})
        b'{"sum":"0e6bdd788c30e8e0","entry":{"shard":"a"}}\n'
    """
    text = canonical(entry)
    return f'{{"sum":"{_sum(text.encode())}","entry":{text}}}\n'.encode()


def read_journal(path: Path, *, start: int = 0) -> Iterator[Line]:
    """The lines of a journal that anyone may have made, from byte ``start`` on.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    end = start
    with path.open("rb") as file:
        file.seek(start)
        while line := file.readline(MAX_LINE_BYTES):
            if not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES:
                return  # torn, or about to be finished by a writer that is at it
            end += len(line)
            try:
                entry, problem = _entry(line), ""
            except (ValueError, RecursionError) as error:
                entry, problem = {}, f"{path.name}, line that ends at byte {end}: {error}"
            yield Line(entry, problem, end)


def _entry(line: bytes) -> dict[str, Any]:
    parts = _LINE.fullmatch(line)
    if parts is None:
        raise ValueError("not a sum and an entry")
    if parts[1].decode() != _sum(parts[2]):
        raise ValueError("the checksum does not fit")
    return json.loads(parts[2])  # an object, by its braces


def _sum(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:SUM_LENGTH]


def _write_all(handle: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]
