import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pullback.edit import PRESETS, one_step, x_guidance
from pullback.errors import NumericalError, OptionError, ShapeError
from pullback.geometry.jacobian import JacobianAt
from pullback.models import FlowSchedule, gaussian_denoiser, toy_denoiser

PARAMETRISATIONS = ("epsilon", "v_prediction", "sample", "flow")
SEEDS = st.integers(0, 1_000_000)


def unit(den, seed=9):
    v = den.draw([seed])[0]
    return v / v.norm()


def test_law09_no_step_is_the_identity():
    den = toy_denoiser(dtype=torch.float64)
    x = den.draw([0, 1])
    assert torch.equal(one_step(x, unit(den), 0.0), x)


@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_law09_the_remainder_of_a_step_has_slope_two(seed):
    den = toy_denoiser(dtype=torch.float64)
    f, x, v = den.feature_map(t_fraction=0.8), den.draw([seed]), unit(den, seed + 1)
    push = JacobianAt(f, x[0]).jvp(v[None]).reshape(1, *f.h_shape)
    sizes = [2.0**-power for power in (4, 5, 6, 7, 8)]
    with torch.no_grad():
        rest = [(f(one_step(x, v, g)) - f(x) - g * push).norm().item() for g in sizes]
    slopes = [math.log2(rest[i] / rest[i + 1]) for i in range(4)]
    assert abs(slopes[-1] - 2) < 0.1


@given(g=st.lists(st.floats(-10, 10), min_size=3, max_size=3))
@settings(max_examples=20, deadline=None)
def test_steps_of_a_batch_are_those_of_its_rows(g):
    x, v = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    together = one_step(x, v, torch.tensor(g))
    assert torch.equal(together, torch.cat([one_step(x[i : i + 1], v[i], g[i]) for i in range(3)]))


@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_law10_equal_edits_in_four_parametrisations(seed):
    models = [gaussian_denoiser(prediction=name) for name in PARAMETRISATIONS]
    x, v = models[0].draw([seed, seed + 1]), unit(models[0], seed + 2)
    edits = [x_guidance(den, x, 700, v, step=1.0, weight=0.5, num_iterations=8) for den in models]
    assert (edits[0] - x).norm() > 0.1
    for other in edits[1:]:
        torch.testing.assert_close(other, edits[0], atol=1e-10, rtol=0)


@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_law10_on_a_flow(seed):
    models = [gaussian_denoiser(prediction=name, schedule=FlowSchedule()) for name in PARAMETRISATIONS]
    x, v = models[0].draw([seed, seed + 1]), unit(models[0], seed + 2)
    edits = [x_guidance(den, x, 700.0, v, weight=0.5, num_iterations=8) for den in models]
    for other in edits[1:]:
        torch.testing.assert_close(other, edits[0], atol=1e-10, rtol=0)


def test_law10_moves_along_v_and_as_the_noise_says():
    """On a Gaussian ``eps(x + d v) - eps(x) = d sigma / (alpha^2 var + sigma^2) v``."""
    den = gaussian_denoiser()
    x, v = den.draw([0]), unit(den)
    alpha, sigma = den.amounts(700)
    gain = sigma / (alpha**2 * den.network.variance + sigma**2)
    moved = x_guidance(den, x, 700, v, step=2.0, weight=0.3, num_iterations=5)
    torch.testing.assert_close(moved - x, 5 * 0.3 * 2.0 * (gain * v)[None], atol=1e-12, rtol=1e-12)


def test_law10_weight_zero_is_the_identity_and_a_step_costs_two_calls():
    den = toy_denoiser(dtype=torch.float64)
    x = den.draw([0, 1])
    assert torch.equal(x_guidance(den, x, 700, unit(den), weight=0.0, num_iterations=3), x)
    assert den.num_calls == 6
    calls = []
    den.network.register_forward_hook(lambda *call: calls.append(call))
    x_guidance(den, x, 700, unit(den), num_iterations=4)
    assert len(calls) == 8


def test_law10_weights_for_each_row():
    den = toy_denoiser(dtype=torch.float64)
    x, v = den.draw([0, 1]), unit(den)
    both = x_guidance(den, x, 700, v, weight=torch.tensor([0.0, 0.4]), num_iterations=2)
    assert torch.equal(both[0], x[0])
    torch.testing.assert_close(both[1:], x_guidance(den, x[1:], 700, v, weight=0.4, num_iterations=2))


def test_published_presets():
    celeba = PRESETS["celebahq-256"]
    assert (celeba.step, celeba.weight, celeba.num_iterations, celeba.t_fractions) == (1.0, 0.1, 16, (1.0, 0.8, 0.6))
    prompted = PRESETS["stable-diffusion-2.1-base, with a prompt"]
    assert (prompted.weight, prompted.num_iterations, prompted.t_fractions) == (1.0, 64, (0.7, 0.6))


def test_errors():
    den = gaussian_denoiser()
    x, v = den.draw([0, 1]), unit(den)
    with pytest.raises(ShapeError, match=r"v of shape \(1, 4, 4\) or \(2, 1, 4, 4\); got \(3, 1, 4, 4\)"):
        one_step(x, v.expand(3, 1, 4, 4), 1.0)
    with pytest.raises(ShapeError, match=r"one step a latent, shape \(2,\), or a number; got \(3,\)"):
        one_step(x, v, torch.ones(3))
    with pytest.raises(NumericalError, match=r"v of unit length; got \|v\| = 2; divide it by its norm"):
        x_guidance(den, x, 700, 2 * v)
    with pytest.raises(OptionError, match=r"num_iterations >= 0; got -1; use -v for the other side"):
        x_guidance(den, x, 700, v, num_iterations=-1)
