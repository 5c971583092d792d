"""Files that survive a crash, and files that someone made to hurt."""

import json
import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from pullback.errors import FileFormatError, NumericalError
from pullback.files import read_safetensors, write_atomic, write_json, write_safetensors

TENSORS = {"a": torch.arange(6, dtype=torch.float32).reshape(2, 3), "b.c": torch.zeros(0, 4), "d-e": torch.tensor(True)}


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "made.safetensors"
    write_safetensors(file, TENSORS, {"format": "test"})
    return file


def header_of(content):
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def file_of(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def plain(path):
    """Header and data of a small file without a digest, so that only the header's own rules speak."""
    return header_of(save({"a": TENSORS["a"]}))


def with_entry(**changes):
    def damage(path):
        header, data = plain(path)
        header["a"].update(changes)
        return file_of(header, data)

    return damage


def renamed(name):
    def damage(path):
        header, data = plain(path)
        return file_of({name: header["a"]}, data)

    return damage


def flipped(position):
    def damage(path):
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        return bytes(content)

    return damage


def duplicate_key(path):
    header, data = plain(path)
    entry = json.dumps(header["a"])
    return file_of(f'{{"a": {entry}, "a": {entry}}}'.encode(), data)


def overlapping(path):
    header, data = plain(path)
    return file_of({"a": header["a"], "b": header["a"]}, data)


def not_finite(value):
    return lambda path: save({"a": torch.tensor([1.0, value])})


HOSTILE = {
    "empty": lambda path: b"",
    "truncated header": lambda path: path.read_bytes()[:40],
    "truncated data": lambda path: path.read_bytes()[:-3],
    "trailing bytes": lambda path: path.read_bytes() + b"\0" * 8,
    "flipped bit in the length": flipped(1),
    "flipped bit in the header": flipped(12),
    "flipped bit in the data": flipped(-2),
    "huge header length": lambda path: struct.pack("<Q", 1 << 60) + path.read_bytes()[8:],
    "huge header": lambda path: file_of(b" " * ((1 << 24) + 1), b""),
    "header that is no JSON": lambda path: file_of(b"\xff\xfe{}", b""),
    "header that is a list": lambda path: file_of([], b""),
    "header nested too deep": lambda path: file_of(b"[" * 200_000, b""),
    "NaN": not_finite(torch.nan),
    "infinity": not_finite(torch.inf),
    "duplicate key": duplicate_key,
    "path as name": renamed("../../etc/passwd"),
    "absolute path as name": renamed("/tmp/x"),
    "empty name": renamed(""),
    "hidden name": renamed(".x"),
    "name with a line end": renamed("a\n"),
    "endless name": renamed("a" * 300),
    "absurd shape": with_entry(shape=[0, 10**12]),
    "overflowing shape": with_entry(shape=[2**31, 2**31, 4]),
    "negative shape": with_entry(shape=[-2, -3]),
    "shape of floats": with_entry(shape=[2.0, 3.0]),
    "shape of booleans": with_entry(shape=[True, 6]),
    "too many dimensions": with_entry(shape=[1] * 40 + [6]),
    "shape that is no list": with_entry(shape="2x3"),
    "shape of more values": with_entry(shape=[2, 4]),
    "wrong dtype": with_entry(dtype="F64"),
    "unknown dtype": with_entry(dtype="F8_E4M3"),
    "dtype that is no name": with_entry(dtype=32),
    "offsets that do not start at 0": with_entry(data_offsets=[8, 32]),
    "offsets turned round": with_entry(data_offsets=[24, 0]),
    "three offsets": with_entry(data_offsets=[0, 12, 24]),
    "extra field": with_entry(code="import os"),
    "overlapping tensors": overlapping,
    "entry that is a list": lambda path: file_of({"a": [1, 2]}, b""),
    "metadata of numbers": lambda path: file_of({"__metadata__": {"t": 1}}, b""),
    "pickle": lambda path: b"\x80\x04\x95" + b"\0" * 40,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_law32_hostile_files_are_refused_by_name(path, name):
    path.write_bytes(HOSTILE[name](path))
    with pytest.raises(FileFormatError, match=r"made\.safetensors needs .*; got .*; write the file again"):
        read_safetensors(path)


def test_law32_bits_names_and_metadata_come_back(path):
    tensors, metadata = read_safetensors(path, must_have_digest=True)
    assert metadata == {"format": "test"}
    assert {name: t.dtype for name, t in tensors.items()} == {name: t.dtype for name, t in TENSORS.items()}
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8])
def test_dtypes(tmp_path, dtype):
    tensor = torch.tensor([[1, 2], [3, 4]]).to(dtype).mT  # not contiguous
    write_safetensors(tmp_path / "t.safetensors", {"t": tensor}, {})
    assert torch.equal(read_safetensors(tmp_path / "t.safetensors")[0]["t"], tensor)


def test_files_of_others_are_read_unless_a_digest_is_wanted(path):
    path.write_bytes(save({"a": TENSORS["a"]}, {"by": "someone"}))
    assert read_safetensors(path)[1] == {"by": "someone"}
    with pytest.raises(FileFormatError, match="a 'sha256' digest in the header; got none"):
        read_safetensors(path, must_have_digest=True)


def test_changed_metadata_is_noticed(path):
    header, data = header_of(path.read_bytes())
    header["__metadata__"]["format"] = "other"
    path.write_bytes(file_of(header, data))
    with pytest.raises(FileFormatError, match="content that matches its digest; got changed bytes"):
        read_safetensors(path)


def test_nothing_bad_is_written(tmp_path):
    with pytest.raises(NumericalError, match="tensor 'a' must be finite"):
        write_safetensors(tmp_path / "a", {"a": torch.tensor([torch.nan])}, {})
    with pytest.raises(FileFormatError, match="tensor names"):
        write_safetensors(tmp_path / "a", {"../a": torch.zeros(1)}, {})
    with pytest.raises(NumericalError, match=r"r\.json must hold finite numbers"):
        write_json(tmp_path / "r.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_tensors_that_share_their_memory_are_written_apart(tmp_path):
    rows = torch.arange(6.0).reshape(2, 3)
    write_safetensors(tmp_path / "a.safetensors", {"whole": rows, "again": rows, "part": rows[1]}, {})
    tensors, _ = read_safetensors(tmp_path / "a.safetensors")
    assert torch.equal(tensors["again"], rows)
    assert torch.equal(tensors["part"], rows[1])


def test_mode_follows_the_umask_and_nothing_is_left_beside(tmp_path):
    before = os.umask(0o027)
    try:
        write_json(tmp_path / "new" / "r.json", {"é": [1, None]})
    finally:
        os.umask(before)
    file = tmp_path / "new" / "r.json"
    assert file.stat().st_mode & 0o777 == 0o640
    assert json.loads(file.read_text(encoding="utf-8")) == {"é": [1, None]}
    assert [entry.name for entry in file.parent.iterdir()] == ["r.json"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch, step):
    target = tmp_path / "a.bin"
    write_atomic(target, b"old")

    def fail(*_):
        raise OSError("planted")

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fail)
    with pytest.raises(OSError, match="planted"):
        write_atomic(target, b"new")
    assert target.read_bytes() == b"old"


def test_the_folder_is_flushed_after_the_file(tmp_path, monkeypatch):
    flushed = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (flushed.append(str(Path(f"/proc/self/fd/{fd}").readlink())), real(fd))[1]
    )
    write_atomic(tmp_path / "a.bin", b"x")
    assert flushed == [str(tmp_path / "a.bin.partial"), str(tmp_path)]
