"""The comparison of models of simple and rich data, on toys, and what is said when they are not there."""

import pytest

import pullback
from pullback import load
from pullback.analyses import FIGURES, Size, analyze
from pullback.analyses.catalogue import chosen, claims
from pullback.analyses.context import Context
from pullback.analyses.figures.complexity import consistency, draw, num_bases, siblings_in
from pullback.analyses.run import ready, siblings_of
from pullback.errors import ModelError
from pullback.models import toy_denoiser
from pullback.portraits.factors import NAMES
from pullback.portraits.siblings import VARYING, recipes

TINY = Size(3, 2, 2, 2, 1, 1, 2, (0.8, 0.4), 4, 2)


@pytest.fixture(scope="module")
def model():
    return pullback.load(toy_denoiser())


def test_the_same_models_on_both_levels_differ_by_nothing(model):
    context = Context(model, TINY)
    outcome = consistency(context, {"few": [model], "many": [model]})
    found = outcome.findings[0]
    assert (found.effect, found.low, found.high) == (0.0, 0.0, 0.0)
    assert found.verdict == "not shown at this size"
    assert draw(outcome.rows).axes
    assert len(outcome.rows) == 2 * 3  # levels, samples; every second of two timesteps
    assert all(0 < row["distance"] < 2**0.5 * 1.5708 for row in outcome.rows)


def test_it_answers_its_claim_and_counts_its_bases(model):
    other = pullback.load(toy_denoiser(seed=1))
    context = Context(model, TINY)
    outcome = consistency(context, {"few": [model, model], "many": [other, other]})
    assert {each.claim for each in outcome.findings} == {c.name for c in claims().values() if c.figure == "complexity"}
    assert context.num_bases == num_bases(TINY)
    assert "differ by 0.00 (few), 0.00 (many)" in outcome.note


def test_it_is_made_where_there_are_siblings_or_it_is_named(model):
    assert "complexity" not in FIGURES
    assert "complexity" not in chosen([], ready=ready(siblings=siblings_of(model)))
    assert "complexity" in chosen([], ready=ready(siblings=siblings_of(load("portraits"))))
    assert chosen(["masks", "complexity"]) == ("complexity", "masks")


def test_without_models_it_says_which_command_makes_them(model, tmp_path):
    with pytest.raises(ModelError, match=r"few-\* and many-\*.*got no folder; `python -m pullback.portraits siblings"):
        siblings_in(None)
    (tmp_path / "few-0").mkdir()
    with pytest.raises(ModelError, match="none of many in"):
        siblings_in(tmp_path)
    with pytest.raises(ModelError, match="no folder"):
        analyze(model, tmp_path / "out", only=["complexity"], size=TINY)


def test_siblings_of_a_seed_differ_in_their_pictures_alone():
    made = recipes()
    assert [made["few-0"].seed, made["few-1"].seed] == [made["many-0"].seed, made["many-1"].seed]
    assert made["few-0"].seed != made["few-1"].seed
    assert made["many-0"].fixed == ()
    assert {*made["few-0"].fixed} == {*NAMES} - {*VARYING}
    assert len({recipe.channels for recipe in made.values()}) == 1
