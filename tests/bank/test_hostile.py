"""Files in a bank that someone damaged, or made to hurt: each refused by name, the rest readable, a run mends it."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from pullback.bank import Bank, RunSettings, run_here
from pullback.bank.contents import content_digest
from pullback.bank.journal import line_of, read_journal
from pullback.bank.means import ids_by_t, mean_spectrum
from pullback.bank.merge import merge_banks
from pullback.bank.toy import ToyWork, toy_units
from pullback.bank.verify import verify_bank
from pullback.errors import MismatchError, PullbackError
from pullback.files import write_safetensors

NUM, SETTINGS = 12, RunSettings(shard_size=4)
Damage = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    run_here(Bank.make(folder, SETTINGS), toy_units(NUM), ToyWork())
    return folder


@pytest.fixture
def bank(sound: Path, tmp_path: Path) -> Bank:
    return Bank.open(shutil.copytree(sound, tmp_path / "bank"))


def shard_of(bank: Bank) -> Path:
    return sorted((bank.folder / "shards").iterdir())[1]


def journal_of(bank: Bank) -> Path:
    return next((bank.folder / "done").iterdir())


def parts(content: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: object, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def flipped(position: int) -> Damage:
    def damage(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[position] ^= 4
        return bytes(changed)

    return damage


def with_entry(**changes: object) -> Damage:
    def damage(content: bytes) -> bytes:
        header, data = parts(content)
        header["s"].update(changes)
        return joined(header, data)

    return damage


def renamed(name: str) -> Damage:
    def damage(content: bytes) -> bytes:
        header, data = parts(content)
        header[name] = header.pop("s")
        return joined(header, data)

    return damage


def twice(content: bytes) -> bytes:
    header, data = parts(content)
    text = json.dumps(header)
    return joined((text[:-1] + ', "s": ' + json.dumps(header["s"]) + "}").encode(), data)


def with_nan(content: bytes) -> bytes:
    header, data = parts(content)
    begin = header["s"]["data_offsets"][0]
    return joined(header, data[:begin] + struct.pack("<f", float("nan")) + data[begin + 4 :])


def with_empty(content: bytes, shape: list[int]) -> bytes:
    header, data = parts(content)
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data)]}
    return joined({**header, "w": entry}, data)


BYTES: dict[str, Damage] = {
    "empty": lambda content: b"",
    "truncated header": lambda content: content[:60],
    "truncated data": lambda content: content[:-3],
    "bytes after the end": lambda content: content + b"\0" * 8,
    "flipped bit in the length": flipped(0),
    "flipped bit in the header": flipped(30),
    "flipped bit in the data": flipped(-9),
    "huge header length": lambda content: struct.pack("<Q", 1 << 60) + content[8:],
    "huge header": lambda content: joined(b" " * ((1 << 24) + 1), b""),
    "header that is no JSON": lambda content: joined(b"\xff\xfe{}", b""),
    "header nested too deep": lambda content: joined(b"[" * 200_000, b""),
    "header that is a list": lambda content: joined([], b""),
    "duplicate key": twice,
    "path as key": renamed("../../etc/passwd"),
    "absolute path as key": renamed("/tmp/s"),
    "absurd shape": with_entry(shape=[4, 10**12]),
    "shape that overflows": with_entry(shape=[2**31, 2**31, 4]),
    "empty shape whose strides overflow": lambda content: with_empty(content, [4, 0, 2**31 - 1, 2**31 - 1, 2**31 - 1]),
    "negative shape": with_entry(shape=[-4, -2]),
    "unknown dtype": with_entry(dtype="F8"),
    "offsets outside": with_entry(data_offsets=[0, 10**9]),
    "NaN": with_nan,
    "something else": lambda content: b"PK\x03\x04" + content[4:],
}


def changed(change: Callable[[dict, dict], None]) -> Callable[[Path], None]:
    """A shard with other tensors or metadata and a digest that fits them: by someone who knows the format."""

    def damage(path: Path) -> None:
        content = path.read_bytes()
        metadata, tensors = parts(content)[0]["__metadata__"], load(content)
        del metadata["sha256"]
        change(metadata, tensors)
        write_safetensors(path, tensors, metadata)

    return damage


def rows(edit: Callable[[list], object]) -> Callable[[dict, dict], None]:
    def change(metadata: dict, tensors: dict) -> None:
        records = json.loads(metadata["rows"])
        edit(records)
        metadata["rows"] = json.dumps(records)

    return change


FORGED: dict[str, Callable[[dict, dict], None]] = {
    "another format": lambda m, t: m.update(format="pullback.directions/1"),
    "no units": lambda m, t: m.pop("rows"),
    "units that are no JSON": lambda m, t: m.update(rows="[{"),
    "units nested too deep": lambda m, t: m.update(rows="[" * 100_000),
    "one unit too few": rows(lambda r: r.pop()),
    "the same unit twice": rows(lambda r: r.__setitem__(1, r[0])),
    "units in another order": rows(lambda r: r.reverse()),
    "a unit without a field": lambda m, t: m.update(common=json.dumps({"layer": "mid"})),
    "a unit with a list for a name": lambda m, t: m.update(common=m["common"].replace('"toy"', "[]", 1)),
    "a unit of another model": lambda m, t: m.update(common=m["common"].replace('"weights":"toy"', '"weights":"x"')),
    "facts that are NaN": rows(lambda r: r[0]["facts"].update(cost=float("nan"))),
    "facts that are no object": rows(lambda r: r[0].update(facts=3)),
    "a digest that does not fit": rows(lambda r: r[0].update(digest="0" * 64)),
    "a digest that is none": rows(lambda r: r[0].update(digest="x" * 64)),
    "a number too large for a float": lambda m, t: m.update(common=m["common"].replace('"t":0.0', '"t":1' + "0" * 400)),
    "another rank of s": lambda m, t: t.update(s=t["s"][:, :1].clone()),
    "too few rows": lambda m, t: t.update(s=t["s"][:2].clone()),
    "a scalar": lambda m, t: t.update(s=torch.tensor(1.0)),
    "bytes for numbers": lambda m, t: t.update(s=t["s"].to(torch.uint8)),
    "a tensor too many": lambda m, t: t.update(w=torch.zeros(4)),
    "a value changed": lambda m, t: t["s"].add_(1),
}


def check_read(bank: Bank, num_lost: int) -> None:
    """Every unit that is served is right, and served is all but what lies in the damaged shard."""
    reader = bank.reader()
    served = set()
    for unit in toy_units(NUM):
        try:
            found = reader.get(unit)
        except PullbackError:
            continue
        assert found.digest() == ToyWork().compute([unit])[0].digest()
        served.add(unit.made["seed"])
    assert served >= {*range(NUM)} - {*range(4, 4 + num_lost)}  # the second shard holds seeds 4 to 7


def check_refused(bank: Bank, name: str, num_lost: int) -> None:
    """The damage is told by file name, every other unit is read, a run then mends it."""
    check_read(bank, num_lost)
    verdict = verify_bank(bank, clean=True)
    assert not verdict.is_sound
    told = " ".join([*verdict.refused, *verdict.refused.values(), *verdict.problems])
    assert name in told
    mended = verify_bank(bank)
    assert mended.is_sound and not mended.orphans
    tally = run_here(bank, toy_units(NUM), ToyWork())
    assert (tally.num_computed, tally.num_found) == (num_lost, NUM - num_lost)
    assert verify_bank(bank).num_units == NUM


@pytest.mark.parametrize("name", BYTES)
def test_damaged_shards(name: str, bank: Bank, sound: Path) -> None:
    path = shard_of(bank)
    path.write_bytes(BYTES[name](path.read_bytes()))
    check_refused(bank, path.name, num_lost=4)
    assert content_digest(bank.reader()) == content_digest(Bank.open(sound).reader())


@pytest.mark.parametrize("name", FORGED)
def test_forged_shards_with_digests_that_fit(name: str, bank: Bank, sound: Path) -> None:
    path = shard_of(bank)
    changed(FORGED[name])(path)
    journal = journal_of(bank)
    lines = [line.entry for line in read_journal(journal)]
    forged = [{**line, "bytes": path.stat().st_size} if line["shard"] == path.name else line for line in lines]
    journal.write_bytes(b"".join(line_of(line) for line in forged))
    check_read(bank, num_lost=4)
    with suppress(PullbackError):  # and nothing else, whether or not it looks at what was forged
        content_digest(bank.reader())
    verdict = verify_bank(bank, clean=True)
    assert path.name in " ".join([*verdict.refused, *verdict.problems])
    run_here(bank, toy_units(NUM), ToyWork())
    assert verify_bank(bank).is_sound
    assert content_digest(bank.reader()) == content_digest(Bank.open(sound).reader())


def entry(bank: Bank) -> dict:
    return dict(next(iter(read_journal(journal_of(bank)))).entry)


LINES: dict[str, Callable[[dict], bytes]] = {
    "no JSON": lambda e: b"hello\n",
    "a checksum that does not fit": lambda e: line_of(e).replace(b'"sum":"', b'"sum":"0', 1),
    "no checksum": lambda e: json.dumps(e).encode() + b"\n",
    "a flipped bit": lambda e: line_of(e).replace(b"bytes", b"bxtes"),
    "a path for a shard": lambda e: line_of({**e, "shard": "../../run.json"}),
    "an absolute path": lambda e: line_of({**e, "shard": "/etc/passwd"}),
    "a shard that is not there": lambda e: line_of({**e, "shard": "main-00000000-000009.safetensors"}),
    "ids that are none": lambda e: line_of({**e, "ids": ["x" * 32] * 4}),
    "ids that are numbers": lambda e: line_of({**e, "ids": [1, 2, 3, 4]}),
    "fewer keys than ids": lambda e: line_of({**e, "keys": e["keys"][:1]}),
    "millions of ids": lambda e: line_of({**e, "ids": e["ids"][:1] * 5000, "keys": e["keys"][:1] * 5000}),
    "an unknown entry": lambda e: line_of({"run": "rm"}),
    "a failed unit without a key": lambda e: line_of({"failed": 7}),
    "a failed unit with more than belongs to it": lambda e: line_of({"failed": "1" * 32, "dropped": [1], "keys": 5}),
    "a line without end": lambda e: b"x" * (1 << 22) + b"\n",
    "nested too deep": lambda e: b"[" * 200_000 + b"\n",
}


@pytest.mark.parametrize("name", LINES)
def test_damaged_journal_lines_are_named_and_the_rest_counts(name: str, bank: Bank, sound: Path) -> None:
    journal = journal_of(bank)
    bad = LINES[name](entry(bank))
    journal.write_bytes(journal.read_bytes() + bad + line_of({"failed": "0" * 32, "unit": {}}))
    check_refused(bank, "main-", num_lost=0)
    assert "0" * 32 in bank.reader().index.failed, "what follows the damaged line is read"


def test_a_line_whose_checksum_does_not_fit_is_not_believed(bank: Bank) -> None:
    journal = journal_of(bank)
    line = line_of({"failed": "1" * 32, "unit": {}}).replace(b"1" * 32, b"2" * 32)
    journal.write_bytes(journal.read_bytes() + line)
    index = bank.reader().index
    assert "2" * 32 not in index.failed
    assert any("the checksum does not fit" in problem for problem in index.problems)


def test_a_journal_cut_at_any_byte_loses_nothing(bank: Bank, sound: Path) -> None:
    journal = journal_of(bank)
    content = journal.read_bytes()
    for cut in range(0, len(content), 7):
        journal.write_bytes(content[:cut])
        reader = bank.reader()
        assert len(reader) == NUM, "shards that the journal does not name any more are found by themselves"
        assert not reader.index.problems
    journal.unlink()
    assert content_digest(bank.reader()) == content_digest(Bank.open(sound).reader())


def forge_journal(bank: Bank, **changes: Callable[[list], list]) -> None:
    """Lines for the same shards with other keys or ids, and checksums that fit: anyone can compute one."""
    journal = journal_of(bank)
    lines = [{**line.entry} for line in read_journal(journal)]
    forged = [{**line, **{name: change(line[name]) for name, change in changes.items()}} for line in lines]
    journal.write_bytes(b"".join(line_of(line) for line in forged))


def turned(names: list) -> list:
    return names[1:] + names[:1]


FORGED_JOURNALS: dict[str, dict[str, Callable[[list], list]]] = {
    "keys of other units": {"keys": turned},
    "ids in another order": {"keys": turned, "ids": turned},
    "ids of nobody": {"ids": lambda ids: ["0" * 31 + f"{i:x}" for i, _ in enumerate(ids)]},
}


@pytest.mark.parametrize("name", FORGED_JOURNALS)
def test_no_unit_is_served_for_another_whatever_a_journal_says(name: str, bank: Bank, sound: Path) -> None:
    forge_journal(bank, **FORGED_JOURNALS[name])
    reader = bank.reader()
    for unit in toy_units(NUM):
        with pytest.raises(PullbackError):
            reader.get(unit)
    if "ids" in FORGED_JOURNALS[name]:
        for read in (content_digest, ids_by_t, lambda r: list(mean_spectrum(r, list(r.ids())).value)):
            with pytest.raises(MismatchError, match=r"the units in main-.* that a journal names; got others"):
                read(bank.reader())
    assert not verify_bank(bank, clean=True).is_sound
    run_here(bank, toy_units(NUM), ToyWork())
    assert content_digest(bank.reader()) == content_digest(Bank.open(sound).reader())
    assert verify_bank(bank).is_sound


def test_a_file_with_a_name_that_no_writer_gives_is_no_shard(bank: Bank, tmp_path: Path) -> None:
    (bank.folder / "shards" / "Mine.safetensors").write_bytes(shard_of(bank).read_bytes())
    merged = merge_banks(tmp_path / "all", [bank])
    assert (merged.num_copied, [Path(name).name for name in merged.refused]) == (3, ["Mine.safetensors"])
    verdict = verify_bank(bank, clean=True)
    assert (verdict.num_units, list(verdict.refused)) == (NUM, ["Mine.safetensors"])
    assert verify_bank(bank).is_sound


def test_foreign_files_and_links_are_left_alone(bank: Bank, tmp_path: Path) -> None:
    (bank.folder / "shards" / "README.md").write_text("hello")
    (bank.folder / "shards" / "Mine.safetensors").write_bytes(shard_of(bank).read_bytes())
    (bank.folder / "shards" / "link.safetensors").symlink_to(tmp_path / "nowhere")
    reader = bank.reader()
    assert len(reader) == NUM
    assert [problem.partition(":")[0] for problem in reader.index.problems] == ["Mine.safetensors"]
    os.mkfifo(bank.folder / "done" / "pipe.jsonl")  # whoever opened it would wait for ever
    (bank.folder / "done" / "folder.jsonl").mkdir()
    (bank.folder / "done" / "link.jsonl").symlink_to("/dev/zero")
    assert len(bank.reader()) == NUM
    assert verify_bank(bank).num_units == NUM


def test_a_missing_shard_is_named_and_computed_again(bank: Bank) -> None:
    path = shard_of(bank)
    path.unlink()
    assert bank.reader().index.problems == (f"{path.name}: named in a journal, but not there",)
    check_refused(bank, path.name, num_lost=4)


def test_there_are_at_least_25() -> None:
    assert len(BYTES) + len(FORGED) + len(LINES) >= 25
