"""What is said about purity and transfer, on sets whose difference is known."""

import dataclasses

import numpy as np
import pytest
import torch

import pullback
from pullback.analyses import Size
from pullback.analyses.context import Context
from pullback.analyses.figures.estimators import (
    METHODS,
    carries_over,
    draw,
    num_pca,
    row,
    semantic,
    work_text,
)
from pullback.analyses.reading import reader_of
from pullback.analyses.shared import discovered
from pullback.api.contest import METHODS as KNOWN
from pullback.api.contest import NETWORK_OVER_ENCODER, RIVALS, ContestSettings, contest
from pullback.directions import Task, estimate
from pullback.directions.tasks import Cost
from pullback.errors import OptionError
from pullback.measure.contest import Result
from pullback.measure.effects import Effects
from pullback.measure.score import transfer
from pullback.models import toy_denoiser
from pullback.models.counting import counted

SHARES = [np.full((3, 8), share) for share in (0.4, 0.2, 0.9)]
"""Gini coefficient, share outside, that of an even change."""
TINY = Size(3, 2, 2, 2, 1, 1, 2, (0.8, 0.4), 4, 2)


@pytest.fixture(scope="module")
def context():
    return Context(pullback.load(toy_denoiser()), TINY)


def effects_of(purities, *, num_samples=12, noise=0.0, seed=0):
    """Effects `(K, S, 2)`, the first factor of which holds the given share of each direction's."""
    rng = np.random.default_rng(seed)
    shares = np.clip(np.asarray(purities)[:, None] + noise * rng.normal(size=(len(purities), num_samples)), 0.5, 1)
    return np.sqrt(np.stack([shares, 1 - shares], axis=2))


def test_two_sets_of_one_kind_show_nothing_and_purer_ones_are_shown():
    first, second = np.random.default_rng(0).uniform(0.5, 0.7, (2, 12))
    own, turned, purer = effects_of(first), effects_of(second), effects_of(first + 0.3)
    assert semantic(own, turned).verdict == "not shown at this size"
    assert semantic(purer, turned).verdict == "shown"
    assert semantic(turned, purer).verdict == "the opposite is shown"
    assert semantic(purer, turned).effect == pytest.approx(0.3 + first.mean() - second.mean())


def alike(share, *, num=12, num_samples=12, seed=0):
    """Effects `(K, S, 8)` of which a share of the energy is what all samples have in common."""
    rng = np.random.default_rng(seed)
    common, own = rng.normal(size=(num, 1, 8)), rng.normal(size=(num, num_samples, 8))
    return np.sqrt(share) * common + np.sqrt(1 - share) * own


def test_two_sets_that_carry_over_alike_show_nothing_and_one_that_does_more_is_shown():
    own, turned, surer = alike(0.5), alike(0.5, seed=1), alike(0.9, seed=2)
    assert carries_over(own, turned).verdict == "not shown at this size"
    assert carries_over(surer, turned).verdict == "shown"
    assert carries_over(turned, surer).verdict == "the opposite is shown"
    assert carries_over(surer, turned).effect == pytest.approx(transfer(surer).mean() - transfer(turned).mean())
    assert carries_over(surer, turned).effect == pytest.approx(0.4, abs=0.15)


def test_transfer_of_samples_drawn_again_counts_no_sample_with_itself():
    odd = alike(0.0, num=4, num_samples=9)
    assert np.allclose(transfer(odd, np.arange(9)), transfer(odd))
    twice = np.repeat(np.arange(9), 2)
    assert np.allclose(transfer(odd, twice), transfer(odd))
    assert (transfer(odd[:, twice]) > transfer(odd) + 0.03).all()  # which is what it would be if they counted


def test_few_samples_widen_the_interval_and_are_what_is_counted():
    """Twelve directions that are all alike say nothing about the samples they are read on."""
    own, turned = (effects_of([share] * 12, num_samples=4, noise=0.1, seed=share) for share in (1, 0))
    found = semantic(own, turned)
    assert found.high - found.low > 0.01
    assert (found.num, found.verdict) == (4, "not shown at this size")


def test_one_direction_has_no_interval():
    with pytest.raises(OptionError, match="two or more directions and samples; got 1 and 12"):
        semantic(effects_of([0.5]), effects_of([0.6]))
    with pytest.raises(OptionError, match="two or more directions and samples; got 2 and 1"):
        carries_over(alike(0.5, num=2, num_samples=1), alike(0.5, num=2, num_samples=1))


def test_a_row_counts_distinct_factors_among_all_directions():
    """Three directions, each of one factor, the same on every sample."""
    odd = np.eye(3)[:, None].repeat(8, axis=1)
    effects = Effects(odd, 0 * odd, np.ones((3, 8, 2), bool), np.ones(3), *SHARES)
    found = row(Result("ours", effects), rank=3)
    assert (found["D@K"], found["purity"], found["transfer"]) == (3.0, 1.0, 1.0)
    assert (found["pass rate"], found["locality"], found["success"]) == (1.0, pytest.approx(0.4), 1.0)
    assert (found["outside low"], found["outside"], found["outside high"]) == pytest.approx((0.2, 0.2, 0.2))
    assert found["outside null"] == pytest.approx(0.9)


def test_the_pass_rate_has_an_interval_over_samples_and_not_over_directions():
    """Half of the samples pass with every direction; or half of the directions do on every sample."""
    odd = np.eye(4)[:, None].repeat(8, axis=1)
    by_sample = np.zeros((4, 8, 2), bool)
    by_sample[:, :4] = True
    by_direction = np.zeros((4, 8, 2), bool)
    by_direction[:2] = True
    spread, none = (
        row(Result("ours", Effects(odd, 0 * odd, passed, np.ones(4), *([np.ones((4, 8))] * 3))), rank=4)
        for passed in (by_sample, by_direction)
    )
    assert spread["pass rate"] == none["pass rate"] == 0.5
    assert spread["pass rate low"] < 0.25 < 0.75 < spread["pass rate high"]
    assert none["pass rate low"] == none["pass rate high"] == 0.5
    pass_rate = draw([{**each, "method": name} for each, name in ((spread, "ours"), (none, "rotated"))]).axes[4]
    ends = [container[2][0].get_segments()[0][:, 0] for container in pass_rate.containers]
    assert ends[0].tolist() == pytest.approx([spread["pass rate low"], spread["pass rate high"]])
    assert ends[1].tolist() == [0.5, 0.5]


def test_a_row_tells_what_was_counted_and_the_note_what_that_is_of_ours():
    odd = np.eye(3)[:, None].repeat(8, axis=1)
    effects = Effects(odd, 0 * odd, np.ones((3, 8, 2), bool), np.ones(3), *SHARES)
    costs = {"ours": Cost(encoder_products=60, network_passes=10), "eps": Cost(network_products=20)}
    rows = [row(Result(name, effects, cost), rank=3) for name, cost in costs.items()]
    assert [each["work"] for each in rows] == [100, 80]
    assert (rows[0]["encoder products"], rows[0]["network passes"], rows[1]["network products"]) == (60, 10, 20)
    assert work_text(rows).endswith("ours 100; relative to it, eps 0.80.")


def test_every_method_is_one_that_the_comparison_knows():
    assert set(METHODS) <= {*KNOWN, *RIVALS}
    assert {"ours", "rotated", "random network", "supervised", *RIVALS} <= set(METHODS)


def test_where_no_factors_are_known_there_is_no_ceiling_but_there_are_rivals(context):
    found, reader = discovered(context), reader_of(context)
    settings = ContestSettings(("ours", "pca perturbed"), num_held_out=2, num_tuning=2, num_steps=1, num_gate=2)
    ours, rival = contest(context.model, found, settings, judge=reader)
    assert ours.effects.odd.shape == rival.effects.odd.shape == (len(found), 2, 48)
    assert not np.allclose(ours.effects.odd, rival.effects.odd)
    ceiling = ContestSettings(("supervised",), num_held_out=2, num_tuning=2, num_steps=1, num_gate=2)
    with pytest.raises(OptionError, match="known factors for the supervised ceiling; got a CellReader"):
        contest(context.model, found, ceiling, judge=reader)


def test_a_pca_may_see_as_many_samples_as_the_products_of_ours_pay_for(context):
    """Four passes a network call, one call from T to .8: a sample costs 5."""
    found = discovered(context)
    products = sum(basis.products.total for basis in found.bases)
    assert num_pca(found, num_steps=5) == (products + 4 * 3) // 5


def test_costs_are_those_of_the_counters(context):
    """Ours: products of its bases and one network pass a sample, from T to .8. A PCA: passes that hooks saw."""
    found, reader = discovered(context), reader_of(context)
    methods = ("ours", "rotated", "eps", "pca perturbed", "pca of h", "random h", "random network")
    settings = ContestSettings(methods, num_held_out=2, num_tuning=2, num_steps=1, num_gate=2, num_pca=7)
    costs = {each.method: each.cost for each in contest(context.model, found, settings, judge=reader)}
    products = sum(basis.products.total for basis in found.bases)
    assert costs["ours"] == costs["rotated"] == Cost(encoder_products=products, network_passes=3)
    assert costs["pca of h"] == Cost(encoder_passes=7, network_passes=7)
    assert costs["random h"] == Cost()
    assert costs["eps"].network_products > 0 == costs["eps"].encoder_products
    assert costs["eps"].network_passes == 2  # samples, at least two
    assert costs["random network"].encoder_products > 0
    assert costs["random network"].network_passes == 3
    assert costs["pca perturbed"] == Cost(encoder_passes=3 * max(2, products // 3), network_passes=3)


def test_a_rival_gets_as_many_samples_as_the_work_of_ours_pays_for(context, monkeypatch):
    """One of its samples is made first, to see what it costs; ours has three."""
    found, reader = discovered(context), reader_of(context)
    settings = ContestSettings(("eps",), num_held_out=2, num_tuning=2, num_steps=1, num_gate=2)
    products = sum(basis.products.total for basis in found.bases)
    own = products + NETWORK_OVER_ENCODER * 3  # with a pass of the network for each sample, from T to .8
    for each, num in ((own // 3, 3), (own / 2.4, 2), (own, 2), (own / 9, 3)):
        asked = []

        def estimated(name, task, each=each, asked=asked):
            asked.append(len(task.samples))
            cost = Cost(encoder_products=round(each - NETWORK_OVER_ENCODER))
            return dataclasses.replace(estimate(name, task), cost=cost)

        monkeypatch.setattr("pullback.api.contest.estimate", estimated)
        contest(context.model, found, settings, judge=reader)
        assert asked == [1, num]


def test_without_factors_a_number_shows_in_its_cell(context):
    reader = reader_of(context)
    places = reader.places(np.zeros((2, 48)))
    assert places.shape == (2, 48, 8, 8)
    assert places.sum(axis=(2, 3)).tolist() == [[4] * 48] * 2
    for i in (0, 17, 47):
        x0 = torch.zeros(1, 3, 8, 8)
        still = reader.factors(x0)
        moved = reader.factors(x0 + 0.5 * torch.tensor(places[0, i]))
        changed = np.abs(moved - still)[0] > 1e-3
        assert changed.nonzero()[0].tolist() == list(range(i - i % 3, i - i % 3 + 3))


def test_what_the_pca_of_perturbations_says_it_took_is_what_hooks_see(context):
    model = context.model
    x = model.sample_latent(t_fraction=0.8, seeds=range(3), num_steps=2)
    task = Task(model, x, model.time(t_fraction=0.8), rank=2, num_perturbations=5)
    with counted(model.network) as passes:
        cost = estimate("pca_perturbed", task).cost
    assert passes.finished == 0
    assert cost.encoder_passes == 15
    assert passes.early == 15 + 2  # the map itself looks up the shape of h with two
