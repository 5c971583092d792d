"""What ``edit.json`` must look like, writing it, and reading it when anyone may have written it."""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from pullback.errors import FileFormatError
from pullback.files import read_safetensors, write_json, write_safetensors

FORMAT = "pullback.edit/1"
RECORD, TENSORS = "edit.json", "edit.safetensors"
Way = Literal["edit", "injection", "window", "composition"]
"""Steps or guidance at one t, h-space injection, steps in a window of the walk, several directions at once."""
MANY: tuple[Way, ...] = ("composition",)
"""Ways with several directions, and a row of scales for each frame."""
_FIELDS = {"format", "origin", "guidance_scale", "scale", "options", "tensors", "frames"}
_ABOUT_ONE, _ABOUT_MANY = {"direction"}, {"directions", "without"}
_OPTIONAL = {"way", "notes"}


def write_record(folder: Path, fields: Mapping[str, Any], tensors: Mapping[str, Tensor], x0: Tensor) -> None:
    """Write both files, with a digest of each frame; neither takes its place before both are complete.

    Args:
        folder: Where to; made if need be.
        fields: Of ``edit.json``, but format and digests.
        tensors: For ``edit.safetensors``.
        x0: The frames, `(S, *x_shape)`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as name:
        stage = Path(name)
        write_safetensors(stage / TENSORS, tensors, {"format": FORMAT})
        digests = {"tensors": _digest_of_file(stage / TENSORS), "frames": [digest_of_frame(frame) for frame in x0]}
        write_json(stage / RECORD, {"format": FORMAT, **fields, **digests})
        for each in (TENSORS, RECORD):
            (stage / each).replace(folder / each)


def read_record(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the fields of ``edit.json``, those that older versions did not write filled in, and the tensors.

    Raises:
        FileFormatError: If it is not one, or does not belong to the tensors beside it.
        FileNotFoundError: If there is none.
    """
    content = (folder / RECORD).read_bytes()
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise refusal(folder, "a JSON object", str(error)) from error
    if not isinstance(record, dict) or not _has_its_fields(record):
        raise refusal(folder, f"the fields of {FORMAT}", str(sorted(record) if isinstance(record, dict) else record))
    record = {"way": "edit", "notes": {}, **record}
    if not (isinstance(record["scale"], list) and isinstance(record["frames"], list)):
        raise refusal(folder, "lists of scales and frames", type(record["scale"]).__name__)
    is_scale = _is_row if record["way"] in MANY else _is_number
    if len(record["scale"]) != len(record["frames"]) or not all(is_scale(each) for each in record["scale"]):
        raise refusal(folder, "a digest for each scale", f"{len(record['scale'])} and {len(record['frames'])}")
    if _digest_of_file(folder / TENSORS) != record["tensors"]:
        raise refusal(folder, f"the {TENSORS} that was written with it", "another one")
    return record, read_safetensors(folder / TENSORS, must_have_digest=True)[0]


def _has_its_fields(record: Mapping[str, Any]) -> bool:
    way, notes = record.get("way", "edit"), record.get("notes", {})
    if record.get("format") != FORMAT or way not in get_args(Way) or not isinstance(notes, dict):
        return False
    about = _ABOUT_MANY if way in MANY else _ABOUT_ONE
    return set(record) - _OPTIONAL == _FIELDS | about and all(isinstance(note, str) for note in notes.values())


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_row(value: object) -> bool:
    return isinstance(value, list) and all(_is_number(each) for each in value)


def _digest_of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest_of_frame(frame: Tensor) -> str:
    """Return the sha256 of a clean sample's bits."""
    values = frame.detach().cpu().contiguous()
    return hashlib.sha256(values.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()


def refusal(folder: Path, wanted: str, got: str) -> FileFormatError:
    """Return the error of a record that cannot be used."""
    return FileFormatError(wanted=f"{folder / RECORD} needs {wanted}", got=got, hint="record the edit again")
