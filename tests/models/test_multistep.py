import pytest
import torch

from pullback.errors import OptionError
from pullback.models import FlowSchedule, KarrasSchedule, denoise, denoise_multistep, gaussian_denoiser, toy_denoiser

CASES = {
    "epsilon": {"prediction": "epsilon"},
    "v_prediction": {"prediction": "v_prediction"},
    "sample": {"prediction": "sample"},
    "flow": {"prediction": "flow", "schedule": FlowSchedule()},
}


def exact(den, t):
    """Latents at t and the clean samples that the exact flow takes them to, on a Gaussian."""
    alpha, sigma = den.amounts(t)
    mean, variance = den.network.mean, den.network.variance
    noise = den.draw(range(8))
    return alpha * mean + (alpha**2 * variance + sigma**2).sqrt() * noise, mean + variance.sqrt() * noise


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_half_of_the_steps_end_nearer_to_the_exact_walk_than_ddim(case):
    den = gaussian_denoiser(**case)
    t = den.schedule.timestep(0.8)
    x, x0 = exact(den, t)
    error = (denoise_multistep(den, x, t, num_steps=10) - x0).norm()
    assert error < (denoise(den, x, t, num_steps=20) - x0).norm()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_error_falls_faster_than_one_over_steps(case):
    den = gaussian_denoiser(**case)
    t = den.schedule.timestep(0.8)
    x, x0 = exact(den, t)
    coarse, fine = ((denoise_multistep(den, x, t, num_steps=n) - x0).norm() for n in (15, 60))
    assert coarse / fine > 5  # DDIM: 4


def test_one_step_is_that_of_ddim():
    den = toy_denoiser()
    x = den.draw([0, 1])
    assert torch.allclose(denoise_multistep(den, x, 700, num_steps=1), denoise(den, x, 700, num_steps=1), atol=1e-6)


def test_a_flow_may_start_at_pure_noise_and_karras_levels_are_walked_too():
    for den in (gaussian_denoiser(**CASES["flow"]), gaussian_denoiser(prediction="sample", schedule=KarrasSchedule())):
        x = den.sample_latent(t_fraction=1.0, seeds=range(3))
        x0 = denoise_multistep(den, x, den.schedule.timestep(1.0), num_steps=20)
        assert bool(x0.isfinite().all())
        assert (x0 - denoise(den, x, den.schedule.timestep(1.0), num_steps=400)).abs().max() < 0.1


def test_steps_grow_shorter_towards_the_picture_and_are_even_by_default():
    schedule = toy_denoiser().schedule
    even, uneven = (
        [here - (there or 0) for here, there in schedule.steps(800, 8, power=power)] for power in (1.0, 1.3)
    )
    assert even == [100] * 8
    assert uneven == sorted(uneven, reverse=True)
    assert sum(uneven) == 800
    with pytest.raises(OptionError):
        denoise_multistep(toy_denoiser(), toy_denoiser().draw([0]), 800, num_steps=0)
