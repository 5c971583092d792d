"""The figures of the model card, on stand-ins for a denoiser whose samples are known."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from pullback.portraits import quality as module
from pullback.portraits.factors import sample
from pullback.portraits.judge import load_judge
from pullback.portraits.oracle import to_clean
from pullback.portraits.quality import quality
from pullback.portraits.renderer import render
from pullback.portraits.train import Recipe, pictures_of

NUM = 8
RECIPE = Recipe(num_pictures=20, seed=3)


@pytest.fixture(scope="module")
def judge():
    return load_judge()


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """What the network of this recipe is really trained on, out of the network's layout and of 8 bits."""
    inside = pictures_of(RECIPE, tmp_path_factory.mktemp("run"))
    return torch.nn.functional.pixel_shuffle(inside, 2).float() / 127.5 - 1


def measured(x0, judge, recipe=RECIPE):
    """The figures of a denoiser that draws `x0`."""
    return quality(SimpleNamespace(sample_latent=lambda **settings: x0), judge, recipe, num=len(x0))


def test_fresh_portraits_are_as_good_as_real_ones_and_no_copies(judge):
    found = measured(to_clean(render(sample(NUM, seed=123))), judge)
    assert found.share_inside > 0.6
    assert found.residual == pytest.approx(found.residual_real, rel=0.5)
    assert found.nearest == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("mirror", [False, True])
def test_a_copy_of_any_training_picture_or_of_its_mirror_image_is_found(judge, training, monkeypatch, mirror):
    monkeypatch.setattr(module, "BLOCK", 6)  # the last ones lie in the fourth block
    copies = training[-NUM:]
    assert measured(copies.flip(-1) if mirror else copies, judge).nearest < 0.05


def test_a_copy_from_another_run_is_none(judge, training):
    assert measured(training[-NUM:], judge, replace(RECIPE, seed=4)).nearest > 0.5


def test_factors_that_a_recipe_holds_are_held_in_what_is_searched(judge):
    few = replace(RECIPE, fixed=("glasses", "yaw"))
    copies = torch.cat(list(module._training_pictures(few)))[:NUM]
    assert measured(copies, judge, few).nearest < 0.05
    assert measured(copies, judge).nearest > 0.2


def test_noise_is_outside_and_shares_are_shares(judge):
    noise = torch.rand(NUM, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = measured(noise, judge)
    assert found.share_inside == 0
    assert found.residual > 3 * found.residual_real
    assert found.ks.shape == (16,)
    assert 0 <= found.ks.min() <= found.ks.max() <= 1
    assert found.ks.max() > 0.7
    assert 0 <= found.ks_floor <= 1
