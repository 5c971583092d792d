"""What a run is expected to do is what it does, counted piece by piece; prices are only multiplied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from pullback import load
from pullback.api import PageSettings, contest, discover, make_report, portrait
from pullback.api.contest import METHODS, SOURCES, ContestSettings
from pullback.api.discovery import Discovery
from pullback.api.expected import comparing, naming, walking
from pullback.api.model import Model
from pullback.api.settings import Settings
from pullback.api.work import Prices, Work, measure_prices
from pullback.geometry import Plan
from pullback.models import toy_denoiser
from pullback.models.counting import counted
from pullback.portraits import derivatives, judge

STEPS = 4


@pytest.fixture(scope="module")
def found() -> tuple[Model, Discovery]:
    model = load("portraits")
    return model, discover(
        model, num_samples=2, num_held_out=2, rank=2, num_steps=STEPS, tol=1e-1, plan=Plan.fixed(chunk=4)
    )


@pytest.fixture
def tally(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Pictures that the oracle reads and the renderer draws while a test runs."""
    seen: Counter[str] = Counter()

    def watched(kind: str, call: Callable[..., np.ndarray], place: int) -> Callable[..., np.ndarray]:
        def watch(*args: object, **options: object) -> np.ndarray:
            seen[kind] += len(args[place])  # pyright: ignore[reportArgumentType]
            return call(*args, **options)

        return watch

    monkeypatch.setattr(judge, "read_factors", watched("readings", judge.read_factors, 1))
    for module in (judge, portrait, derivatives, contest):
        monkeypatch.setattr(module, "render", watched("renders", module.render, 0))
    return seen


def test_names_and_factors_are_counted(found: tuple[Model, Discovery], tally: Counter[str]) -> None:
    model, discovery = found
    page = PageSettings(num_shown=1, num_people=2, num_stops=3, max_scale=2)
    data = make_report(model, discovery, page=page)
    expected = naming(discovery.settings, page, products_each=0, is_portraits=True)
    assert (tally["readings"], tally["renders"]) == (expected.readings, expected.renders)
    assert expected.strips == len(data.cards[0].strips) == 2
    spent = data.stages[-1].num_products
    assert spent > expected.products == portrait.NUM_VISIBLE * 16
    each = (spent - expected.products) // portrait.NUM_VISIBLE
    assert naming(discovery.settings, page, products_each=each, is_portraits=True).products == spent


@pytest.mark.parametrize("methods", [("ours", "random x"), ("pca of h", "supervised"), ("ours transported",)])
def test_a_comparison_is_counted(
    found: tuple[Model, Discovery],
    tally: Counter[str],
    methods: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NUM_GATE", "NUM_KNOWN", "NUM_PCA"):
        monkeypatch.setattr(contest, name, 8)
    model, discovery = found
    rivals = ContestSettings(methods, num_held_out=2, num_tuning=2, num_steps=1)
    expected = comparing(discovery.settings, rivals, model.schedule, products_each=50)
    with counted(model.network) as passes:
        contest.contest(model, discovery, rivals)
    assert len(discovery) == discovery.settings.rank  # all of the directions that were counted on
    assert passes.finished == expected.calls + expected.rows
    assert (tally["readings"], tally["renders"]) == (expected.readings, expected.renders)


def test_products_of_a_comparison() -> None:
    settings, schedule = Settings(num_samples=5, rank=3), toy_denoiser().schedule

    def products(*methods: str) -> int:
        rivals = ContestSettings(methods, num_held_out=4, num_tuning=2)
        return comparing(settings, rivals, schedule, products_each=10).products

    assert products("random x") == 0
    assert products("ours") == products("pca of h") == 3 * 6  # each direction pulled back to each sample
    assert products("supervised") == 3 * 6  # as many as ours, of 16 factors
    assert products("random network") == 3 * 6 + 10 * 5
    assert products("ours transported") == products("ours transported", "random h pinv") == 10 * 6  # bases are shared
    assert products("random network transported") == 10 * 6 + 10 * 5
    assert products("eps") == 3 * 6 + 10 * 5
    assert products(*METHODS) > products(*SOURCES)


def test_latents_walk_one_at_a_time() -> None:
    model = toy_denoiser()
    for t_fraction in (1.0, 0.7, 0.01):
        settings = Settings(t_fraction=t_fraction, num_steps=7)
        with counted(model.network) as passes:
            model.sample_latent(t_fraction=t_fraction, seeds=[1, 2], num_steps=7)
        assert passes.finished == walking(2, settings, model.schedule).calls


def test_where_no_factors_are_known_only_strips_are_made() -> None:
    settings, page = Settings(rank=3, num_held_out=2), PageSettings(num_shown=9, num_people=5)
    assert naming(settings, page, products_each=99, is_portraits=False) == Work(strips=3 * 2)


def test_prices_are_measured_here_and_multiplied() -> None:
    model = load(toy_denoiser())
    x = model.draw([0])
    prices = measure_prices(model, x, 800, rows=2.0, products=3.0, num_stops=3)
    assert (prices.rows, prices.products, prices.readings, prices.renders) == (2.0, 3.0, 0.0, 0.0)
    assert min(prices.calls, prices.strips) > 0
    assert prices.of(Work(rows=2, products=1)) == 7.0


def test_the_oracle_and_the_renderer_have_their_price(found: tuple[Model, Discovery]) -> None:
    model = found[0]
    prices = measure_prices(model, model.draw([0]), 800, rows=0.0, products=0.0, num_stops=3)
    assert min(prices.calls, prices.readings, prices.renders, prices.strips) > 0
    assert Prices(renders=prices.renders).of(Work(renders=10)) == pytest.approx(10 * prices.renders)
