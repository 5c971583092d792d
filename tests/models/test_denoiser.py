import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pullback.errors import ModelError, NumericalError, OptionError, ShapeError
from pullback.models import (
    Condition,
    FlowSchedule,
    KarrasSchedule,
    VPSchedule,
    gaussian_denoiser,
    toy_denoiser,
    wrap_module,
)
from pullback.models.conditions import expand

SCHEDULES = {
    "vp": VPSchedule.from_betas(torch.linspace(1e-4, 0.02, 1000)),
    "flow": FlowSchedule(),
    "karras": KarrasSchedule(),
}
PREDICTIONS = ("epsilon", "v_prediction", "sample", "flow")


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_implied_x0_and_eps_agree_in_every_parametrisation(schedule, prediction):
    den = gaussian_denoiser(prediction=prediction, schedule=schedule)
    t, truth = schedule.timestep(0.6), den.network
    x = den.draw([0, 1])
    alpha, sigma = den.amounts(t)
    gain = alpha * truth.variance / (alpha**2 * truth.variance + sigma**2)
    x0 = truth.mean + gain * (x - alpha * truth.mean)
    torch.testing.assert_close(den.x0(x, t), x0, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(den.eps(x, t), (x - alpha * x0) / sigma, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(den.noise(*den.x0_and_eps(x, t)[:1], t, den.eps(x, t)), x, atol=1e-12, rtol=1e-12)


def test_a_predicted_variance_is_dropped(build):
    model, cond = build("dit")
    x = model.draw([0])
    whole = model.network(x, timestep=torch.tensor([500]), class_labels=torch.tensor([3])).sample
    assert whole.shape[1] == 8
    assert torch.equal(model.predict(x, 500, cond), whole[:, :4])


def test_latents_of_a_batch_are_those_of_its_seeds():
    den = toy_denoiser(dtype=torch.float64)
    assert torch.equal(den.sample_latent(t_fraction=1.0, seeds=[5, 6])[1], den.sample_latent(t_fraction=1.0, seed=6))
    batch = den.sample_latent(t_fraction=0.7, seeds=[5, 6, 7], chunk=2)
    alone = torch.stack([den.sample_latent(t_fraction=0.7, seed=seed) for seed in (5, 6, 7)])
    torch.testing.assert_close(batch, alone, atol=1e-12, rtol=1e-12)


def test_a_latent_has_the_same_bits_whatever_its_company():
    den = gaussian_denoiser()
    call = den.call
    den.call = lambda network, x, t, cond: call(network, x, t, cond) * (1 + 1e-7 * len(x))  # as kernels' choice does
    alone = torch.stack([den.sample_latent(t_fraction=0.7, seed=seed) for seed in (5, 6, 7)])
    assert torch.equal(den.sample_latent(t_fraction=0.7, seeds=[5, 6, 7]), alone)
    assert not torch.equal(den.sample_latent(t_fraction=0.7, seeds=[5, 6, 7], chunk=2), alone)


def test_the_way_down_to_a_latent_costs_its_share_of_the_steps():
    den = toy_denoiser()
    den.sample_latent(t_fraction=0.8, seed=0, num_steps=20)
    assert den.num_calls == 4


@pytest.mark.parametrize("weight", [0.0, 1.0, 7.5])
def test_law28_guided_prediction_is_the_stated_mix(build, weight):
    model, _ = build("stable_diffusion")
    x, prompt, nothing = model.draw([0, 1]), model.cond(prompt="a"), model.cond(prompt="")
    within, without = model.predict(x, 500, prompt), model.predict(x, 500, nothing)
    guided = model.predict(x, 500, model.cond(prompt="a", guidance=weight))
    torch.testing.assert_close(guided, without + weight * (within - without), atol=1e-12, rtol=1e-12)
    other = model.predict(x, 500, model.cond(prompt="a", negative="b", guidance=2.0))
    avoided = model.predict(x, 500, model.cond(prompt="b"))
    torch.testing.assert_close(other, 2 * within - avoided, atol=1e-12, rtol=1e-12)


def test_law28_guidance_acts_alike_on_eps_and_x0(build):
    model, _ = build("stable_diffusion")
    x, guided = model.draw([0]), model.cond(prompt="a", guidance=3.0)
    for read in (model.x0, model.eps):
        without, within = read(x, 500, model.cond(prompt="")), read(x, 500, model.cond(prompt="a"))
        torch.testing.assert_close(read(x, 500, guided), without + 3 * (within - without), atol=1e-10, rtol=1e-10)


def test_no_condition_is_the_empty_prompt_or_the_null_class(build):
    text, _ = build("stable_diffusion")
    x = text.draw([0])
    assert torch.equal(text.predict(x, 500), text.predict(x, 500, text.cond(prompt="")))
    classes, _ = build("dit")
    x = classes.draw([0])
    assert torch.equal(classes.predict(x, 500), classes.predict(x, 500, classes.cond(label=10)))
    assert not torch.equal(classes.predict(x, 500), classes.predict(x, 500, classes.cond(label=1)))


def test_pictures_without_a_vae():
    den = toy_denoiser()
    picture = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    x0 = den.encode_image(picture)
    assert x0.shape == (1, 3, 8, 8)
    assert np.array_equal(den.to_image(x0)[0], picture)
    assert torch.equal(den.encode_image(Image.fromarray(picture)), x0)
    assert den.encode_image(Image.new("RGB", (40, 20))).shape == (1, 3, 8, 8)
    assert den.encode_image(np.stack([picture] * 2)).shape == (2, 3, 8, 8)
    with pytest.raises(ShapeError, match=r"a picture of shape \(3, 8, 8\); got \(1, 3, 9, 8\); give a PIL image"):
        den.encode_image(np.zeros((9, 8, 3), np.uint8))


def test_pictures_through_a_vae(build):
    model, _ = build("stable_diffusion", dtype=torch.float32)
    x0 = model.encode_image(Image.new("RGB", (16, 16), "red"))
    assert x0.shape == (1, 4, 8, 8)
    pixels = torch.zeros(1, 3, 16, 16)
    pixels[:, 0], pixels[:, 1:] = 1, -1
    with torch.no_grad():
        expected = model.vae.encode(pixels).latent_dist.mode() * model.vae.config.scaling_factor
        decoded = model.vae.decode(x0 / model.vae.config.scaling_factor).sample
    torch.testing.assert_close(x0, expected)
    pictures = model.to_image(x0)
    assert pictures.shape == (1, 16, 16, 3)
    assert np.abs(pictures[0].transpose(2, 0, 1) / 127.5 - 1 - decoded[0].clamp(-1, 1).numpy()).max() < 0.5 / 127


def test_errors(build):
    den = toy_denoiser()
    x = den.draw([0])
    with pytest.raises(ShapeError, match=r"x of shape \(B, 3, 8, 8\); got \(3, 8, 8\); stack latents"):
        den.predict(x[0], 500)
    with pytest.raises(OptionError, match=r"t an integer between 0 and 999; got t = 1200"):
        den.predict(x, 1200)
    with pytest.raises(OptionError, match=r"either seed or seeds; got seed = None, seeds = None"):
        den.sample_latent(t_fraction=0.8)
    with pytest.raises(NumericalError, match=r"finite latents; got NaN or infinity in x"):
        den.check_finite(x * torch.nan)
    with pytest.raises(ModelError, match=r"a model that takes prompts; got toy, which does not; use label="):
        den.cond(prompt="a smile")
    with pytest.raises(OptionError, match=r"either prompt or label; got prompt = None, label = None"):
        den.cond()
    with pytest.raises(OptionError, match=r"unconditional inputs for guidance other than 1; got guidance = 2.0"):
        den.cond(label=1, guidance=2.0)
    with pytest.raises(ModelError, match=r"a Condition or None; got str; make one with model.cond"):
        den.predict(x, 500, "a smile")
    with pytest.raises(OptionError, match=r"a prediction type of epsilon, v_prediction, sample, flow; got 'velocity'"):
        gaussian_denoiser(prediction="velocity")


def test_not_a_number_in_the_weights_is_refused():
    network = nn.Linear(2, 2)
    nn.init.constant_(network.weight, torch.nan)
    with pytest.raises(ModelError, match=r"finite weights; got NaN or infinity in 1 tensors, such as weight;"):
        wrap_module(network, schedule=FlowSchedule(), prediction="flow", x_shape=(2,))


def test_no_signal_no_x0():
    den = gaussian_denoiser(schedule=VPSchedule(torch.tensor([0.5, 0.0])))
    with pytest.raises(NumericalError, match=r"signal .* to read x0 from predicted noise; got abar = 0"):
        den.x0(den.draw([0]), 1)
    clean = gaussian_denoiser(prediction="sample", schedule=VPSchedule(torch.tensor([1.0, 0.5])))
    with pytest.raises(NumericalError, match=r"noise .* to read eps from a predicted x0; got sigma = 0"):
        clean.eps(clean.draw([0]), 0)


def test_conditions_of_other_text_encoders_are_given_by_hand(build):
    model, cond = build("sd3")
    x = model.draw([0, 1])
    together = model.predict(x, 300.0, cond)
    torch.testing.assert_close(together[1:], model.predict(x[1:], 300.0, cond), atol=1e-12, rtol=1e-12)
    rows = Condition({name: torch.cat([value] * 2) for name, value in cond.inputs.items()})
    with pytest.raises(ShapeError, match=r"one row in the condition's encoder_hidden_states.*; got \(2, 5, 12\)"):
        model.predict(x, 300.0, rows)


def test_nested_inputs_are_expanded_joined_and_digested():
    def added(value):
        return {"added_cond_kwargs": {"time_ids": torch.full((1, 2), value)}, "labels": torch.tensor([3])}

    pair = Condition(added(1.0), added(0.0), guidance=2.0).pair()
    rows = expand(pair.inputs, torch.zeros(4, 1, dtype=torch.float64))
    assert rows["added_cond_kwargs"]["time_ids"].tolist() == [[0, 0], [0, 0], [1, 1], [1, 1]]
    assert rows["added_cond_kwargs"]["time_ids"].dtype == torch.float64
    assert rows["labels"].dtype == torch.long
    digests = {Condition(added(value)).digest() for value in (0.0, 1.0)}
    assert len(digests) == 2
    assert Condition(added(1.0), added(0.0), guidance=2.0, text="words").digest() in digests
