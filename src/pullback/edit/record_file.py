"""What ``edit.json`` must look like, and reading it when anyone may have written it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pullback.errors import FileFormatError
from pullback.types import Pool

FORMAT = "pullback.edit/1"
RECORD, TENSORS = "edit.json", "edit.safetensors"
_FIELDS = {"format", "origin", "guidance_scale", "direction", "scale", "options", "tensors", "frames"}


def read_record(folder: Path) -> dict[str, Any]:
    """Return the fields of ``edit.json``.

    Raises:
        FileFormatError: If it is not one, or does not belong to the tensors beside it.
        FileNotFoundError: If there is none.
    """
    content = (folder / RECORD).read_bytes()
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise refusal(folder, "a JSON object", str(error)) from error
    if not isinstance(record, dict) or set(record) != _FIELDS or record["format"] != FORMAT:
        raise refusal(folder, f"the fields of {FORMAT}", str(sorted(record) if isinstance(record, dict) else record))
    if not (isinstance(record["scale"], list) and isinstance(record["frames"], list)):
        raise refusal(folder, "lists of scales and frames", type(record["scale"]).__name__)
    if len(record["scale"]) != len(record["frames"]) or not all(type(s) in (int, float) for s in record["scale"]):
        raise refusal(folder, "a digest for each scale", f"{len(record['scale'])} and {len(record['frames'])}")
    if hashlib.sha256((folder / TENSORS).read_bytes()).hexdigest() != record["tensors"]:
        raise refusal(folder, f"the {TENSORS} that was written with it", "another one")
    return record


def pool_named(name: str) -> Pool:
    """Return the pooling that records call "none", "sum" or "sum2".

    >>> pool_named("sum2")
    ('sum', 2)
    """
    if name == "none":
        return "none"
    return "sum" if name == "sum" else ("sum", int(name.removeprefix("sum")))


def digest_of_frame(frame: Tensor) -> str:
    """Return the sha256 of a clean sample's bits."""
    values = frame.detach().cpu().contiguous()
    return hashlib.sha256(values.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()


def refusal(folder: Path, wanted: str, got: str) -> FileFormatError:
    """Return the error of a record that cannot be used."""
    return FileFormatError(wanted=f"{folder / RECORD} needs {wanted}", got=got, hint="record the edit again")
