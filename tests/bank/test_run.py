"""Runs in this process: what is computed, what is found, what is set aside, and that resuming changes nothing."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from pullback.bank import Answer, Bank, Part, RunSettings, Storage, Unit, run_here
from pullback.bank.contents import content_digest
from pullback.bank.ray_backend import RaySettings
from pullback.bank.shard import MAX_UNITS
from pullback.bank.toy import ToyWork, toy_units
from pullback.bank.verify import verify_bank
from pullback.errors import FileFormatError, MismatchError, ModelError, OptionError

SMALL = RunSettings(shard_size=4, group=2)


def filled(folder: Path, num: int = 10, **work: object) -> Bank:
    bank = Bank.make(folder, SMALL)
    run_here(bank, toy_units(num), ToyWork(**work))  # pyright: ignore[reportArgumentType]
    return bank


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The contents of ten toy units, computed in one go."""
    return content_digest(filled(tmp_path_factory.mktemp("whole")).reader())


def test_a_run_computes_every_unit_once_and_a_second_one_nothing(tmp_path: Path) -> None:
    bank = filled(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    tally = run_here(bank, toy_units(10), NoWork())
    assert (tally.num_computed, tally.num_found, tally.failed) == (0, 10, [])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert len(bank.reader()) == 10


class NoWork:
    """Must never be asked for."""

    def __call__(self) -> NoWork:
        raise AssertionError("no model should be loaded when nothing is left to do")

    def compute(self, units: Sequence[Unit], /) -> list[Answer]:
        raise AssertionError


def test_answers_come_back_bit_for_bit(tmp_path: Path) -> None:
    bank = filled(tmp_path)
    reader = bank.reader()
    for unit in toy_units(10):
        fresh = ToyWork().compute([unit])[0]
        kept = reader.get(unit)
        assert kept.digest() == fresh.digest()
        assert torch.equal(reader.tensors(kept.unit.id, ["s"])["s"], fresh.tensors["s"])
        assert kept.unit == fresh.unit


def test_another_latent_weight_or_rank_is_never_served(tmp_path: Path) -> None:
    reader = filled(tmp_path).reader()
    unit = next(toy_units(1))
    known = reader.get(unit).unit
    assert unit in reader and known in reader
    for change in ({"x": "0" * 64}, {"weights": "w"}, {"rank": 3}, {"condition": "p"}, {"mask": "m"}, {"t": 1}):
        other = dataclasses.replace(known, **change)
        assert other not in reader
        with pytest.raises(OptionError, match="a unit of this bank; got one that was not computed"):
            reader.get(other)
    assert dataclasses.replace(unit, made={"seed": 99}) not in reader


def test_a_run_that_stops_and_goes_on_ends_in_the_same_contents(tmp_path: Path, wanted: str) -> None:
    bank = Bank.make(tmp_path, SMALL)
    for num in (3, 7, 10):
        run_here(bank, toy_units(num), ToyWork())
    assert content_digest(bank.reader()) == wanted


def test_shares_of_a_run_make_a_whole_in_any_order(tmp_path: Path, wanted: str) -> None:
    bank = Bank.make(tmp_path, SMALL)
    done = [run_here(bank, toy_units(10), ToyWork(), part=Part(i, 3)).num_computed for i in (2, 0, 1)]
    assert sum(done) == 10
    assert content_digest(bank.reader()) == wanted


def test_a_share_started_twice_at_once_does_not_harm(tmp_path: Path, wanted: str) -> None:
    bank = Bank.make(tmp_path, SMALL)

    class Twin(ToyWork):
        """Starts the same share again in the middle of the first."""

        def compute(self, units: Sequence[Unit], /) -> list[Answer]:
            if units[0].made["seed"] == 4:
                run_here(Bank.open(tmp_path), toy_units(10), ToyWork())
            return super().compute(units)

    tally = run_here(bank, toy_units(10), Twin())
    assert (tally.num_computed, tally.num_found) == (8, 2), "what the twin had written by then is not done again"
    reader = bank.reader()
    assert len(reader) == 10
    assert content_digest(reader) == wanted
    assert not reader.index.problems


def test_a_unit_that_always_fails_is_set_aside_with_its_traceback(tmp_path: Path) -> None:
    counts = tmp_path / "counts"
    bank = Bank.make(tmp_path / "bank", SMALL)
    tally = run_here(bank, toy_units(10), ToyWork(raises=(5,), is_nan=(2,), counts=counts), retries=2)
    assert tally.num_computed == 8
    index = bank.reader().index
    assert sorted(index.failed) == sorted(tally.failed)
    by_seed = {entry["unit"]["made"]["seed"]: entry for entry in index.failed.values()}
    assert set(by_seed) == {2, 5}
    assert "seed 5 is poison" in by_seed[5]["error"]
    assert "in _one" in by_seed[5]["traceback"]
    assert by_seed[2]["error"].startswith("NumericalError: s of unit")
    assert by_seed[5]["tries"] == 3
    again = run_here(bank, toy_units(10), NoWork())
    assert (again.num_computed, again.num_found) == (0, 10)
    mended = run_here(bank, toy_units(10), ToyWork(), retry_failed=True)
    assert mended.num_computed == 2
    assert not bank.reader().index.failed


def test_a_run_in_which_everything_fails_stops_and_loses_nothing(tmp_path: Path) -> None:
    """A device in error, a lost mount: no unit's fault."""
    bank = Bank.make(tmp_path, RunSettings(shard_size=16, group=2))
    with pytest.raises(ModelError, match="can be computed; got 20 in a row that could not, the last of them"):
        run_here(bank, toy_units(60), ToyWork(raises=tuple(range(6, 60))), retries=0)
    reader = bank.reader()
    assert (len(reader), len(reader.index.failed)) == (6, 20)
    mended = run_here(bank, toy_units(60), ToyWork(), retry_failed=True)
    assert (mended.num_computed, mended.num_found, mended.failed) == (54, 6, [])


def test_many_failures_with_units_computed_between_them_do_not_stop_a_run(tmp_path: Path) -> None:
    bank = Bank.make(tmp_path, dataclasses.replace(SMALL, group=1))
    tally = run_here(bank, toy_units(60), ToyWork(raises=tuple(i for i in range(60) if i % 10)), retries=0)
    assert (tally.num_computed, len(tally.failed)) == (6, 54)


@pytest.mark.parametrize("num_failures", [1, 2, 3])
def test_a_unit_that_fails_a_few_times_is_computed(tmp_path: Path, num_failures: int) -> None:
    """The first failure is the group's, the second the unit's own, the third its first retry."""

    class Flaky(ToyWork):
        num_calls = 0

        def compute(self, units: Sequence[Unit], /) -> list[Answer]:
            type(self).num_calls += 1
            if type(self).num_calls <= num_failures:
                raise MemoryError("full for a moment")
            return super().compute(units)

    bank = Bank.make(tmp_path, SMALL)
    assert run_here(bank, toy_units(4), Flaky()).failed == []
    assert len(bank.reader()) == 4


def test_answers_to_other_units_are_a_failure(tmp_path: Path) -> None:
    class Wrong(ToyWork):
        def compute(self, units: Sequence[Unit], /) -> list[Answer]:
            return super().compute(list(toy_units(50))[-len(units) :])

    tally = run_here(Bank.make(tmp_path, SMALL), toy_units(2), Wrong(), retries=0)
    assert len(tally.failed) == 2


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tensors": {"s": torch.zeros(2, dtype=torch.int32)}}, "s in a dtype that a bank holds"),
        ({"facts": {"cost": float("nan")}}, "plain, finite facts of unit"),
        ({"facts": {"cost": torch.zeros(1)}}, "plain, finite facts of unit"),
    ],
)
def test_what_a_bank_could_not_read_back_is_set_aside_and_the_rest_written(
    changes: dict, told: str, tmp_path: Path
) -> None:
    class Odd(ToyWork):
        def compute(self, units: Sequence[Unit], /) -> list[Answer]:
            answers = super().compute(units)
            return [dataclasses.replace(a, **changes) if a.unit.made["seed"] == 1 else a for a in answers]

    bank = Bank.make(tmp_path, SMALL)
    assert run_here(bank, toy_units(4), Odd(), retries=0).num_computed == 3
    (entry,) = bank.reader().index.failed.values()
    assert told in entry["error"]


@pytest.mark.parametrize("step", ["partial", "synced", "renamed", "journal", "torn", "journaled"])
def test_a_run_stopped_by_ctrl_c_in_mid_write_leaves_no_damage_and_no_twin(
    step: str, tmp_path: Path, wanted: str
) -> None:
    count = itertools.count(1)

    def at(now: str) -> None:
        if now == step and next(count) == 2:
            raise KeyboardInterrupt

    bank = Bank.make(tmp_path, SMALL)
    with pytest.raises(KeyboardInterrupt):
        run_here(bank, toy_units(10), ToyWork(), at=at)
    verdict = verify_bank(bank)
    assert (verdict.refused, verdict.problems) == ({}, ())
    assert (verdict.num_units, verdict.num_shards) == (8, 2)
    assert run_here(bank, toy_units(10), ToyWork()).num_computed == 2
    assert content_digest(bank.reader()) == wanted


def test_a_shard_never_holds_more_than_a_reader_takes(tmp_path: Path) -> None:
    bank = Bank.make(tmp_path, RunSettings(shard_size=MAX_UNITS, group=3))
    answer = ToyWork().compute(list(toy_units(1)))[0]
    answers = [Answer(dataclasses.replace(answer.unit, t=t), answer.tensors) for t in range(MAX_UNITS + 2)]
    with bank.writer() as writer:
        for start in range(0, len(answers), 3):
            writer.add(answers[start : start + 3])
    assert len(bank.reader()) == MAX_UNITS + 2
    assert not bank.reader().index.problems


def test_of_two_answers_to_one_unit_the_digest_tells_the_one_that_is_served(tmp_path: Path) -> None:
    """Another machine computes the same unit with other bits."""
    bank = Bank.make(tmp_path, SMALL)
    (answer,) = ToyWork().compute(list(toy_units(1)))
    digests = []
    for label, factor in (("a", 1.0), ("b", 0.5)):
        with bank.writer(label) as writer:
            writer.add([Answer(answer.unit, {**answer.tensors, "s": factor * answer.tensors["s"]})])
        reader = bank.reader()
        digests.append((reader.get(answer.unit).digest(), content_digest(reader)))
    assert digests[0] == digests[1]
    assert verify_bank(bank).num_units == 1


def test_negative_retries_would_lose_units_in_silence(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="retries of at least 0; got -1"):
        run_here(Bank.make(tmp_path, SMALL), toy_units(1), ToyWork(), retries=-1)
    for make in (lambda: RaySettings(retries=-1), lambda: RaySettings(num_workers=-1)):
        with pytest.raises(OptionError, match="of at least 0; got -1"):
            make()


def test_shapes_that_differ_go_into_shards_of_their_own(tmp_path: Path) -> None:
    bank = Bank.make(tmp_path, SMALL)
    units = [dataclasses.replace(unit, rank=1 + i % 2) for i, unit in enumerate(toy_units(6))]
    run_here(bank, units, ToyWork())
    assert [bank.reader().get(unit).tensors["u"].shape[0] for unit in units] == [1, 2] * 3


def test_groups_never_mix_what_cannot_be_computed_together() -> None:
    from pullback.bank.driver import grouped

    groups = list(grouped(toy_units(3, num_t=2), 2))
    assert [[(unit.t, unit.made["seed"]) for unit in group] for group in groups] == [
        [(0, 0), (0, 1)],
        [(0, 2)],
        [(100, 0), (100, 1)],
        [(100, 2)],
    ]


@pytest.mark.parametrize("text", ["3/3", "-1/2", "1", "a/b", "0/0", "1/2/3"])
def test_shares_that_make_no_sense(text: str) -> None:
    with pytest.raises(OptionError, match="a share i/N"):
        Part.parse(text)


def test_a_bank_made_for_something_else_is_refused_by_name(tmp_path: Path) -> None:
    Bank.make(tmp_path, RunSettings(request={"model": "a", "rank": 8}))
    with pytest.raises(MismatchError, match=r"same request: rank=9; got .* with rank=8; use another folder"):
        Bank.make(tmp_path, RunSettings(request={"model": "a", "rank": 9}))
    with pytest.raises(MismatchError, match="same storage: u='fp16'"):
        Bank.make(tmp_path, RunSettings(request={"model": "a", "rank": 8}, storage=Storage(u="fp16")))


def test_of_many_that_start_together_all_take_the_plan_of_the_first(tmp_path: Path) -> None:
    first = Bank.make(tmp_path, RunSettings(plan={"chunk": 8}))
    second = Bank.make(tmp_path, RunSettings(plan={"chunk": 16}, group=4))
    assert second.settings == first.settings
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda r: r.update(format="other"), "format"),
        (lambda r: r.pop("plan"), "plan"),
        (lambda r: r.update(more=1), "format"),
        (lambda r: r.update(group=0), "group between"),
        (lambda r: r.update(shard_size="4"), "shard_size between"),
        (lambda r: r.update(storage={"u": "fp8"}), "storage"),
        (lambda r: r.update(request=[]), "objects"),
    ],
)
def test_a_run_file_that_is_none_is_refused_by_name(tmp_path: Path, change, word: str) -> None:
    Bank.make(tmp_path, SMALL)
    record = json.loads((tmp_path / "run.json").read_text())
    change(record)
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(FileFormatError, match=word):
        Bank.open(tmp_path)


def test_no_bank_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"a bank, a folder with run.json; got .*; `pullback bank run` makes one"):
        Bank.open(tmp_path)
