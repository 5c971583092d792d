"""Files that survive a crash and do not trust their readers' luck.

A write goes to ``NAME.partial`` in the same folder, is flushed to disk, renamed over the target, and the folder is
flushed: after a kill at any moment the target is either the old file or the new one. A writer may pass ``at``, which is
told each step of that as it comes, so that a test can strike exactly there. A read checks every field of the
header *before* a tensor is made: safetensors itself accepts NaN, duplicate keys, shapes such as [0, 10^12] and names
such as ``../x``.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pullback.errors import FileFormatError, NumericalError

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER_BYTES = 1 << 24
MAX_DIMENSION = (1 << 31) - 1
MAX_NUM_DIMENSIONS = 16
MAX_STRIDE = 1 << 62
"""A size of 0 makes any tensor empty, and its strides may still overflow."""
DIGEST_KEY = "sha256"
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
At = Callable[[str], None]
"""Told ``"partial"`` before the first byte, ``"written"``, ``"synced"``, ``"renamed"`` and ``"kept"`` as they come."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,254}")


def unwatched(step: str) -> None:
    """Nobody is told the steps of a write."""


def write_atomic(path: str | Path, content: bytes, *, at: At = unwatched) -> None:
    """Write ``content`` so that no reader ever sees half of it; parents are made, the mode follows the umask."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    at("partial")
    with partial.open("wb") as file:  # a new file's mode follows the umask
        file.write(content)
        file.flush()
        at("written")
        os.fsync(file.fileno())
    at("synced")
    partial.replace(path)
    at("renamed")
    sync_folder(path.parent)
    at("kept")


def sync_folder(folder: str | Path) -> None:
    """Flush a folder's list of names to disk: without it a new name may be gone after a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: str | Path, data: object) -> None:
    """Write ``data`` as indented UTF-8 JSON.

    Raises:
        NumericalError: If it holds NaN or infinity, which JSON has no word for.
    """
    try:
        text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise NumericalError(
            wanted=f"{Path(path).name} must hold finite numbers",
            got=str(error),
            hint="write None where a figure is missing",
        ) from error
    write_atomic(path, (text + "\n").encode())


def write_safetensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, at: At = unwatched
) -> None:
    """Write tensors with their metadata and a digest of both, which `read_safetensors` checks.

    Raises:
        FileFormatError: If a name could not be read back.
        NumericalError: If a tensor holds NaN or infinity.
    """
    from safetensors.torch import save

    for name, tensor in tensors.items():
        _check_name(name, str(path))
        if not bool(tensor.isfinite().all()):
            raise NumericalError(
                wanted=f"tensor {name!r} must be finite",
                got="NaN or infinity",
                hint="find where it arose before saving",
            )
    kept = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}  # none shared by two
    write_atomic(path, save(kept, {**metadata, DIGEST_KEY: _digest(kept, metadata)}), at=at)


def read_safetensors(path: str | Path, *, must_have_digest: bool = False) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file that anyone may have made.

    Args:
        path: The file.
        must_have_digest: Refuse files that `write_safetensors` did not write.

    Returns:
        The tensors by name, and the metadata without its digest.

    Raises:
        FileFormatError: If anything about the file is not as it should be; the message names the field.
        FileNotFoundError: If there is no such file.
    """
    from safetensors.torch import load

    content = Path(path).read_bytes()
    metadata = dict(_check_header(content, len(content), str(path)).metadata)
    tensors = load(content)
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise _refusal(path, f"tensor {name!r} to be finite", "NaN or infinity")
    digest = metadata.pop(DIGEST_KEY, None)
    if digest is None and must_have_digest:
        raise _refusal(path, f"a {DIGEST_KEY!r} digest in the header", "none")
    if digest is not None and digest != _digest(tensors, metadata):
        raise _refusal(path, "content that matches its digest", "changed bytes")
    return tensors, metadata


@dataclass(frozen=True)
class Entry:
    """Where one tensor of a safetensors file lies.

    Attributes:
        dtype: As the format calls it: "F32", "F16", "BOOL" ...
        shape: Its sizes.
        begin: Its first byte, counted from the start of the file.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself, each field checked; its data has not been looked at.

    Attributes:
        metadata: Strings by name, the digest of the whole among them.
        entries: Where each tensor lies.
    """

    metadata: Mapping[str, str]
    entries: Mapping[str, Entry]


def read_header(path: str | Path) -> Header:
    """Read the header of a safetensors file that anyone may have made, and nothing else of it.

    Raises:
        FileFormatError: If anything about the header is not as it should be, or does not fit the size of the file.
        FileNotFoundError: If there is no such file.
    """
    with Path(path).open("rb") as file:
        num_bytes = os.fstat(file.fileno()).st_size
        start = file.read(8)
        length = min(int.from_bytes(start, "little"), MAX_HEADER_BYTES + 1)
        return _check_header(start + file.read(length), num_bytes, str(path))


def _refusal(path: object, wanted: str, got: str) -> FileFormatError:
    return FileFormatError(
        wanted=f"{path} needs {wanted}", got=got, hint="write the file again, or get it from its source"
    )


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    import torch

    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _check_header(content: bytes, num_bytes: int, path: str) -> Header:
    """Refuse a file of ``num_bytes``, of which ``content`` is the start, unless its header describes it exactly."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 10 or length > num_bytes - 8:
        raise _refusal(path, "a whole safetensors header", f"{num_bytes} bytes that announce a header of {length}")
    if length > MAX_HEADER_BYTES:
        raise _refusal(path, f"a header of at most {MAX_HEADER_BYTES} bytes", str(length))
    try:
        header = json.loads(content[8 : 8 + length].decode(), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _refusal(path, "a JSON header with distinct keys", str(error)) from error
    if not isinstance(header, dict):
        raise _refusal(path, "a JSON object as header", type(header).__name__)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _refusal(path, "metadata of strings only", repr(metadata)[:80])
    num_bytes = num_bytes - 8 - length
    spans = sorted(_check_tensor(name, entry, path) for name, entry in header.items())
    ends = [0, *(end for _, end in spans)]
    if [begin for begin, _ in spans] != ends[:-1] or ends[-1] != num_bytes:
        raise _refusal(path, "tensors that fill the data without gap or overlap", f"{spans[:4]} in {num_bytes} bytes")
    entries = {
        name: Entry(entry["dtype"], tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])
        for name, entry in header.items()
    }
    return Header(metadata, entries)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError(f"duplicate key among {keys[:4]}")
    return dict(pairs)


def _check_name(name: str, path: str) -> None:
    if not _NAME.fullmatch(name):
        raise _refusal(path, "tensor names of letters, digits, '_', '.' and '-'", repr(name)[:80])


def _check_tensor(name: str, entry: object, path: str) -> tuple[int, int]:
    """Refuse an impossible entry; return where its bytes begin and end."""
    _check_name(name, path)
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _refusal(path, f"dtype, shape and data_offsets for {name!r}", repr(entry)[:80])
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise _refusal(path, f"a dtype among {', '.join(ITEM_BYTES)} for {name!r}", repr(dtype)[:80])
    if not _are_counts(shape, MAX_DIMENSION) or len(shape) > MAX_NUM_DIMENSIONS:
        raise _refusal(path, f"a shape of at most {MAX_NUM_DIMENSIONS} sizes below 2^31 for {name!r}", repr(shape)[:80])
    if math.prod(max(1, size) for size in shape) > MAX_STRIDE:
        raise _refusal(path, f"a shape whose strides fit 62 bits for {name!r}", repr(shape)[:80])
    num_bytes = math.prod(shape) * ITEM_BYTES[dtype]
    if not _are_counts(offsets, 1 << 62) or len(offsets) != 2 or offsets[1] - offsets[0] != num_bytes:
        raise _refusal(path, f"offsets that fit shape {shape} of {dtype} for {name!r}", repr(offsets)[:80])
    return offsets[0], offsets[1]


def _are_counts(values: object, largest: int) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value <= largest for value in values)
