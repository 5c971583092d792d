"""`pullback bank maps` on banks of planted subspaces: the figures, the files, and what it refuses."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from pullback.bank import Answer, Bank, RunSettings, Storage, Unit, run_here
from pullback.bank.summary import at_each_t
from pullback.bank.toy import ToyWork, toy_units
from pullback.cli import main
from pullback.geometry import geodesic_distance, haar_distances

NUM, RANK, DIM = 6, 2, 12
FILES = {"means.csv", "spectra.csv", "timesteps.csv", "timesteps.png"}


class Tight(ToyWork):
    """At t = 0 all T_h are nearly one; elsewhere they are random."""

    def compute(self, units: Sequence[Unit], /) -> list[Answer]:
        return [self._drawn_in(answer) if answer.unit.t == 0 else answer for answer in super().compute(units)]

    def _drawn_in(self, answer: Answer) -> Answer:
        u = torch.eye(self.dim_h)[:RANK] + 0.05 * answer.tensors["u"]
        return dataclasses.replace(answer, tensors={**answer.tensors, "u": torch.linalg.qr(u.mT)[0].mT.contiguous()})


def filled(folder: Path, units: Sequence[Unit], **storage: object) -> Bank:
    bank = Bank.make(folder, RunSettings(shard_size=4, storage=Storage(**storage)))  # pyright: ignore[reportArgumentType]
    run_here(bank, units, Tight())
    return bank


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    return filled(tmp_path_factory.mktemp("maps"), list(toy_units(NUM, rank=RANK, num_t=2)))


def table(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def square(path: Path) -> torch.Tensor:
    return torch.tensor([[float(value) for value in row[1:]] for row in table(path)[1:]])


def failing(capsys: pytest.CaptureFixture[str], folder: Path, out: Path, *words: str) -> str:
    assert main(["bank", "maps", str(folder), "--out", str(out), *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: wanted " in captured.err
    assert "\nhint: " in captured.err
    assert not out.exists()
    return captured.err


def test_tables_hold_what_the_units_hold(bank: Bank, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bank", "maps", str(bank.folder), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    per_t = {f"{kind}{t}{end}" for t in (0, 100) for kind, end in (("t", ".png"), ("distances_t", ".csv"))}
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES | per_t
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in (tmp_path / "out").glob("*.png"))
    reader = bank.reader()
    answers = [reader.get(unit_id) for unit_id in reader.ids()]
    head, *rows = table(tmp_path / "out" / "means.csv")
    means = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    for t in (0, 100):
        u, s = (torch.stack([each.tensors[name].double() for each in answers if each.unit.t == t]) for name in "us")
        wanted = torch.stack([geodesic_distance(each.expand_as(u), u) for each in u])
        found = square(tmp_path / "out" / f"distances_t{t}.csv")
        torch.testing.assert_close(found, wanted.float(), rtol=1e-4, atol=1e-5)
        spectrum = [float(row[2]) for row in table(tmp_path / "out" / "spectra.csv")[1:] if row[0] == str(t)]
        torch.testing.assert_close(torch.tensor(spectrum), s.mean(0).float(), rtol=1e-5, atol=0)
        best = torch.linalg.eigvalsh((u.mT @ u).mean(0))[-RANK:].mean()
        assert float(means[str(t)]["concentration"]) == pytest.approx(float(best), abs=1e-3)
        pairs = wanted[tuple(torch.triu_indices(NUM, NUM, offset=1))]
        assert float(means[str(t)]["distance_mean"]) == pytest.approx(float(pairs.mean()), rel=1e-4)
        assert f"t {t}\t{NUM} units, 23 passes\tmean distance {float(pairs.mean()):.3f} rad" in told.out
        null = float(haar_distances(RANK, DIM).mean())
        assert f"random spans (rank {RANK} of {DIM}) {null:.3f}" in told.out
    assert float(means["0"]["distance_95"]) < float(means["0"]["random_05"]), "planted"
    assert float(means["100"]["distance_mean"]) == pytest.approx(float(means["100"]["random_mean"]), abs=0.3)
    times = square(tmp_path / "out" / "timesteps.csv")
    assert times.shape == (2, 2)
    assert float(times[0, 1]) > 1
    assert f"t x t\t{NUM} samples, 1 pass" in told.out


def test_a_cap_is_said_and_leaves_means_whole(bank: Bank, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bank", "maps", str(bank.folder), "--out", str(tmp_path), "--max-samples", "4", "--passes", "3"]) == 0
    told = capsys.readouterr()
    assert f"t 100: the map is of the first 4 of {NUM} units (--max-samples)" in told.err
    assert f"{NUM} units, 6 passes" in told.out
    whole, part = (next(at_each_t(bank, bank.reader(), max_samples=num)) for num in (NUM, 4))
    assert torch.equal(part.distances, whole.distances[:4, :4])
    assert torch.equal(part.spectrum, whole.spectrum)
    assert part.concentration == whole.concentration
    assert square(tmp_path / "distances_t0.csv").shape == (4, 4)


def test_no_unit_is_read_more_often_than_is_said(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    from pullback.bank import summary

    monkeypatch.setattr(summary, "BLOCK_BYTES", 2 * 8 * RANK * DIM)  # two units a block
    reader = bank.reader()
    seen: list[str] = []
    read = reader.tensors
    monkeypatch.setattr(reader, "tensors", lambda unit_id, names: seen.append(unit_id) or read(unit_id, names))
    for at in at_each_t(bank, reader, num_passes=5):
        assert at.num_passes == 1 + 5 + 1 + 3
        starts = {at.ids[0]: 2}  # of the mean subspace and of the size of a block
        counts = [seen.count(unit_id) - starts.get(unit_id, 0) for unit_id in at.ids]
        assert counts[-1] == max(counts) == at.num_passes


def test_the_mean_subspace_holds_no_less_than_any_units_do(tmp_path: Path) -> None:
    """Of unlike spans 1/n, however many dimensions they leave."""
    units = list(toy_units(2, rank=2))

    class Apart(ToyWork):
        def compute(self, units: Sequence[Unit], /) -> list[Answer]:
            rows = torch.eye(self.dim_h).unflatten(0, (-1, 2))
            return [
                dataclasses.replace(a, tensors={**a.tensors, "u": rows[int(a.unit.made["seed"])].contiguous()})
                for a in super().compute(units)
            ]

    bank = Bank.make(tmp_path, RunSettings())
    run_here(bank, units, Apart())
    (at,) = at_each_t(bank, bank.reader())
    assert at.concentration == pytest.approx(at.least_concentration) == 0.5


def test_samples_of_one_t_or_without_a_seed_have_no_map_between_timesteps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank = filled(tmp_path / "bank", list(toy_units(3)))
    assert main(["bank", "maps", str(bank.folder), "--out", str(tmp_path / "out")]) == 0
    assert "no t x t map" in capsys.readouterr().err
    assert not (tmp_path / "out" / "timesteps.csv").exists()


def test_what_has_no_means_is_refused_in_three_parts(
    bank: Bank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    empty = Bank.make(tmp_path / "empty", RunSettings())
    assert "two samples or more at each t\n       got an empty bank" in failing(capsys, empty.folder, out)
    one = filled(tmp_path / "one", list(toy_units(1, num_t=2)))
    assert "got 1 at t 0, 1 at t 100" in failing(capsys, one.folder, out)
    dropped = filled(tmp_path / "dropped", list(toy_units(3)), u="none")
    assert "got a bank that keeps none (--keep-u none)" in failing(capsys, dropped.folder, out)
    mixed = filled(tmp_path / "mixed", [*toy_units(2, rank=1), *toy_units(2, rank=2)])
    assert "in sample and t alone\n       got rank " in failing(capsys, mixed.folder, out)
    assert "max_samples from 2 to 20,000" in failing(capsys, bank.folder, out, "--max-samples", "1")
    assert "num_passes from 1" in failing(capsys, bank.folder, out, "--passes", "0")
    assert "a bank, a folder with run.json" in failing(capsys, tmp_path / "none", out)
