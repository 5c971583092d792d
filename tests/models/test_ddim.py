import pytest
import torch

from pullback.errors import NumericalError, OptionError
from pullback.models import FlowSchedule, KarrasSchedule, denoise, gaussian_denoiser, invert, toy_denoiser

CASES = {
    "epsilon": {"prediction": "epsilon"},
    "v_prediction": {"prediction": "v_prediction"},
    "sample": {"prediction": "sample"},
    "flow": {"prediction": "flow", "schedule": FlowSchedule()},
}


def round_trip_error(den, num_steps, iterations=0):
    t = den.schedule.timestep(0.8)
    x0 = den.network.mean + den.network.variance.sqrt() * den.draw(range(4))
    x = invert(den, x0, t, num_steps=num_steps, fixed_point_iterations=iterations)
    return ((denoise(den, x, t, num_steps=num_steps) - x0).norm() / x0.norm()).item()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_law26_inversion(case):
    """The error of plain inversion falls as 1 / steps; fixed-point iteration is far below it."""
    den = gaussian_denoiser(**case)
    coarse, fine = round_trip_error(den, 50), round_trip_error(den, 200)
    assert 3 < coarse / fine < 5
    assert round_trip_error(den, 50, iterations=10) < 0.01 * fine


def test_law26_holds_on_a_network():
    den = toy_denoiser(dtype=torch.float64)
    x0 = 0.5 * den.draw([0, 1])
    plain, fixed = (invert(den, x0, 600, num_steps=10, fixed_point_iterations=n) for n in (0, 30))
    errors = [(denoise(den, x, 600, num_steps=10) - x0).norm() / x0.norm() for x in (plain, fixed)]
    assert errors[1] < 1e-3 * errors[0]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_denoising_takes_gaussian_noise_to_the_data(case):
    """The exact flow maps x_T to ``mean + std x_T``: the probability-flow ODE of a Gaussian."""
    den = gaussian_denoiser(**case)
    xT, top = den.draw(range(8)), den.schedule.timestep(1.0)
    x0 = denoise(den, xT, top, num_steps=500)
    assert (x0 - den.network.mean - den.network.variance.sqrt() * xT).abs().max() < 0.03


def test_karras_levels_are_walked_too():
    den = gaussian_denoiser(prediction="sample", schedule=KarrasSchedule())
    x = den.sample_latent(t_fraction=1.0, seeds=range(3))
    x0 = denoise(den, x, 80.0, num_steps=200)
    assert (x0 - den.network.mean - den.network.variance.sqrt() * x / 80).abs().max() < 0.05


def test_one_walk_in_two_parts_and_one_at_a_time():
    den = toy_denoiser(dtype=torch.float64)
    x = den.draw([1, 2])
    whole = denoise(den, x, 800, num_steps=8)
    middle = denoise(den, x, 800, num_steps=4, until=400)
    torch.testing.assert_close(denoise(den, middle, 400, num_steps=4), whole, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(denoise(den, x[1:], 800, num_steps=8), whole[1:], atol=1e-12, rtol=1e-12)
    assert den.num_calls == 24


def test_each_step_is_one_call_and_each_iteration_one_more():
    den = gaussian_denoiser()
    invert(den, den.draw([0]), 500, num_steps=5, fixed_point_iterations=2)
    assert den.num_calls == 15


def test_law27_noise_put_back_is_seeded_and_off_by_default():
    den = gaussian_denoiser()
    x = den.draw([0])

    def stochastic(seed):
        return denoise(den, x, 900, num_steps=10, eta=1.0, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(stochastic(0), stochastic(0))
    assert not torch.equal(stochastic(0), stochastic(1))
    assert torch.equal(denoise(den, x, 900, num_steps=10), denoise(den, x, 900, num_steps=10, eta=0.0))
    with pytest.raises(OptionError, match=r"eta in \[0, 1\], with a generator if positive; got eta = 1.0"):
        denoise(den, x, 900, eta=1.0)


def test_stochastic_steps_keep_the_variance_of_the_data():
    den = gaussian_denoiser()
    x = den.draw(range(4000))
    x0 = denoise(den, x, 999, num_steps=100, eta=1.0, generator=torch.Generator().manual_seed(0))
    assert ((x0.std(0) / den.network.variance.sqrt()) - 1).abs().max() < 0.1


def test_guided_walks_run(build):
    model, _ = build("stable_diffusion")
    x, guided = model.draw([0]), model.cond(prompt="a", guidance=7.5)
    there = denoise(model, x, 500, num_steps=3, cond=guided)
    assert there.isfinite().all()
    assert not torch.allclose(there, denoise(model, x, 500, num_steps=3, cond=model.cond(prompt="a")))


def test_errors():
    den = gaussian_denoiser()
    with pytest.raises(NumericalError, match="finite latents; got NaN or infinity in x"):
        denoise(den, den.draw([0]) * torch.nan, 500)
    with pytest.raises(OptionError, match="fixed_point_iterations >= 0; got -1; 0 is plain DDIM inversion"):
        invert(den, den.draw([0]), 500, fixed_point_iterations=-1)
