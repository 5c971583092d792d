"""Means and maps: right, and the same bits however the bank was filled."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from pullback.bank import Answer, Bank, Part, RunSettings, Storage, Unit, run_here
from pullback.bank.maps import distance_map, samples_by_seed, timestep_map
from pullback.bank.means import aligned_mean, ids_by_t, mean_shares, mean_spectrum, mean_subspace
from pullback.bank.sketch import sketch, sketch_error
from pullback.bank.spot import spot_check
from pullback.bank.toy import ToyWork, toy_units
from pullback.errors import FileFormatError, MismatchError, OptionError, RankError
from pullback.geometry import geodesic_distance

NUM, RANK = 11, 3


class Near(ToyWork):
    """Bases near one span."""

    def compute(self, units: Sequence[Unit], /) -> list[Answer]:
        answers = super().compute(units)
        centre = torch.eye(self.dim_h)[:RANK]
        return [
            Answer(a.unit, {**a.tensors, "u": torch.linalg.qr((centre + 0.1 * a.tensors["u"]).mT)[0].mT.contiguous()})
            for a in answers
        ]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    bank = Bank.make(tmp_path_factory.mktemp("one"), RunSettings(shard_size=4))
    run_here(bank, toy_units(NUM, rank=RANK, num_t=2), Near())
    return bank


def dense(bank: Bank, t: float) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    reader = bank.reader()
    ids = ids_by_t(reader)[t]
    answers = [reader.get(unit_id) for unit_id in ids]
    return ids, *(torch.stack([answer.tensors[name].double() for answer in answers]) for name in ("u", "s"))


def test_units_come_in_the_order_of_their_ids(bank: Bank) -> None:
    ids = ids_by_t(bank.reader())
    assert sorted(ids) == [0, 100]
    assert all(each == sorted(each) and len(each) == NUM for each in ids.values())


def test_mean_spectrum(bank: Bank) -> None:
    ids, _, s = dense(bank, 100)
    mean = mean_spectrum(bank.reader(), ids)
    torch.testing.assert_close(mean.value, s.mean(0), rtol=1e-14, atol=0)
    assert (mean.value.dtype, mean.num_units, mean.num_passes) == (torch.float64, NUM, 1)


def test_mean_subspace_is_the_leading_eigenspace_of_the_mean_projector(bank: Bank) -> None:
    ids, u, _ = dense(bank, 0)
    projector = (u.mT @ u).mean(0)
    wanted = torch.linalg.eigh(projector).eigenvectors.mT.flip(0)
    mean = mean_subspace(bank, bank.reader(), ids, rank=RANK, num_passes=40)
    assert float(geodesic_distance(mean.value, wanted[:RANK])) < 1e-6
    assert float(geodesic_distance(mean.value, torch.eye(12)[:RANK])) < 0.2
    assert mean.num_passes == 40


def test_aligned_mean(bank: Bank) -> None:
    ids, u, _ = dense(bank, 0)
    reference = u[0]
    cosine = torch.einsum("mD,bkD->bmk", reference, u)
    best = cosine.abs().argmax(-1)
    rows = torch.stack(
        [torch.stack([u[b, j] * cosine[b, m, j].sign() for m, j in enumerate(best[b])]) for b in range(len(u))]
    )
    wanted = rows.mean(0)
    found = aligned_mean(bank, bank.reader(), ids, reference=reference).value
    torch.testing.assert_close(found, wanted / wanted.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("block", [1, 4, 100])
def test_distance_map(bank: Bank, block: int) -> None:
    ids, u, _ = dense(bank, 0)
    found = distance_map(bank, bank.reader(), ids, block=block)
    wanted = torch.stack([torch.stack([geodesic_distance(a, b) for b in u]) for a in u])
    torch.testing.assert_close(found.value, wanted, rtol=1e-6, atol=1e-6)
    assert torch.equal(found.value, found.value.mT)
    assert not found.value.diagonal().any()
    assert found.num_passes == -(-NUM // block)


def test_timestep_map(bank: Bank) -> None:
    samples = samples_by_seed(bank.reader())
    assert len(samples) == NUM
    found = timestep_map(bank, bank.reader(), samples=samples).value
    reader = bank.reader()
    pairs = [[reader.get(each[t]).tensors["u"] for t in (0, 100)] for each in samples.values()]
    wanted = torch.stack([geodesic_distance(a, b) for a, b in pairs]).mean()
    assert found.shape == (2, 2)
    assert float(found[0, 1]) == pytest.approx(float(wanted))
    assert float(found.diagonal().abs().max()) < 1e-6


def test_a_distance_map_reads_no_unit_more_often_than_it_says(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = bank.reader()
    ids, read = ids_by_t(reader)[0], reader.tensors
    seen: list[str] = []
    monkeypatch.setattr(reader, "tensors", lambda unit_id, names: seen.append(unit_id) or read(unit_id, names))
    for block in (4, 100):
        seen.clear()
        found = distance_map(bank, reader, ids, block=block)
        assert max(map(seen.count, ids)) == found.num_passes == -(-NUM // block)


def test_samples_are_those_of_one_model_that_have_every_t(tmp_path: Path) -> None:
    bank = Bank.make(tmp_path, RunSettings())
    units = list(toy_units(3, num_t=3))
    missing = [(0, 100), (1, 200)]  # seed and t: no seed but the last has all, and the first two have as many
    run_here(bank, [unit for unit in units if (unit.made["seed"], unit.t) not in missing], ToyWork())
    assert list(samples_by_seed(bank.reader())) == [2]
    run_here(bank, [dataclasses.replace(units[0], weights="other")], ToyWork())
    with pytest.raises(MismatchError, match="differ in seed and t alone; got 2 kinds"):
        samples_by_seed(bank.reader())


def test_the_same_bits_however_the_bank_was_filled(bank: Bank, tmp_path: Path) -> None:
    other = Bank.make(tmp_path, RunSettings(shard_size=3))
    for i in (1, 2, 0):
        run_here(other, toy_units(NUM, rank=RANK, num_t=2), Near(), part=Part(i, 3))
    for compute in (
        lambda b, r, ids: mean_spectrum(r, ids),
        lambda b, r, ids: mean_subspace(b, r, ids, rank=2, num_passes=3),
        lambda b, r, ids: mean_shares(b, r, ids, rows=torch.eye(12)[:2]),
        distance_map,
        lambda b, r, ids: timestep_map(b, r, samples=samples_by_seed(r)),
    ):
        first, second = (compute(b, b.reader(), ids_by_t(b.reader())[0]).value for b in (bank, other))
        assert torch.equal(first, second)


def test_what_was_dropped_disables_by_name_what_needs_it(tmp_path: Path) -> None:
    bank = Bank.make(tmp_path, RunSettings(storage=Storage(u="none")))
    run_here(bank, toy_units(3), ToyWork())
    reader = bank.reader()
    ids = list(reader.ids())
    assert set(reader.get(ids[0]).tensors) == {"s", "v"}
    assert mean_spectrum(reader, ids).num_units == 3
    for compute in (
        lambda: distance_map(bank, reader, ids),
        lambda: mean_subspace(bank, reader, ids, rank=1),
        lambda: timestep_map(bank, reader, samples=samples_by_seed(reader)),
        lambda: aligned_mean(bank, reader, ids, reference=torch.eye(12)[:1]),
    ):
        with pytest.raises(OptionError, match=r"U, which distances, maps, .*need; got a bank that keeps none"):
            compute()


def test_a_damaged_shard_never_enters_a_mean(bank: Bank, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(bank.folder, tmp_path / "bank"))
    path = sorted((folder / "shards").iterdir())[0]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    reader = Bank.open(folder).reader()
    ids = ids_by_t(reader)[0]  # the first shards are of the first t
    with pytest.raises(FileFormatError, match=path.name):
        mean_spectrum(reader, ids)


def test_means_that_make_no_sense(bank: Bank) -> None:
    reader = bank.reader()
    with pytest.raises(OptionError, match="at least one unit"):
        mean_spectrum(reader, [])
    with pytest.raises(OptionError, match="at least one unit"):
        distance_map(bank, reader, [])
    with pytest.raises(OptionError, match="a unit of this bank; got elsewhere"):
        mean_spectrum(reader, ["elsewhere"])
    with pytest.raises(RankError, match="rank between 1 and 3"):
        mean_subspace(bank, reader, ids_by_t(reader)[0], rank=4)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rank": 1}, "rank 2 and 1"),
        ({"layer": "up"}, "layer mid and up"),
        ({"pool": "sum"}, "pool none and sum"),
        ({"weights": "tuned"}, "weights toy and tuned"),
        ({"condition": "smile"}, "condition none and smile"),
        ({"t": 300.0}, "t 0.0 and 300.0"),
        ({"details": {"prediction": "v"}}, "details {} and {'prediction': 'v'}"),
    ],
)
def test_units_of_two_kinds_have_no_mean_and_it_is_said_which(change: Any, told: str, tmp_path: Path) -> None:
    one, *others = toy_units(3)
    bank = Bank.make(tmp_path, RunSettings())
    run_here(bank, [one, *(dataclasses.replace(other, **change) for other in others)], ToyWork())
    reader, row = bank.reader(), torch.eye(ToyWork().dim_h)[:1]
    ids = list(reader.ids())
    calls = {
        "spectrum": lambda: mean_spectrum(reader, ids),
        "subspace": lambda: mean_subspace(bank, reader, ids, rank=1),
        "shares": lambda: mean_shares(bank, reader, ids, rows=row),
        "aligned": lambda: aligned_mean(bank, reader, ids, reference=row),
        "distances": lambda: distance_map(bank, reader, ids),
        "across t": lambda: timestep_map(bank, reader, samples={0: dict(enumerate(ids))}),
    }
    for name, call in calls.items():
        if name == "across t" and "t" in change:
            continue
        with pytest.raises(MismatchError) as caught:
            call()
        a, b = told.split(" and ")
        kind, _, value = a.partition(" ")
        assert told in str(caught.value) or f"{kind} {b} and {value}" in str(caught.value)  # in the order of ids
    if "t" in change:
        assert distance_map(bank, reader, ids, may_differ={"t"}).value.shape == (3, 3)


def test_a_sketch_keeps_distances_and_says_how_well() -> None:
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(4, 2000, generator=generator)
    bases = [
        torch.linalg.qr((shared + torch.randn(4, 2000, generator=generator)).mT)[0].mT.contiguous() for _ in range(4)
    ]
    errors = [sketch_error(bases, dim) for dim in (1000, 250, 60)]
    assert errors == sorted(errors)
    assert errors[0] < 0.1
    assert sketch_error(bases, 2000) < 2e-3, "a whole rotation changes nothing but the rounding to fp16"
    assert torch.equal(sketch(bases[0], 250), sketch(torch.cat(bases), 250)[:4])
    rotation = sketch(torch.eye(50, dtype=torch.float64), 50)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(50, dtype=torch.float64))


def test_a_spot_check_asks_nothing_of_a_span_without_a_gap(tmp_path: Path) -> None:
    class Bunched(ToyWork):
        """Another T_h each time, as of equal singular values: s_k = s_{k+1}, or a gap that determines T_h."""

        gap = 0.0

        def compute(self, units: Sequence[Unit], /) -> list[Answer]:
            answers = super().compute(units)
            s = torch.full((2,), 3.0)
            return [Answer(a.unit, {**a.tensors, "s": s, "s_next": s[0] - self.gap}) for a in answers]

    class Turned(Bunched):
        def compute(self, units: Sequence[Unit], /) -> list[Answer]:
            return [
                Answer(a.unit, {**a.tensors, "u": a.tensors["u"].roll(1, -1)}, a.facts) for a in super().compute(units)
            ]

    for gap, agrees in ((0.0, True), (-0.1, True), (2.0, False)):
        Bunched.gap = gap
        bank = Bank.make(tmp_path / str(gap), RunSettings())
        run_here(bank, toy_units(1), Bunched())
        (spot,) = spot_check(bank, Turned(), 1)
        assert (spot.agrees, spot.has_same_bits) == (agrees, False)


def test_kept_sizes_are_those_announced(tmp_path: Path) -> None:
    for how in ("exact", "fp16", "sketch", "none"):
        storage = Storage(u=how, v="fp16", sketch_dim=5)
        bank = Bank.make(tmp_path / how, RunSettings(storage=storage))
        run_here(bank, toy_units(1), ToyWork())
        kept = bank.reader().get(next(toy_units(1))).tensors
        num_bytes = sum(value.numel() * value.element_size() for value in kept.values())
        assert num_bytes + 2 * 4 + 4 + 12 == storage.bytes_per_unit(rank=2, dim_h=12, dim_x=8)
