"""Directions on disk: one safetensors file that says what determined them, and refuses to be used elsewhere."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pullback.directions.origins import OVERRIDE_KEY
from pullback.directions.types import Direction
from pullback.errors import FileFormatError, MismatchError, NumericalError, PullbackError, ShapeError
from pullback.files import read_safetensors, write_safetensors
from pullback.types import Origin

FORMAT = "pullback.directions/1"
_FIELDS = {
    "space": str,
    "origin": dict,
    "s": (float, type(None)),
    "agreement": (float, type(None)),
    "agreement_null": (float, type(None)),
    "index": int,
    "name": str,
    "cluster": list,
    "merged": list,
}


def save_directions(path: str | Path, directions: Sequence[Direction], origin: Origin | None = None) -> None:
    """Write directions of one space, bit for bit, with all that determined them; no pickle.

    Args:
        path: A file, by custom ``directions.safetensors``.
        directions: Of one space and shape; may be empty.
        origin: What a reader must share, added to the origin of each direction: ``f.origin`` where they lack it.

    Raises:
        ShapeError: If the vectors differ in shape, dtype or space.
        NumericalError: If a vector or a figure is not finite.
    """
    kinds = {(direction.space, direction.vector.shape, direction.vector.dtype) for direction in directions}
    if len(kinds) > 1:
        raise ShapeError(
            wanted="directions of one space, shape and dtype",
            got="; ".join(sorted(f"{space} {tuple(shape)} {dtype}" for space, shape, dtype in kinds)),
            hint="write one file for each kind",
        )
    records = [_record(dataclasses.replace(d, origin={**d.origin, **(origin or {})})) for d in directions]
    vectors = torch.stack([d.vector for d in directions]) if directions else torch.zeros(0, 0)
    try:
        metadata = {"format": FORMAT, "directions": json.dumps(records, allow_nan=False)}
    except ValueError as error:
        raise NumericalError(wanted="finite figures", got=str(error), hint="use None for what is not known") from error
    write_safetensors(path, {"vectors": vectors}, metadata)


def load_directions(path: str | Path, *, expect: Origin | None = None, override: bool = False) -> list[Direction]:
    """Read directions, and refuse those of another model, layer, t, pooling or condition.

    Args:
        path: What `save_directions` wrote.
        expect: What the directions must have come from, as ``f.origin``: every key of it is compared. None compares
            nothing.
        override: Take them in spite of a mismatch; each is then marked, with the names that differ, under
            ``origin["used_in_spite_of"]``, and stays marked when it is saved again.

    Returns:
        The directions on the CPU, with the same bits as were saved.

    Raises:
        FileFormatError: If the file is damaged, or holds something else.
        MismatchError: If the origin differs; the message names each key with both values.
        FileNotFoundError: If there is no such file.
    """
    tensors, metadata = read_safetensors(path, must_have_digest=True)
    records = _records(path, tensors, metadata)
    try:
        directions = [
            Direction(
                **{**record, "vector": vector, "cluster": tuple(record["cluster"]), "merged": tuple(record["merged"])}
            )
            for vector, record in zip(tensors["vectors"], records, strict=True)
        ]
    except PullbackError as error:
        raise _refusal(path, "unit directions of X or H", str(error)) from error
    return [_checked(direction, expect or {}, override) for direction in directions]


def _checked(direction: Direction, expect: Origin, override: bool) -> Direction:
    wrong = {name: value for name, value in expect.items() if direction.origin.get(name) != value}
    if not wrong:
        return direction
    if not override:
        found = {name: direction.origin.get(name, "nothing") for name in wrong}
        raise MismatchError(
            wanted="directions from " + _listed(wrong),
            got=_listed(found),
            hint="discover directions for this map, or pass override=True to use these in spite of it",
        )
    return dataclasses.replace(direction, origin={**direction.origin, OVERRIDE_KEY: ", ".join(sorted(wrong))})


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={values[name]!r}" for name in sorted(values))


def _record(direction: Direction) -> dict[str, object]:
    record = {name: getattr(direction, name) for name in _FIELDS}
    return {**record, "origin": dict(direction.origin)}


def _records(
    path: str | Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The records of a file, each with the right fields of the right types."""
    if metadata.get("format") != FORMAT or set(tensors) != {"vectors"}:
        raise _refusal(
            path, f"format {FORMAT!r} and one tensor, 'vectors'", f"{metadata.get('format')!r}, {[*tensors]}"
        )
    try:
        records = json.loads(metadata["directions"], parse_constant=_refuse_constant)
    except (KeyError, ValueError, RecursionError) as error:
        raise _refusal(path, "a JSON list under 'directions'", str(error)) from error
    if not isinstance(records, list) or not tensors["vectors"].is_floating_point():
        raise _refusal(path, "a list of records and floating-point vectors", type(records).__name__)
    if len(records) != len(tensors["vectors"]) or not all(_is_record(record) for record in records):
        raise _refusal(path, f"one record of {', '.join(_FIELDS)} for each vector", f"{len(records)} records")
    return records


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a finite number")


def _is_record(record: object) -> bool:
    if not isinstance(record, dict) or set(record) != set(_FIELDS):
        return False
    are_typed = all(isinstance(record[name], kind) for name, kind in _FIELDS.items())
    return (
        are_typed
        and all(isinstance(value, str | int | float) for value in record["origin"].values())
        and all(isinstance(index, int) for name in ("cluster", "merged") for index in record[name])
    )


def _refusal(path: str | Path, wanted: str, got: str) -> FileFormatError:
    return FileFormatError(wanted=f"{path} needs {wanted}", got=got, hint="save the directions again")
