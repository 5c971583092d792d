"""The index: what a bank of many units costs in memory, and that packing it changes nothing."""

from __future__ import annotations

import gc
import hashlib
import tracemalloc
from pathlib import Path

import numpy as np

from pullback.bank import Bank, RunSettings, run_here
from pullback.bank.contents import content_digest
from pullback.bank.driver import Twins
from pullback.bank.index import DONE, SHARDS, Keys, build_index
from pullback.bank.journal import line_of
from pullback.bank.toy import ToyWork, toy_units

PER_SHARD, NUM_SHARDS = 64, 200
NUM = PER_SHARD * NUM_SHARDS


def names(kind: str, first: int, num: int = PER_SHARD) -> list[str]:
    return [hashlib.sha256(f"{kind} {i}".encode()).hexdigest()[:32] for i in range(first, first + num)]


def entry(folder: Path, name: str, first: int) -> dict[str, object]:
    (folder / SHARDS / f"{name}.safetensors").write_bytes(b"x")
    return {
        "shard": f"{name}.safetensors",
        "bytes": 1,
        "keys": names("key", first),
        "ids": names("id", first),
    }


def journaled(folder: Path, entries: list[dict[str, object]]) -> Path:
    (folder / DONE / "main-0.jsonl").write_bytes(b"".join(map(line_of, entries)))
    return folder


def test_opening_takes_under_160_bytes_a_unit_and_keeps_under_80(tmp_path: Path) -> None:
    for part in (DONE, SHARDS):
        (tmp_path / part).mkdir()
    journaled(tmp_path, [entry(tmp_path, f"main-{i:06d}", i * PER_SHARD) for i in range(NUM_SHARDS)])
    build_index(tmp_path)  # what is imported or cached once is no unit's
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        index = build_index(tmp_path)
        gc.collect()
        kept, peak = (value - before for value in tracemalloc.get_traced_memory())
        tracemalloc.reset_peak()
        index.ordered()
        listed = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert len(index) == NUM
    assert kept / NUM < 80
    assert peak / NUM < 160
    assert listed / NUM < 130


def test_of_equal_ids_the_first_by_shard_name_is_served(tmp_path: Path) -> None:
    for part in (DONE, SHARDS):
        (tmp_path / part).mkdir()
    half = PER_SHARD // 2
    written = [("b-1", 0), ("a-1", half), ("c-1", 2 * PER_SHARD)]  # the second half of b is the first half of a
    failed = {"failed": names("key", 3, 1)[0], "unit": {}, "tries": 1}
    lost = {"failed": names("other", 3, 1)[0], "unit": {}, "tries": 1}
    index = build_index(journaled(tmp_path, [*(entry(tmp_path, name, first) for name, first in written), failed, lost]))
    assert index.shards == ("a-1.safetensors", "b-1.safetensors", "c-1.safetensors")
    assert len(index) == 2 * PER_SHARD + half
    assert (index.ids[:-1] < index.ids[1:]).all()
    assert index.place(names("id", half, 1)[0]) == ("a-1.safetensors", 0)
    assert index.place(names("id", half - 1, 1)[0]) == ("b-1.safetensors", half - 1)
    assert index.place(names("id", PER_SHARD, 1)[0]) == ("a-1.safetensors", half)
    assert index.place("0" * 32) is None
    assert index.sizes == {"a-1.safetensors": PER_SHARD, "b-1.safetensors": half, "c-1.safetensors": PER_SHARD}
    at = index.position(names("id", 5, 1)[0])
    assert index.keys.tolist()[at or 0].decode() == names("key", 5, 1)[0], "keys go with their ids"
    assert list(index.failed) == names("other", 3, 1), "what was computed after all has not failed"


def test_a_unit_that_came_out_twice_counts_once(tmp_path: Path) -> None:
    for part in (DONE, SHARDS):
        (tmp_path / part).mkdir()
    first, second = entry(tmp_path, "a-1", 0), entry(tmp_path, "b-1", 0)
    second["ids"] = names("elsewhere", 0)
    index = build_index(journaled(tmp_path, [first, second]))
    kept = [index.keys[at] for at in index.ordered()]
    assert len(index) == 2 * PER_SHARD
    assert len(kept) == len(set(kept)) == PER_SHARD
    assert all(index.ids[at] == min(index.ids[index.keys == index.keys[at]].tolist()) for at in index.ordered())


def test_keys_are_found_and_others_are_not() -> None:
    held = names("key", 0)
    keys = Keys(np.array(held, dtype="S32"))
    assert all(key in keys for key in held)
    assert not any(key in keys for key in [*names("other", 0), "", "0" * 32, "f" * 32])
    assert "f" * 32 not in Keys(np.zeros(0, dtype="S32"))


def test_a_run_hears_of_its_twins_and_not_of_itself(tmp_path: Path) -> None:
    """Of its own units no list is kept: 10^8 of them would fill the memory."""
    bank = Bank.make(tmp_path, RunSettings(shard_size=2))
    with bank.writer("main") as ours, bank.writer("main") as twin:
        twins = Twins(bank, "main", ours=ours.name)
        units = list(toy_units(4))
        for writer, part in ((ours, units[:2]), (twin, units[2:])):
            writer.add(ToyWork().compute(part))
        assert twins.news() == {unit.key for unit in units[2:]}
        assert twins.news() == set()


def test_the_digest_is_of_ids_and_digests_in_order(tmp_path: Path) -> None:
    bank = Bank.make(tmp_path, RunSettings(shard_size=2))
    run_here(bank, toy_units(5), ToyWork())
    reader = bank.reader()
    digests = {row.unit.id: row.digest for row in reader.rows()}
    whole = b"".join(name.encode() + bytes.fromhex(digests[name]) for name in sorted(digests))
    assert content_digest(reader) == hashlib.sha256(whole).hexdigest()
