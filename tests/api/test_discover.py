"""The front door on a toy: what comes out fits together, and editing agrees with the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pullback
from pullback.api import PageSettings, make_report
from pullback.api.discovery import load_discovery, staged
from pullback.api.model import Model
from pullback.api.pictures import Precision
from pullback.directions import Direction
from pullback.errors import MismatchError, OptionError, RankError
from pullback.geometry import Plan
from pullback.measure.report import render
from pullback.models import Denoiser, toy_denoiser


@pytest.fixture(scope="module")
def model() -> Model:
    return pullback.load(toy_denoiser())


@pytest.fixture(scope="module")
def found(model: Model) -> pullback.Discovery:
    return pullback.discover(model, num_samples=4, num_held_out=3, rank=3, plan=Plan.fixed(chunk=8))


def test_a_model_is_a_denoiser_that_edits(model: Model) -> None:
    assert isinstance(model, Denoiser)
    assert pullback.load(model) is model
    assert model.feature_map(t_fraction=0.8).layer == "mid_block"


def test_discovery_is_a_sequence_of_unit_directions(found: pullback.Discovery) -> None:
    assert 1 <= len(found) <= 3
    assert [each.index for each in found] == list(range(len(found)))
    assert found[0] is found.directions[0]
    assert list(found[:1]) == [found[0]]
    assert all(float(each.vector.norm()) == pytest.approx(1, abs=1e-5) for each in found)
    assert all(each.agreement is not None and 0 <= each.agreement <= 1.001 for each in found)
    assert all(each.agreement_null is not None for each in found)


def test_discovery_keeps_its_bases_timings_and_origin(model: Model, found: pullback.Discovery) -> None:
    assert (len(found.bases), len(found.held_out_bases)) == (4, 3)
    assert found.origin == model.feature_map(t_fraction=0.8).origin
    assert set(found.timings) == {"samples", "local bases", "global directions"}
    assert sum(stage.num_products for stage in found.stages) == sum(
        basis.products.total for basis in (*found.bases, *found.held_out_bases)
    )


def test_bases_are_those_of_the_seeds_one_at_a_time(model: Model, found: pullback.Discovery) -> None:
    f = model.feature_map(t_fraction=0.8)
    for seeds, bases in (
        (found.settings.discovery_seeds, found.bases),
        (found.settings.held_out_seeds, found.held_out_bases),
    ):
        x = model.sample_latent(t_fraction=0.8, seed=seeds[1])
        s = pullback.local_basis(f, x, rank=3, plan=Plan.fixed(chunk=8)).s
        torch.testing.assert_close(bases[1].s, s, rtol=1e-3, atol=1e-5)


def test_directions_come_from_discovery_samples_alone(model: Model, found: pullback.Discovery) -> None:
    more = pullback.discover(model, num_samples=4, num_held_out=1, rank=3, plan=Plan.fixed(chunk=8))
    for a, b in zip(found, more, strict=True):
        assert abs(float(a.vector @ b.vector)) == pytest.approx(1, abs=1e-3)


def test_progress_is_told_from_nothing_to_all(model: Model) -> None:
    told: list[tuple[str, int, int]] = []
    pullback.discover(
        model,
        num_samples=3,
        num_held_out=2,
        rank=2,
        batch=2,
        progress=lambda *step: told.append(step),
        plan=Plan.fixed(),
    )
    assert told == [("local bases", done, 5) for done in (0, 2, 4, 5)]


def test_a_rank_that_is_not_there_is_refused_before_any_product(model: Model) -> None:
    with pytest.raises(RankError, match=r"rank of at most .*; got 999; ask for fewer"):
        pullback.discover(model, num_samples=2, num_held_out=1, rank=999)


def test_edit_gives_a_picture_a_scale_and_leaves_scale_zero_alone(model: Model, found: pullback.Discovery) -> None:
    images = model.edit(seed=7, direction=found[0], scale=[-2, 0, 2])
    assert [image.size for image in images] == [(8, 8)] * 3
    other = model.edit(seed=7, direction=found[1], scale=[0])
    assert np.abs(np.asarray(images[1], float) - np.asarray(other[0], float)).max() <= 1
    assert (np.asarray(images[0]) != np.asarray(images[2])).any()


def test_edit_by_seed_and_by_its_latent_are_the_same(model: Model, found: pullback.Discovery) -> None:
    x = model.sample_latent(t_fraction=0.8, seed=7)
    a = model.edit(seed=7, direction=found[0], scale=[1])[0]
    b = model.edit(x=x, direction=found[0], scale=[1])[0]
    assert np.array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize(
    "given", [{}, {"seed": 1, "x": torch.zeros(3, 8, 8)}, {"seed": 1, "image": Image.new("RGB", (8, 8))}]
)
def test_edit_wants_exactly_one_start(model: Model, found: pullback.Discovery, given: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="exactly one of seed, x and image"):
        model.edit(direction=found[0], **given)  # pyright: ignore[reportArgumentType]


def test_edit_refuses_a_direction_of_another_model(found: pullback.Discovery) -> None:
    other = pullback.load(toy_denoiser(seed=3))
    with pytest.raises(MismatchError, match="weights"):
        other.edit(seed=1, direction=found[0])
    assert other.edit(seed=1, direction=found[0], scale=[1], allow_mismatch=True)


def test_edit_refuses_a_direction_without_a_timestep(model: Model) -> None:
    with pytest.raises(MismatchError, match="knows its timestep"):
        model.edit(seed=1, direction=Direction(torch.eye(3)[0], "H", {}))


def test_the_report_shows_what_was_found(model: Model, found: pullback.Discovery) -> None:
    page = PageSettings(num_shown=2, num_people=2, num_stops=3, max_scale=1)
    told: list[tuple[str, int, int]] = []
    report = make_report(model, found, source="toy", page=page, progress=lambda *step: told.append(step))
    assert len(report.cards) == len(found)
    shown, hidden = report.cards[:2], report.cards[2:]
    assert all([strip.seed for strip in card.strips] == [500_000, 500_001] for card in shown)
    assert all(card.usable is not None and card.symmetry is not None for card in shown)
    assert all(card.name != "not measured" for card in shown)
    assert all(not card.strips for card in hidden)
    assert told[-1] == ("pictures", 2, 2)
    assert report.command.startswith("pullback discover toy --out OUT --samples 4 --held-out 3 --rank 3")
    render(report)


def test_frames_of_the_page_are_those_of_an_edit(model: Model, found: pullback.Discovery) -> None:
    from pullback.api.pictures import Studio
    from pullback.api.settings import silent

    page = PageSettings(num_shown=1, num_people=2, num_stops=3, max_scale=1)
    studio = Studio(model, found, page)
    frames = studio.moved(studio.groups()[0], studio.unedited(silent))[0].frames
    for person, seed in enumerate(found.settings.held_out_seeds[:2]):
        edited = model.edit(seed=seed, direction=found[0], scale=page.scales)
        for stop, image in enumerate(edited):
            assert np.abs(np.asarray(image, float) - frames[person, stop]).max() <= 2


def test_save_and_load(model: Model, found: pullback.Discovery, tmp_path: Path) -> None:
    page = PageSettings(num_shown=1, num_people=1, num_stops=3, max_scale=1)
    found.save(tmp_path, make_report(model, found, page=page))
    directions, report = load_discovery(tmp_path)
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(directions, found, strict=True))
    assert report.num_samples == 4
    assert json.loads((tmp_path / "report.json").read_text())["cards"][0]["strips"][0] == {
        "seed": 500_000,
        "passed": [],
    }


def test_staged_files_appear_together_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(RuntimeError), staged(tmp_path) as stage:
        (stage / "a").write_text("new")
        raise RuntimeError
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}
    with staged(tmp_path) as stage:
        (stage / "a").write_text("new")
        (stage / "b").write_text("more")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new", "b": "more"}


def test_records_take_their_places_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved, real = [], Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: (moved.append(self.name), real(self, target))[1])
    with staged(tmp_path) as stage:
        for name in ("a.json", "b.safetensors", "z.png"):
            (stage / name).write_text("new")
    assert moved == ["b.safetensors", "z.png", "a.json"]


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ((1.0, 0.98, 0.1, 0.1, 0.9), Precision()),
        ((1.0, 0.9, 0.1, 0.1, 0.8), Precision(None, True)),
        ((1.0, 0.9, 0.1, 0.19, 0.7), Precision(torch.bfloat16, True)),
        ((1.0, 1.2, 0.1, 0.1, 0.7), Precision(torch.bfloat16, True)),
        ((1.0, 0.9, 0.1, 0.2), Precision(None, True)),  # of one row it takes twice as long: no batch is tried
    ],
)
def test_pictures_take_another_layout_for_little_and_low_precision_for_much(
    model: Model, monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, ...], chosen: Precision
) -> None:
    from pullback.api import Settings, cost, forecast

    page = PageSettings(num_shown=2, num_people=2)
    times = iter(seconds)  # own and other layout of a batch, own and low of one row, low of a batch
    monkeypatch.setattr(cost, "timed", lambda call, device: next(times))
    monkeypatch.setattr(cost, "seconds_of_algebra", lambda *args, **options: 0.0)
    assert forecast(model, Settings(num_samples=3, num_held_out=2, rank=3), page).precision == chosen


def test_forecast_counts_what_will_be_done(model: Model) -> None:
    from pullback.api import Settings, forecast

    expected = forecast(model, Settings(num_samples=3, num_held_out=2, rank=3), PageSettings(num_shown=2, num_people=2))
    assert expected.num_pictures == 5 + 2 * (2 * 6 + 1)
    assert expected.seconds > 0
    assert expected.num_products > 0
    named = {"products", "pictures", "seconds", "jvp", "vjp", "chunk", "batch", "block", "precision of products"}
    assert set(expected.record()) >= named
    assert expected.batch == 8


def test_law33_krylov_bases_are_forecast_apart_from_activations(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from pullback.api import Forecast, Settings, cost, forecast
    from pullback.geometry import batching

    monkeypatch.setattr(batching, "measure_plan", lambda *_, **__: Plan.fixed(chunk=8))
    monkeypatch.setattr(cost, "_fastest_precision", lambda *_: (Precision(), 0.01, 0.01))
    monkeypatch.setattr(cost, "_memory_so_far", lambda _: 1_000_000)
    page = PageSettings(num_shown=2, num_people=2)

    def at(rank: int, layer: str = "conv_in") -> Forecast:
        return forecast(model, Settings(num_samples=3, num_held_out=2, rank=rank, layer=layer), page)

    low, high = at(2), at(12)
    assert low.peak_bytes == high.peak_bytes == 1_000_000  # independent of k at one chunk
    assert 0 < low.krylov_bytes < high.krylov_bytes
    assert low.record()["krylov_bytes"] == low.krylov_bytes
    assert low.record()["peak_bytes"] == 1_000_000 + low.krylov_bytes + low.bank_bytes
    found = pullback.discover(model, num_samples=3, num_held_out=2, rank=2, layer="conv_in", plan=Plan.fixed(chunk=8))
    assert 0.5 < found.bases[0].krylov_bytes / low.krylov_bytes < 2
    pooled = Settings(num_samples=3, num_held_out=2, rank=2, pool="sum")
    exact = forecast(model, pooled, page)  # of a small feature all of J is computed, and no Krylov basis is kept
    assert exact.krylov_bytes == 0


def test_a_forecast_adds_up_all_stages(model: Model) -> None:
    from pullback.api import Settings, forecast
    from pullback.api.contest import ContestSettings

    settings, page = Settings(num_samples=3, num_held_out=2, rank=3), PageSettings(num_shown=2, num_people=2)
    expected = forecast(model, settings, page, rivals=ContestSettings(num_held_out=4))
    prices, works = expected.prices, (expected.samples, expected.names, expected.compared)
    assert expected.samples.calls == 5 * 4
    assert expected.names.strips == 2 * 2
    assert expected.compared.rows > 1000
    parts = [expected.seconds_bases, expected.seconds_pictures, *map(prices.of, works)]
    assert min(parts) > 0
    assert expected.seconds == pytest.approx(sum(parts))
    alone = forecast(model, settings, page)
    assert prices.of(alone.compared) == 0
