"""Workers that die, as seen by those who give them work: a pool of this process, with planted deaths."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pullback.bank import Bank, Part, RunSettings, Tally, Unit, breaker, crew, run_here
from pullback.bank.contents import content_digest
from pullback.bank.crew import Crew, Death, Report
from pullback.bank.driver import pending, unseen
from pullback.bank.index import build_index
from pullback.bank.ray_backend import Worker
from pullback.bank.toy import ToyWork, toy_units
from pullback.errors import ModelError

NUM, SETTINGS = 24, RunSettings(shard_size=4, group=2)
Dies = Callable[[int, Sequence[int]], bool]
"""Whether worker number n dies of a group of seeds."""


class HerePool:
    """Workers in this process; a dead one forgets what it had not written."""

    def __init__(
        self, bank: Bank, work: ToyWork, dies: Dies, *, stillborn: Sequence[int] = (), sick: Sequence[int] = ()
    ) -> None:
        self.bank, self.work, self.dies, self.stillborn, self.sick = bank, work, dies, stillborn, sick
        self.workers: list[Worker | None] = []
        self.calls: dict[Hashable, tuple[int, Sequence[Unit] | None]] = {}
        self.numbers = itertools.count()
        self.most_in_flight = 0

    def start(self) -> tuple[Hashable, Hashable]:
        number = len(self.workers)
        is_born = number not in self.stillborn
        work = replace(self.work, raises=tuple(range(NUM))) if number in self.sick else self.work
        self.workers.append(Worker(str(self.bank.folder), work, 1) if is_born else None)
        return number, self._ticket(number, None)

    def submit(self, worker: Hashable, units: Sequence[Unit], /) -> Hashable:
        assert isinstance(worker, int)
        return self._ticket(worker, units)

    def wait(self, tickets: Sequence[Hashable], /) -> tuple[Hashable, Report | Death]:
        self.most_in_flight = max(self.most_in_flight, len(tickets))
        ticket = sorted(tickets, key=lambda each: (hash(each) * 7919) % 13)[0]
        ticket = next(
            each for each in tickets if self.calls[each][0] == self.calls[ticket][0]
        )  # first come, first served
        number, units = self.calls.pop(ticket)
        worker = self.workers[number]
        if worker is not None and units is not None and self.dies(number, [int(u.made["seed"]) for u in units]):
            worker = self.workers[number] = None
        if worker is None:
            return ticket, Death(f"worker {number} was killed")
        return ticket, worker.ready() if units is None else worker.compute([unit.record() for unit in units])

    def close(self) -> None:
        for worker in self.workers:
            if worker is not None:
                worker.close()

    def _ticket(self, worker: int, units: Sequence[Unit] | None) -> int:
        ticket = next(self.numbers)
        self.calls[ticket] = (worker, units)
        return ticket


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> str:
    bank = Bank.make(tmp_path_factory.mktemp("whole"), SETTINGS)
    run_here(bank, toy_units(NUM), ToyWork())
    return content_digest(bank.reader())


def run(
    folder: Path,
    dies: Dies,
    *,
    num_workers: int = 3,
    stillborn: Sequence[int] = (),
    sick: Sequence[int] = (),
    settings: RunSettings = SETTINGS,
    retry_failed: bool = False,
    **work: object,
) -> tuple:
    bank = Bank.make(folder / "bank", settings)
    toy = ToyWork(counts=folder / "counts", **work)  # pyright: ignore[reportArgumentType]
    pool, tally = HerePool(bank, toy, dies, stillborn=stillborn, sick=sick), Tally()
    with bank.writer("ray") as writer:
        groups: Iterator[list[Unit]] = pending(
            bank, writer, toy_units(NUM), part=Part(), retry_failed=retry_failed, tally=tally
        )
        try:
            Crew(bank, writer, pool, groups, num_workers, 2, tally, unseen).run()
        finally:
            pool.close()
    return bank, pool, tally, (folder / "counts").stat().st_size


def nobody(number: int, seeds: Sequence[int]) -> bool:
    return False


def test_without_deaths_it_is_an_ordinary_run_with_bounded_work_in_flight(tmp_path: Path, wanted: str) -> None:
    bank, pool, tally, num_computed = run(tmp_path, nobody)
    assert (tally.num_computed, num_computed, tally.failed) == (NUM, NUM, [])
    assert content_digest(bank.reader()) == wanted
    assert pool.most_in_flight <= 2 * 3
    assert len(pool.workers) == 3


@pytest.mark.parametrize("nth", range(1, 10))
def test_a_worker_that_dies_costs_at_most_one_shard(nth: int, tmp_path: Path, wanted: str) -> None:
    deaths = itertools.count(1)
    bank, pool, tally, num_computed = run(tmp_path, lambda number, seeds: next(deaths) == nth)
    assert len(pool.workers) == 4
    assert NUM <= num_computed <= NUM + SETTINGS.shard_size
    assert (tally.num_computed, tally.failed) == (NUM, [])
    assert content_digest(bank.reader()) == wanted


def test_a_death_costs_one_look_at_the_bank_however_much_was_unwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Path] = []
    monkeypatch.setattr(crew, "build_index", lambda folder: looks.append(folder) or build_index(folder))
    deaths = itertools.count(1)
    settings = replace(SETTINGS, shard_size=16)
    _, pool, tally, _ = run(tmp_path, lambda number, seeds: next(deaths) == 7, num_workers=1, settings=settings)
    assert (len(pool.workers), len(looks), tally.num_computed) == (2, 1, NUM)


def test_a_unit_that_kills_is_set_aside_alone_and_its_group_is_computed(tmp_path: Path) -> None:
    bank, pool, tally, _ = run(tmp_path, lambda number, seeds: 7 in seeds)
    assert tally.num_computed == NUM - 1
    failed = bank.reader().index.failed
    assert [entry["unit"]["made"]["seed"] for entry in failed.values()] == [7]
    (entry,) = failed.values()
    assert entry["error"] == "the worker died"
    assert "was killed" in entry["traceback"]
    assert entry["tries"] == 3
    assert len(pool.workers) == 3 + 6, "three of the group, three of the unit alone"
    assert len(bank.reader()) == NUM - 1


def test_what_was_set_aside_before_is_tried_again_though_a_worker_dies_of_it(tmp_path: Path, wanted: str) -> None:
    run(tmp_path, nobody, raises=(5, 7))
    (tmp_path / "counts").unlink()
    deaths = itertools.count(1)
    bank, _, tally, _ = run(tmp_path, lambda number, seeds: next(deaths) == 1, retry_failed=True)
    assert (tally.num_computed, tally.failed) == (2, [])
    assert content_digest(bank.reader()) == wanted


def test_a_unit_that_raises_is_set_aside_by_its_worker(tmp_path: Path) -> None:
    bank, pool, tally, _ = run(tmp_path, nobody, raises=(5,), is_nan=(9,))
    assert tally.num_computed == NUM - 2
    assert len(tally.failed) == 2
    errors = sorted(entry["error"] for entry in bank.reader().index.failed.values())
    assert errors[0].startswith("NumericalError")
    assert "poison" in errors[1]
    assert len(pool.workers) == 3


def test_workers_that_do_not_start_are_replaced_a_finite_number_of_times(tmp_path: Path, wanted: str) -> None:
    bank, _, tally, _ = run(tmp_path, nobody, stillborn=(0, 2, 3))
    assert content_digest(bank.reader()) == wanted
    assert tally.num_computed == NUM
    with pytest.raises(ModelError, match=r"workers that start; got worker .* was killed; try the"):
        run(tmp_path / "none", nobody, stillborn=range(100))


def test_the_last_worker_dying_in_its_last_write_loses_nothing(tmp_path: Path, wanted: str) -> None:
    settings = replace(SETTINGS, shard_size=16)  # so that some wait to be written at the end
    bank, pool, tally, _ = run(tmp_path, lambda n, seeds: n == 0 and not seeds, num_workers=1, settings=settings)
    assert len(pool.workers) == 2
    assert content_digest(bank.reader()) == wanted
    assert tally.num_computed == NUM


def test_workers_on_which_everything_fails_stop_the_run(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"20 in a row that could not.* says why: look at device") as caught:
        run(tmp_path, nobody, raises=tuple(range(NUM)))
    failed = Bank.open(tmp_path / "bank").reader().index.failed
    assert len(failed) == 20 < NUM
    assert any(key.startswith(caught.value.got[-12:]) for key in failed)


def test_one_sick_worker_among_sound_ones_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "MAX_FAILURES", 4)
    with pytest.raises(ModelError, match="4 in a row that could not"):
        run(tmp_path, nobody, sick=(1,))
    assert run(tmp_path, nobody, retry_failed=True)[2].failed == []
    assert len(Bank.open(tmp_path / "bank").reader()) == NUM


def test_workers_that_die_of_every_unit_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "MAX_FAILURES", 4)
    with pytest.raises(ModelError, match="4 in a row that could not"):
        run(tmp_path, lambda number, seeds: bool(seeds))
    failed = Bank.open(tmp_path / "bank").reader().index.failed
    assert [entry["error"] for entry in failed.values()] == ["the worker died"] * 4


def test_workers_that_die_of_every_last_write_are_replaced_a_finite_number_of_times(tmp_path: Path) -> None:
    """Their units are nobody's fault: none is set aside."""
    settings = replace(SETTINGS, shard_size=16)
    with pytest.raises(ModelError, match=r"live to write it all; got worker .* was killed; try the same"):
        run(tmp_path, lambda number, seeds: not seeds, num_workers=1, settings=settings)
    reader = Bank.open(tmp_path / "bank").reader()
    assert (len(reader), len(reader.index.failed)) == (16, 0)
