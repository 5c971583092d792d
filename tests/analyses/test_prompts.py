"""Tangent spaces of prompts: the law of text on a real pipeline at toy size, and what is said on planted distances."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import pullback
from pullback.analyses import SIZES, Size, analyze
from pullback.analyses.catalogue import chosen, claims, most_bases
from pullback.analyses.context import Context
from pullback.analyses.figures import prompts
from pullback.analyses.figures.prompts import draw, fades, num_bases, prompt_distances, run, similar
from pullback.analyses.pairs import permuted, related, spearman
from pullback.analyses.record import read_csv, write_csv
from pullback.analyses.texts import similarities, text_conditions
from pullback.cli import main
from pullback.directions import local_basis
from pullback.errors import MismatchError, ModelError, OptionError
from pullback.geometry import Plan
from pullback.geometry.plan import counted_products
from pullback.models import Condition, toy_denoiser
from tests.models.conftest import stable_diffusion

TINY = Size(3, 2, 2, 2, 1, 1, 2, (0.8, 0.4), 4, 2)
PLAN = Plan.fixed()
PROMPTS = ("a b", "a c", "x", "y z")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return pullback.load(stable_diffusion())


@pytest.fixture(scope="module")
def outcome(model):
    return run(Context(model, TINY, prompts=PROMPTS))


def table(values):
    """A symmetric table `(P, P)` out of one number a member: differences."""
    return np.abs(np.subtract.outer(values, values))


def exact_distances(texts, *, is_deaf=False):
    """Distances `(1, P, P)` in float64, the search of each prompt begun elsewhere."""
    torch.manual_seed(0)
    model = pullback.load(stable_diffusion(), dtype=torch.float64)
    if is_deaf:
        for name, weight in model.network.named_parameters():
            if "attn2.to_out" in name:
                weight.data.zero_()
    x = model.sample_latent(t_fraction=0.8, seed=0, num_steps=2)
    bases = []
    for seed, prompt in enumerate(texts):
        f = model.feature_map(t_fraction=0.8, cond=model.cond(prompt=prompt))
        generator = torch.Generator().manual_seed(seed)
        bases.append([local_basis(f, x, rank=2, tol=1e-9, generator=generator, plan=PLAN)])
    return prompt_distances(bases)


def test_law25_identical_prompts_have_one_space_and_others_have_not():
    found = exact_distances(("a b", "a b", "x"))[0]
    assert found[0, 1] < 1e-6
    assert min(found[0, 2], found[1, 2]) > 1e-3


def test_law25_without_cross_attention_all_prompts_have_one_space():
    assert exact_distances(("a b", "x", "y z"), is_deaf=True).max() < 1e-6


def test_only_the_condition_may_differ(model):
    x = model.sample_latent(t_fraction=0.8, seeds=[0], num_steps=2)
    f, other = (model.feature_map(t_fraction=t, cond=model.cond(prompt="x")) for t in (0.8, 0.4))
    with pytest.raises(MismatchError, match="bases of one feature map; got t 800 and 400"):
        prompt_distances([[local_basis(each, x, rank=2, plan=PLAN)] for each in (f, other)])


def test_the_cosine_is_that_of_means_over_tokens():
    states = (torch.tensor([[[2.0, 0.0], [0.0, 2.0]]]), torch.tensor([[[3.0, 0.0], [5.0, 0.0]]]))
    found = similarities([Condition({"encoder_hidden_states": each}) for each in states])
    assert np.allclose(found, [[1, 0.5**0.5], [0.5**0.5, 1]])


def test_closeness_of_similar_prompts_is_shown_with_its_sign():
    place = np.array([0.0, 1.0, 2.5, 4.5, 7.0, 10.0, 13.5, 18.0])
    shown = similar(table(place), -table(place))
    assert (shown.effect, shown.verdict, shown.num) == (pytest.approx(1.0), "shown", 8)
    assert similar(table(place), table(place)).verdict == "the opposite is shown"
    other = np.random.default_rng(0).permutation(place)
    assert similar(table(place), -table(other)).verdict == "not shown at this size"
    assert similar(table(place[:5]), -table(place[:5])).verdict == "not shown at this size"


def test_the_correlation_is_scipys_and_shuffled_ones_lie_about_zero():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 4, 12).astype(float), rng.normal(size=12)
    assert spearman(a, b) == pytest.approx(np.asarray(spearmanr(a, b))[0])
    first, second = table(rng.normal(size=7)), table(rng.normal(size=7))
    upper = np.triu_indices(7, 1)
    drawn = permuted(first, second)
    assert abs(drawn.mean()) < 0.05
    assert np.quantile(drawn, 0.025) < -0.2 < 0.2 < np.quantile(drawn, 0.975)
    assert related(first, second)[0] == pytest.approx(np.asarray(spearmanr(first[upper], second[upper]))[0])
    assert permuted(first, first).max() <= 1 + 1e-9


def test_equal_embeddings_are_no_correlation():
    assert related(table(np.arange(4.0)), np.ones((4, 4))) == (0.0, 0.0, 0.0)


def test_fading_is_early_minus_late_over_pairs_of_different_prompts():
    rng = np.random.default_rng(0)
    early = np.stack([table(np.arange(6.0) + 0.1 * rng.normal(size=6)) for _ in range(7)])
    found = fades(2 * early, early)
    assert found.effect == pytest.approx(early[:, *np.triu_indices(6, 1)].mean())
    assert (found.verdict, found.num) == ("shown", 6)
    assert fades(early, 2 * early).verdict == "the opposite is shown"
    assert (fades(early, early).low, fades(early, early).high) == (0.0, 0.0)


def test_a_run_has_every_pair_sample_and_timestep_and_answers_its_claims(model, outcome):
    assert len(outcome.rows) == 6 * 3 * 2
    assert {found.claim for found in outcome.findings} == {c.name for c in claims().values() if c.figure == "prompts"}
    assert all(0 < row["distance"] < 2**0.5 * 1.5708 for row in outcome.rows)
    assert all(row["matched_null"] > 0 for row in outcome.rows)
    assert all(-1 <= row["shuffled_low"] <= row["shuffled_high"] <= 1 for row in outcome.rows)
    assert outcome.num == 3
    assert all(found.verdict == "not shown at this size" for found in outcome.findings)
    assert num_bases(TINY) * len(PROMPTS) == 24
    assert "prompts" not in chosen([])


def test_the_plot_comes_from_the_table_alone(outcome, tmp_path):
    write_csv(tmp_path / "prompts.csv", outcome.rows)
    left, middle, right = draw(read_csv(tmp_path / "prompts.csv")).axes
    assert np.size(left.lines[0].get_xdata()) == 6
    assert len(middle.lines) == 3
    early = [row["distance"] for row in outcome.rows if row["t_fraction"] == 0.8]
    assert np.asarray(right.lines[0].get_ydata())[0] == pytest.approx(np.mean(early), rel=1e-4)


def test_bases_of_prompts_are_kept_apart_in_the_bank(model, tmp_path):
    context = Context(model, TINY, prompts=PROMPTS, bank=tmp_path)
    x = context.latents(0.8, 1)
    first, second = (context.feature_map(0.8, cond=cond) for cond in text_conditions(model, PROMPTS)[:2])
    own = context.bases(first, x)[0]
    with counted_products() as tally:
        other = context.bases(second, x)[0]
    assert tally.products.total > 0
    again = context.bases(first, x)[0]
    assert torch.equal(own.u, again.u)
    assert not torch.equal(own.u, other.u)


def test_other_prompts_are_computed_anew_and_the_same_are_not(model, outcome, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(prompts, "run", lambda context: made.append(context.prompts) or outcome)
    page = analyze(model, tmp_path, size=TINY, only=["prompts"], prompts=PROMPTS).read_text()
    assert "id='prompts'" in page
    assert "not tested: the figure samples was not made" in page
    analyze(model, tmp_path, size=TINY, only=["prompts"], prompts=PROMPTS)
    assert made == [PROMPTS]
    analyze(model, tmp_path, size=TINY, only=["prompts"], prompts=PROMPTS[:3])
    assert made == [PROMPTS, PROMPTS[:3]]
    assert most_bases("prompts", TINY, num_prompts=4) == 24


def test_the_option_reaches_the_figure(outcome, tmp_path, monkeypatch, capsys):
    made = []
    torch.manual_seed(0)
    stable_diffusion().save_pretrained(tmp_path / "model")
    monkeypatch.setattr(prompts, "run", lambda context: made.append(context.prompts) or outcome)
    monkeypatch.setitem(SIZES, "quick", TINY)  # pyright: ignore[reportArgumentType]
    words = ["analyze", str(tmp_path / "model"), "--out", str(tmp_path / "out"), "--quick", "--only", "prompts"]
    assert main([*words, "--prompts", " a b; a c ;x;"]) == 0
    assert made == [("a b", "a c", "x")]
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'out' / 'analysis.html'}\n"
    assert "at most 18 of rank 2" in captured.err


def test_the_option_on_a_model_without_text(toy_folder, tmp_path, capsys):
    words = ["analyze", str(toy_folder), "--out", str(tmp_path / "out"), "--prompts", "a;b;c"]
    assert main([*words, "--only", "prompts"]) == 2
    assert "wanted a model that takes prompts, for the figure prompts" in capsys.readouterr().err
    assert main([*words, "--only", "samples"]) == 2
    assert "wanted the figure prompts for the prompts" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_prompts_that_cannot_be_compared(model):
    with pytest.raises(OptionError, match=r"3 or more prompts; got 2; --prompts"):
        text_conditions(model, ["a", "b"])
    with pytest.raises(OptionError, match=r"prompts that differ; got 'a b' and 'a  b', one to the text encoder; leave"):
        text_conditions(model, ["a b", "x", "a  b"])
    with pytest.raises(ModelError, match=r"a model that takes prompts, .*; got .*which does not; give a text-to-image"):
        text_conditions(pullback.load(toy_denoiser()), PROMPTS)
