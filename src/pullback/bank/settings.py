"""``run.json``: what all writers of a bank share, written once by whoever comes first."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pullback.bank.storage import Storage, storage_from
from pullback.errors import FileFormatError, MismatchError, OptionError
from pullback.files import sync_folder, write_json

NAME = "run.json"
FORMAT = "pullback.bank/1"
MAX_BYTES = 1 << 20
SHARD_UNITS = (1, 4096)


@dataclass(frozen=True)
class RunSettings:
    """What is decided once for a bank.

    Attributes:
        storage: What is kept of an answer.
        shard_size: Units of a shard, 16 to 64 by custom.
        group: Units that a worker computes together; units of one group share their random start.
        plan: How products are computed (engine, chunk, dtype, threads): the same plan on the same device gives the same
            bits.
        device: Where the plan was made, for people.
        request: What was asked for, if the bank belongs to one request: so that a copy of the folder can be finished
            elsewhere. Empty for a bank that serves many.

    Raises:
        OptionError: If a number has no meaning.
    """

    storage: Storage = field(default_factory=Storage)
    shard_size: int = 32
    group: int = 1
    plan: Mapping[str, Any] = field(default_factory=dict)
    device: str = ""
    request: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("shard_size", "group"):
            value = getattr(self, name)
            if type(value) is not int or not SHARD_UNITS[0] <= value <= SHARD_UNITS[1]:
                raise OptionError(
                    wanted=f"{name} between {SHARD_UNITS[0]} and {SHARD_UNITS[1]}",
                    got=repr(value),
                    hint="32 will do",
                )

    def record(self) -> dict[str, Any]:
        """Plain values for ``run.json``."""
        return {"format": FORMAT, **dataclasses.asdict(self)}


def told_apart(request: Mapping[str, Any]) -> dict[str, Any]:
    """What tells one request from another: a model is known by its weights, wherever it lies.

    Example:
        >>> told_apart({"model": "/there", "weights": "w", "rank": 8})
        {'weights': 'w', 'rank': 8}
        >>> told_apart({"model": "toy"})
        {'model': 'toy'}
    """
    return {name: value for name, value in request.items() if name != "model" or not request.get("weights")}


def claim(folder: Path, wanted: RunSettings) -> RunSettings:
    """Writes ``run.json`` unless it is there; returns what it says, ours or that of whoever was first.

    It is written aside and linked into place, which fails if the name is taken: of many writers that start together
    exactly one wins, without a lock, on a network file system too.

    Raises:
        MismatchError: If the bank is there and was made for another request, or keeps something else.
        FileFormatError: If there is a ``run.json`` that is none.
    """
    path = folder / NAME
    if not path.exists():
        aside = folder / f"{NAME}.{secrets.token_hex(4)}"
        write_json(aside, wanted.record())
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links: the last one wins, and all read what it wrote
            aside.replace(path)
        aside.unlink(missing_ok=True)
        sync_folder(folder)
    found = read_settings(folder)
    for name, kept in (("request", told_apart), ("storage", dict)):
        ours, theirs = (kept(each.record()[name]) for each in (wanted, found))
        if ours and ours != theirs:
            wrong = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
            raise MismatchError(
                wanted=f"a bank with the same {name}: {', '.join(f'{key}={ours.get(key)!r}' for key in wrong)}",
                got=f"{folder} with {', '.join(f'{key}={theirs.get(key)!r}' for key in wrong)}",
                hint="use another folder, or leave these options out to go on with this one",
            )
    return found


def read_settings(folder: Path) -> RunSettings:
    """What ``run.json`` says.

    Raises:
        OptionError: If there is no bank.
        FileFormatError: If the file is not what it should be; the message names the field.
    """
    path = folder / NAME
    if not path.is_file():
        raise OptionError(wanted=f"a bank, a folder with {NAME}", got=str(folder), hint="`pullback bank run` makes one")
    if path.stat().st_size > MAX_BYTES:
        raise _refusal(path, f"at most {MAX_BYTES} bytes", str(path.stat().st_size))
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _refusal(path, "JSON", str(error)) from error
    fields = {"format", *(each.name for each in dataclasses.fields(RunSettings))}
    if not isinstance(record, dict) or set(record) != fields or record["format"] != FORMAT:
        raise _refusal(path, f"format {FORMAT!r} with {', '.join(sorted(fields))}", repr(record))
    if not all(isinstance(record[name], dict) for name in ("storage", "plan", "request")):
        raise _refusal(path, "objects under storage, plan and request", repr(record))
    del record["format"]
    try:
        return RunSettings(**{**record, "storage": storage_from(record["storage"])})
    except OptionError as error:
        raise _refusal(path, error.wanted, error.got) from error


def _refusal(path: Path, wanted: str, got: str) -> FileFormatError:
    return FileFormatError(wanted=f"{path} needs {wanted}", got=got[:200], hint="restore it from a copy of the bank")
