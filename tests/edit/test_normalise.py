import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pullback.edit.normalise import match_moments, normalise
from pullback.errors import NumericalError, OptionError, ShapeError
from pullback.models import FlowSchedule, VPSchedule, gaussian_denoiser, toy_denoiser, wrap_module

KAPPA = 0.99
VP = VPSchedule.from_betas(torch.linspace(1e-4, 0.02, 1000))


SEEDS = st.integers(0, 1_000_000)


def follows_x(schedule, prediction):
    """A network that returns kappa x: where the factor of the formula is exact."""
    return wrap_module(
        torch.nn.Identity(),
        schedule=schedule,
        prediction=prediction,
        x_shape=(3, 4, 4),
        call=lambda network, x, t, cond: KAPPA * x,
    )


def latents(num=2, shape=(3, 4, 4), *, seed=0):
    return torch.randn(num, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("anchor", ["original", "edited"])
@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_law20_no_edit_stays_no_edit(anchor, seed):
    den = toy_denoiser(dtype=torch.float64)
    x = den.draw([seed, seed + 1])
    torch.testing.assert_close(normalise(den, x, x, 600, anchor=anchor), x, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("per", ["all", "channel"])
@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_law20_moments_are_met(per, seed):
    sample, reference = 3 * latents(seed=seed) + 1, latents(seed=seed).flip(0)
    axes = (1, 2, 3) if per == "all" else (2, 3)
    matched = match_moments(sample, reference, per=per)
    torch.testing.assert_close(matched.mean(axes), reference.mean(axes), atol=1e-10, rtol=0)
    torch.testing.assert_close(matched.std(axes), reference.std(axes), atol=1e-10, rtol=0)


@pytest.mark.parametrize("anchor", ["original", "edited"])
@pytest.mark.parametrize(
    ("schedule", "prediction"), [(VP, "epsilon"), (FlowSchedule(), "flow")], ids=["eps = kappa x", "u = kappa x"]
)
@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_law20_exact_where_the_prediction_follows_x(schedule, prediction, anchor, seed):
    den = follows_x(schedule, prediction)
    x, t = latents(seed=seed), schedule.timestep(0.5)
    y = x + 0.7 * latents(seed=seed + 1)
    wanted = match_moments(den.x0(y, t), den.x0(x, t))
    torch.testing.assert_close(den.x0(normalise(den, x, y, t, anchor=anchor), t), wanted, atol=1e-10, rtol=1e-10)


@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_law20_the_edited_anchor_leaves_alone_what_needs_no_repair(seed):
    den = follows_x(VP, "epsilon")
    x = latents(seed=seed)
    y = x.flip(-1)  # another latent, whose x0-prediction has the moments of x's
    torch.testing.assert_close(normalise(den, x, y, 500, anchor="edited"), y, atol=1e-10, rtol=0)


def test_channels_lose_their_colour_edits_only_when_asked():
    den = follows_x(VP, "epsilon")
    x = latents()
    y = x.clone()
    y[:, 0] += 0.5

    def drift(per):
        x_new = normalise(den, x, y, 500, anchor="edited", per=per)
        return (den.x0(x_new, 500) - den.x0(x, 500)).mean((2, 3)).abs().max()

    assert drift("channel") < 1e-10
    assert drift("all") > 0.05


def test_constant_predictions_get_the_mean():
    flat = torch.zeros(1, 1, 2, 2)
    assert torch.equal(match_moments(flat, flat + 2), flat + 2)


def test_a_known_x0_saves_a_call():
    den = gaussian_denoiser()
    x, y = den.draw([0]), den.draw([1])
    x0 = den.x0(x, 500)
    given = normalise(den, x, y, 500, x0=x0)
    assert den.num_calls == 2
    assert torch.equal(given, normalise(den, x, y, 500))


def test_little_signal_warns_and_none_raises():
    x = latents(1, (1, 4, 4))
    with pytest.warns(RuntimeWarning, match=r"at t = 990 stands on an x0-prediction from 4.\de-05 of signal \(abar\)"):
        normalise(gaussian_denoiser(), x, x, 990)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        normalise(gaussian_denoiser(), x, x, 800)
    den = gaussian_denoiser(prediction="v_prediction", schedule=VPSchedule(torch.tensor([0.9, 0.0])))
    with pytest.raises(NumericalError, match=r"abar > 0 at t; got abar = 0 at t = 1; edit at a smaller t_fraction"):
        normalise(den, x, x, 1)


def test_errors():
    den = gaussian_denoiser()
    x = den.draw([0, 1])
    with pytest.raises(ShapeError, match=r"y of x's shape \(2, 1, 4, 4\); got \(1, 1, 4, 4\); repeat x for each edit"):
        normalise(den, x, x[:1], 500)
    with pytest.raises(OptionError, match=r"anchor original or edited; got 'middle'"):
        normalise(den, x, x, 500, anchor="middle")
    with pytest.raises(OptionError, match=r"per all or channel; got 'pixel'"):
        normalise(den, x, x, 500, per="pixel")
    with pytest.raises(OptionError, match=r"kappa in \[0, 1\); got 1; the published constant is 0.99"):
        normalise(den, x, x, 500, kappa=1)


def test_law20_anchors_differ_where_the_prediction_does_not_follow_x():
    """Where eps = 0, x0 = x / alpha: with its moments unchanged "edited" keeps y, and "original" overshoots."""
    den = wrap_module(
        torch.nn.Identity(),
        schedule=VP,
        prediction="epsilon",
        x_shape=(3, 4, 4),
        call=lambda network, x, t, cond: torch.zeros_like(x),
    )
    x, t = latents(), 500
    y = x.flip(-1)
    torch.testing.assert_close(normalise(den, x, y, t, anchor="edited"), y, atol=1e-10, rtol=1e-10)
    overshoot = 1 / (1 - KAPPA * VP.sigma(t))
    torch.testing.assert_close(
        normalise(den, x, y, t, anchor="original"), x + overshoot * (y - x), atol=1e-10, rtol=1e-10
    )
