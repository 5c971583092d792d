"""Several banks, full disks, folders that can only be read, copies that go on elsewhere."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pullback.bank import Bank, Part, RunSettings, Storage, run_here
from pullback.bank.contents import content_digest
from pullback.bank.merge import merge_banks
from pullback.bank.toy import ToyWork, toy_units
from pullback.bank.verify import verify_bank
from pullback.errors import MismatchError, OptionError

SETTINGS = RunSettings(shard_size=4, request={"model": "toy"})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    bank = Bank.make(tmp_path_factory.mktemp("whole"), SETTINGS)
    run_here(bank, toy_units(16), ToyWork())
    return bank


def test_banks_of_two_machines_merge_into_one(whole: Bank, tmp_path: Path) -> None:
    banks = [Bank.make(tmp_path / str(i), SETTINGS) for i in range(2)]
    for i, bank in enumerate(banks):
        run_here(bank, toy_units(16), ToyWork(), part=Part(i, 2))
    merged = merge_banks(tmp_path / "all", banks)
    assert (merged.num_copied, merged.num_known, merged.refused) == (4, 0, {})
    assert content_digest(Bank.open(tmp_path / "all").reader()) == content_digest(whole.reader())
    again = merge_banks(tmp_path / "all", banks)
    assert (again.num_copied, again.num_known) == (0, 4)


def test_a_damaged_shard_is_left_out_by_name_and_the_rest_merged(whole: Bank, tmp_path: Path) -> None:
    source = Bank.open(shutil.copytree(whole.folder, tmp_path / "source"))
    path = sorted((source.folder / "shards").iterdir())[0]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    merged = merge_banks(tmp_path / "all", [source])
    assert merged.num_copied == 3
    assert list(merged.refused) == [str(path)]
    assert run_here(Bank.open(tmp_path / "all"), toy_units(16), ToyWork()).num_computed == 4


def test_banks_that_keep_different_things_do_not_merge(whole: Bank, tmp_path: Path) -> None:
    other = Bank.make(tmp_path / "other", RunSettings(storage=Storage(u="fp16"), request={"model": "toy"}))
    with pytest.raises(MismatchError, match="one storage"):
        merge_banks(tmp_path / "all", [whole, other])
    with pytest.raises(OptionError, match="at least one bank"):
        merge_banks(tmp_path / "all", [])


def test_runs_of_one_model_merge_wherever_it_lies_and_those_of_two_do_not(whole: Bank, tmp_path: Path) -> None:
    def bank(name: str, weights: str, part: Part) -> Bank:
        settings = replace(SETTINGS, request={"model": f"/{name}/model", "weights": weights})
        made = Bank.make(tmp_path / name, settings)
        run_here(made, toy_units(16), ToyWork(), part=part)
        return made

    laptop, cluster, other = bank("laptop", "w", Part(0, 2)), bank("cluster", "w", Part(1, 2)), bank("c", "x", Part())
    merge_banks(tmp_path / "all", [laptop, cluster])
    assert merge_banks(tmp_path / "all", [cluster, laptop]).num_known == 4, "whichever comes first"
    assert content_digest(Bank.open(tmp_path / "all").reader()) == content_digest(whole.reader())
    with pytest.raises(MismatchError, match=r"banks with one request: .*'weights': 'w'.*; got .*'weights': 'x'"):
        merge_banks(tmp_path / "all", [laptop, other])
    with pytest.raises(MismatchError, match="a bank with the same request: weights='x'"):
        merge_banks(tmp_path / "all", [other])


def test_what_was_set_aside_stays_known_after_a_merge(tmp_path: Path) -> None:
    bank = Bank.make(tmp_path / "a", SETTINGS)
    run_here(bank, toy_units(6), ToyWork(raises=(3,)))
    merge_banks(tmp_path / "all", [bank])
    assert len(Bank.open(tmp_path / "all").reader().index.failed) == 1
    before = sorted((tmp_path / "all" / "done").iterdir())
    merge_banks(tmp_path / "all", [bank])
    assert sorted((tmp_path / "all" / "done").iterdir()) == before, "a second merge has nothing to say"


def test_a_copy_of_a_half_done_folder_is_finished_elsewhere(whole: Bank, tmp_path: Path) -> None:
    bank = Bank.make(tmp_path / "laptop", SETTINGS)
    run_here(bank, toy_units(7), ToyWork())
    shutil.copytree(tmp_path / "laptop", tmp_path / "cluster")
    shutil.rmtree(tmp_path / "laptop")
    tally = run_here(Bank.open(tmp_path / "cluster"), toy_units(16), ToyWork())
    assert (tally.num_computed, tally.num_found) == (9, 7)
    assert content_digest(Bank.open(tmp_path / "cluster").reader()) == content_digest(whole.reader())


@contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """As a full disk: a write beyond it fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_stops_the_run_and_harms_nothing(whole: Bank, tmp_path: Path) -> None:
    bank = Bank.make(tmp_path, SETTINGS)
    run_here(bank, toy_units(4), ToyWork())
    with files_of_at_most(1000), pytest.raises(OSError, match="File too large"):
        run_here(bank, toy_units(16), ToyWork())
    verdict = verify_bank(bank)
    assert (verdict.num_units, verdict.is_sound, verdict.orphans) == (4, True, ())
    assert run_here(bank, toy_units(16), ToyWork()).num_computed == 12
    assert content_digest(bank.reader()) == content_digest(whole.reader())


def test_a_full_disk_in_the_middle_of_a_journal_line(whole: Bank, tmp_path: Path) -> None:
    bank = Bank.make(tmp_path, SETTINGS)
    writer = bank.writer()
    answers = [ToyWork().compute([unit])[0] for unit in toy_units(4)]
    os.truncate(writer._journal.path, 2900)  # room for the shard, but not for the line
    with files_of_at_most(3000), pytest.raises(OSError, match="File too large"):
        writer.add(answers)
    assert run_here(bank, toy_units(16), ToyWork()).num_found == 4, "the shard was whole"
    assert content_digest(bank.reader()) == content_digest(whole.reader())


SHARER = """
import sys, time
from pathlib import Path
from pullback.bank import Bank, Part, run_here
from pullback.bank.toy import ToyWork, toy_units
folder, name, share, num = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])

class Together(ToyWork):
    def compute(self, units, /):  # nobody ends a unit before all are at work
        (folder.parent / f"{name}.works").touch()
        while len(list(folder.parent.glob("*.works"))) < num:
            time.sleep(0.01)
        return super().compute(units)

print(run_here(Bank.open(folder), toy_units(16), Together(), part=Part.parse(share)).num_computed)
"""


def test_two_shares_and_one_of_them_twice_fill_one_folder_at_the_same_time(whole: Bank, tmp_path: Path) -> None:
    bank = Bank.make(tmp_path / "bank", SETTINGS)
    shares = {"a": "0/2", "b": "1/2", "twin": "0/2"}
    commands = [[sys.executable, "-c", SHARER, bank.folder, name, share, "3"] for name, share in shares.items()]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    try:
        a, b, twin = (int(each.communicate(timeout=180)[0]) for each in running)
    finally:
        for each in running:
            each.kill()
            each.wait()
    assert [each.returncode for each in running] == [0, 0, 0]
    assert b == 8
    assert 8 < a + twin <= 16, "both were at work, and neither knew of the other's first unit"
    verdict = verify_bank(bank)
    assert (verdict.num_units, verdict.is_sound, verdict.orphans) == (16, True, ())
    assert content_digest(bank.reader()) == content_digest(whole.reader())


CHILD = """
import os, sys
from pullback.bank import Bank, run_here
from pullback.bank.toy import ToyWork, toy_units
if os.getuid() == 0:  # to whom modes mean nothing
    os.setgid(65534), os.setuid(65534)
try:
    run_here(Bank.open(sys.argv[1]), toy_units(16), ToyWork())
except OSError as error:
    sys.exit(error.errno)
"""


def test_a_folder_that_can_only_be_read_is_read_and_refuses_a_run_before_any_work(whole: Bank, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole.folder, tmp_path / "bank"))
    shutil.rmtree(folder / "shards")  # so that a run would have something to do
    places = [*folder.rglob("*"), folder]
    try:
        for place in places:
            place.chmod(0o555 if place.is_dir() else 0o444)
        for parent in tmp_path.parents:
            if os.getuid() == 0 and str(parent).startswith("/tmp/"):
                parent.chmod(0o755)
        tmp_path.chmod(0o755)
        done = subprocess.run([sys.executable, "-c", CHILD, folder], check=False, capture_output=True, text=True)
        assert done.returncode == errno.EACCES, done.stderr
        assert len(Bank.open(folder).reader()) == 0
    finally:
        for place in places:
            place.chmod(0o755)


def test_reading_writes_nothing(whole: Bank) -> None:
    def listing() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in whole.folder.rglob("*")}

    before = listing()
    content_digest(Bank.open(whole.folder).reader())
    verify_bank(Bank.open(whole.folder))
    assert listing() == before
