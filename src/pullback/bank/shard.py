"""Files of 16 to 64 units: each tensor stacked over the units, so that one of them can be read by itself."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pullback.bank.unit import Unit, canonical, unit_from
from pullback.bank.work import DTYPES, Answer
from pullback.errors import FileFormatError
from pullback.files import At, Header, read_header, read_safetensors, unwatched, write_safetensors

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "pullback.bank/1"
SUFFIX = ".safetensors"
MAX_UNITS = 4096
_DIGEST = re.compile(r"[0-9a-f]{64}")


def write_shard(path: Path, answers: Sequence[Answer], *, at: At = unwatched) -> None:
    """Writes answers whose tensors have the same names, dtypes and shapes (`kind_of`) as one file."""
    import torch

    common, own = factored([answer.unit.record() for answer in answers])
    rows = [
        {"unit": record, "facts": dict(answer.facts), "digest": answer.digest()}
        for record, answer in zip(own, answers, strict=True)
    ]
    metadata = {"format": FORMAT, "common": canonical(common), "rows": canonical(rows)}
    tensors = {name: torch.stack([answer.tensors[name] for answer in answers]) for name in answers[0].tensors}
    write_safetensors(path, tensors, metadata, at=at)


def kind_of(answer: Answer) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
    """What must agree within a shard: names, dtypes and shapes."""
    return tuple((name, str(value.dtype), tuple(value.shape)) for name, value in sorted(answer.tensors.items()))


def factored(records: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What all records share, and what each has beside it.

    Example:
        >>> factored([{"a": 1, "b": 2}, {"a": 1, "b": 3}])
        ({'a': 1}, [{'b': 2}, {'b': 3}])
    """
    first = records[0]
    common = {name: value for name, value in first.items() if all(record[name] == value for record in records)}
    return common, [{name: value for name, value in record.items() if name not in common} for record in records]


@dataclass(frozen=True)
class Row:
    """One unit of a shard, as its header describes it."""

    unit: Unit
    facts: Mapping[str, Any]
    digest: str


@dataclass(frozen=True)
class Shard:
    """A shard whose header was read and checked; its tensors are read unit by unit, or all at once.

    Attributes:
        path: The file.
        header: What it says of itself.

    Raises:
        FileFormatError: If anything about the header is not as it should be; the message names the field.
        FileNotFoundError: If there is no such file.
    """

    path: Path
    header: Header

    @classmethod
    def open(cls, path: Path) -> Shard:
        """Reads and checks the header alone."""
        shard = cls(path, read_header(path))
        shard._check()
        return shard

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The units, in the order of the file."""
        metadata = self.header.metadata
        try:
            common, rows = (json.loads(metadata[name], parse_constant=_refuse) for name in ("common", "rows"))
            found = [Row(unit_from({**common, **row["unit"]}), dict(row["facts"]), str(row["digest"])) for row in rows]
        except FileFormatError as error:
            raise self.refusal(error.wanted, error.got) from error
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise self.refusal("units, facts and digests", f"{type(error).__name__}: {error}") from error
        return tuple(found)

    def read(self, index: int) -> Answer:
        """One unit's answer, checked against its digest.

        Raises:
            FileFormatError: If it does not fit, or is not finite.
        """
        row = self.rows[index]
        answer = Answer(row.unit, self.slices(index, list(self.header.entries)), row.facts)
        if answer.digest() != row.digest:
            raise self.refusal(f"unit {row.unit.id} that matches its digest", "changed bytes")
        if not all(bool(tensor.isfinite().all()) for tensor in answer.tensors.values()):
            raise self.refusal(f"unit {row.unit.id} to be finite", "NaN or infinity")
        return answer

    def slices(self, index: int, names: Sequence[str]) -> dict[str, Tensor]:
        """Some tensors of one row, as they stand in the file; nothing is checked but that they are there.

        Raises:
            FileFormatError: If they are not.
        """
        with self.path.open("rb") as file:
            return {name: self._slice(file, name, index) for name in names}

    def read_all(self) -> list[Answer]:
        """Every answer, each checked against its digest, and the file against its own.

        Raises:
            FileFormatError: If anything about the file is not as it should be.
        """
        tensors, _ = read_safetensors(self.path, must_have_digest=True)
        answers = [
            Answer(row.unit, {name: rows[i] for name, rows in tensors.items()}, row.facts)
            for i, row in enumerate(self.rows)
        ]
        for answer, row in zip(answers, self.rows, strict=True):
            if answer.digest() != row.digest:
                raise self.refusal(f"unit {row.unit.id} that matches its digest", "changed bytes")
        return answers

    def refusal(self, wanted: str, got: str) -> FileFormatError:
        """The error that says what is wrong with this file."""
        return FileFormatError(
            wanted=f"{self.path} needs {wanted}",
            got=got[:200],
            hint="`pullback bank verify DIR --clean` sets it aside; a run computes its units again",
        )

    def _check(self) -> None:
        if self.header.metadata.get("format") != FORMAT:
            raise self.refusal(f"format {FORMAT!r}", repr(self.header.metadata.get("format")))
        if not 0 < len(self.rows) <= MAX_UNITS:
            raise self.refusal(f"1 to {MAX_UNITS} units", str(len(self.rows)))
        if len({row.unit.id for row in self.rows}) < len(self.rows):
            raise self.refusal("each unit once", "the same unit twice")
        wrong = [row.digest for row in self.rows if not _DIGEST.fullmatch(row.digest)]
        if wrong:
            raise self.refusal("digests of 64 hexadecimal digits", repr(wrong[0]))
        for name, entry in self.header.entries.items():
            if entry.dtype not in DTYPES:
                raise self.refusal(f"a dtype among {', '.join(DTYPES)} for {name!r}", entry.dtype)
            if not entry.shape or entry.shape[0] != len(self.rows):
                raise self.refusal(f"{len(self.rows)} rows of {name!r}", f"shape {list(entry.shape)}")

    def _slice(self, file: Any, name: str, index: int) -> Tensor:
        import torch

        entry = self.header.entries.get(name)
        if entry is None:
            raise self.refusal(f"a tensor {name!r}", f"only {', '.join(self.header.entries)}")
        dtype = getattr(torch, DTYPES[entry.dtype])
        if index >= entry.shape[0]:
            raise self.refusal(f"a row {index} of {name!r}", f"shape {list(entry.shape)}")
        num_bytes = math.prod(entry.shape[1:]) * dtype.itemsize
        if num_bytes == 0:
            return torch.zeros(entry.shape[1:], dtype=dtype)
        file.seek(entry.begin + index * num_bytes)
        content = bytearray(file.read(num_bytes))
        if len(content) != num_bytes:
            raise self.refusal(f"{num_bytes} bytes of {name!r}", str(len(content)))
        return torch.frombuffer(content, dtype=dtype).reshape(entry.shape[1:])


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not a finite number")
