"""What one model draws and the other does not, though its encoder sees it: found, and not where nothing is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pullback.api import load
from pullback.api.compare import compare
from pullback.api.model import Model
from pullback.errors import OptionError, ShapeError
from pullback.geometry import Plan
from pullback.measure.compare_page import PageStep, compare_page, verdict
from pullback.measure.lacking import Lack, lacking
from pullback.models import VPSchedule, toy_denoiser, wrap_module

NUM, PLANTED = 64, 2
FULL = (3.0, 2.6, 2.2, 1.9, 1.6, 1.35, 1.1, 0.9, 0.4, 0.3)
MUTE = (3.0, 2.6, 0.2, 1.9, 1.6, 1.35, 1.1, 0.9, 0.4, 0.3)
OTHER_RUN = (2.7, 2.8, 2.0, 2.0, 1.5, 1.5, 1.0, 1.0, 0.5, 0.25)


class Painter(nn.Module):
    """``x0 = R diag(drawn) L^T h`` of ``h = tanh(.1 L diag(FULL) R^T x)``: all see alike, each draws what it draws."""

    def __init__(self, drawn: Sequence[float], *, run: int = 0) -> None:
        super().__init__()
        shared, own = (torch.Generator().manual_seed(seed) for seed in (7, 100 + run))
        right = torch.linalg.qr(torch.randn(48, len(drawn), generator=shared))[0]
        left = torch.linalg.qr(torch.randn(24, 24, generator=own))[0][:, : len(drawn)]
        self.inside, self.outside = nn.Linear(48, 24, bias=False), nn.Linear(24, 48, bias=False)
        self.mid_block = nn.Tanh()
        with torch.no_grad():
            self.inside.weight.copy_(0.1 * (left * torch.tensor(FULL)) @ right.mT)
            self.outside.weight.copy_((right * torch.tensor(drawn)) @ left.mT)
            self.outside.weight.add_(0.005 * torch.randn(48, 24, generator=own))  # no two runs end alike

    def forward(self, x: Tensor, t: float) -> Tensor:
        return self.outside(self.mid_block(self.inside(x.flatten(1)))).reshape(x.shape)


def painter(drawn: Sequence[float], *, run: int = 0) -> Model:
    return load(
        wrap_module(
            Painter(drawn, run=run),
            schedule=VPSchedule.from_betas(torch.linspace(1e-4, 0.02, 1000)),
            prediction="sample",
            x_shape=(3, 4, 4),
            call=lambda network, x, t, cond: network(x, t),
        )
    )


def settings(**changes: object) -> dict:
    fixed = {"num_samples": 4, "t_fractions": (0.8,), "rank": 8, "plan": Plan.fixed(chunk=16), "with_pictures": False}
    return {**fixed, **changes}


@pytest.mark.parametrize("run", [0, 1])
def test_what_is_seen_and_no_longer_drawn_is_found_from_either_side(run: int) -> None:
    (step,) = compare(painter(FULL), painter(MUTE, run=run), **settings())
    assert step.vanished.missing == (), "the encoder still responds to it"
    gone, come = (step.drawn[side].lack for side in ("vanished", "appeared"))
    assert gone.is_missing and gone.high < 0.35
    assert not come.is_missing and come.low > 0.6
    (back,) = compare(painter(MUTE, run=run), painter(FULL), **settings())
    assert back.drawn["appeared"].lack.is_missing and not back.drawn["vanished"].lack.is_missing


def test_the_order_of_latents_is_that_of_what_was_planted() -> None:
    model, mute = painter(FULL), painter(MUTE, run=1)
    x = model.sample_latent(t_fraction=0.8, seeds=range(NUM))
    with torch.no_grad():
        own, other = (each.x0(x, model.schedule.timestep(0.8)) for each in (model, mute))
    lack = lacking(own, other, generator=torch.Generator().manual_seed(0))
    right = torch.linalg.qr(torch.randn(48, len(FULL), generator=torch.Generator().manual_seed(7)))[0]
    planted = own.flatten(1) @ right[:, PLANTED]
    assert abs(np.corrcoef(planted[list(lack.order)].argsort().argsort(), np.arange(NUM))[0, 1]) > 0.9


@pytest.mark.parametrize("run", range(1, 4))
def test_other_training_seeds_raise_no_alarm(run: int) -> None:
    (step,) = compare(painter(FULL), painter(OTHER_RUN, run=run), **settings())
    assert not any(found.lack.is_missing for found in step.drawn.values())


def test_the_same_model_and_rounded_weights_lack_nothing() -> None:
    whole, rounded = load(toy_denoiser()), load(toy_denoiser())
    with torch.no_grad():
        for parameter in rounded.network.parameters():
            parameter.copy_(parameter.half().float())
    for other in (whole, rounded):
        (step,) = compare(whole, other, **settings())
        assert all(found.lack.share == pytest.approx(1, abs=0.01) for found in step.drawn.values())


def test_chance_does_not_choose_what_it_is_judged_by() -> None:
    """The same eight variations, noise of their own: shares lie about 1, as if nothing had been sought."""
    found = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        common, *noise = torch.randn(3, 32, 40, generator=generator)
        common[:, 8:] = 0
        found.append(lacking(common + 0.5 * noise[0], common + 0.5 * noise[1], generator=generator))
    assert not any(lack.is_missing for lack in found)
    assert all(lack.low <= lack.share <= lack.high for lack in found)
    assert np.mean([lack.share for lack in found]) == pytest.approx(1, abs=0.1)


def test_pictures_are_of_latents_at_both_ends_by_both_models() -> None:
    models = painter(FULL), painter(MUTE, run=1)
    (step,) = compare(*models, **settings(with_pictures=True, num_samples=3))
    x = models[0].sample_latent(t_fraction=0.8, seeds=range(NUM))
    for side, owners in (("vanished", models), ("appeared", models[::-1])):
        found = step.drawn[side]
        shown = x[[*found.lack.order[:4], *found.lack.order[-4:]]]
        pictures = [each.to_image(each.x0(shown, each.schedule.timestep(0.8)).detach()) for each in owners]
        assert found.strip is not None
        np.testing.assert_allclose(found.strip.astype(float), np.stack(pictures).astype(float), atol=1)


def test_the_verdict_and_the_page_name_it() -> None:
    (step,) = compare(painter(FULL), painter(MUTE), **settings())
    nothing: dict = {"vanished": (), "appeared": ()}
    page = PageStep(step.angles, nothing, {"vanished": {}, "appeared": {}}, step.drawn)
    assert verdict([page]).startswith("Vanished from A to B: something drawn at t = ")
    assert verdict([page]).endswith("Appeared: none.")
    text = compare_page(("a", "b"), [page], settings={}).decode()
    assert text.count("of the mixture that the other draws least, it draws") == 2
    assert text.count("<p class=missing>") == 1


def test_without_predictions_nothing_is_drawn_and_few_are_refused() -> None:
    (step,) = compare(painter(FULL), painter(MUTE), **settings(num_predictions=0))
    assert step.drawn == {}
    for num in (7, -1):
        with pytest.raises(OptionError, match="8 predictions or more, or none"):
            compare(painter(FULL), painter(MUTE), **settings(num_predictions=num))


def test_predictions_that_do_not_match_are_refused() -> None:
    with pytest.raises(ShapeError, match="predictions"):
        lacking(torch.zeros(9, 3), torch.zeros(9, 4), generator=torch.Generator())
    with pytest.raises(OptionError, match="8 latents or more"):
        lacking(torch.zeros(7, 3), torch.zeros(7, 3), generator=torch.Generator())
    still = lacking(torch.zeros(9, 3), torch.zeros(9, 3), generator=torch.Generator())
    assert (still.share, still.low, still.high, still.is_missing) == (1, 1, 1, False)
    assert isinstance(still, Lack) and sorted(still.order) == list(range(9))
