from dataclasses import replace

import pytest
import torch

from pullback.errors import ModelError
from pullback.files import read_safetensors
from pullback.models import load_denoiser
from pullback.portraits.network import NUM_TRAIN_TIMESTEPS, export_checkpoint, make_scheduler
from pullback.portraits.train import Recipe, draw_timesteps, loss_of, mirrored, rate, train

TINY = Recipe(num_pictures=4, num_steps=4, batch_size=2, num_warmup=2)


def weights(folder):
    return read_safetensors(folder / "checkpoint.safetensors")[0]


def test_rate_rises_holds_and_falls_to_zero():
    recipe = Recipe(num_steps=1000, num_warmup=100, cooldown=0.2, learning_rate=1.0)
    assert [rate(step, recipe) for step in (0, 50, 100, 800, 900, 1000)] == pytest.approx([0, 0.5, 1, 1, 0.5, 0])


def test_timesteps_cover_the_schedule_and_lean_to_where_features_are_decided():
    t = draw_timesteps(50_000, generator=torch.Generator().manual_seed(0))
    share = torch.histc(t.float(), bins=10, min=0, max=NUM_TRAIN_TIMESTEPS) / len(t)
    assert share.min() > 0.04
    assert share[2:4].sum() > 0.25


def test_mirroring_is_done_in_the_picture_not_in_the_network_layout():
    rgb = torch.rand(2, 3, 8, 8)
    inside = torch.nn.functional.pixel_unshuffle(rgb, 2)
    back = torch.nn.functional.pixel_shuffle(mirrored(inside, torch.tensor([True, False])), 2)
    assert torch.equal(back[0], rgb[0].flip(-1))
    assert torch.equal(back[1], rgb[1])


def test_loss_is_that_of_v_prediction():
    """A network that knows x0 has loss 0; one that answers 0 has the mean square of v."""
    pictures, abar = torch.rand(64, 12, 4, 4) * 2 - 1, make_scheduler().alphas_cumprod

    class Knowing(torch.nn.Module):
        def forward(self, x, t):
            signal, noise = abar[t].sqrt()[:, None, None, None], (1 - abar[t]).sqrt()[:, None, None, None]
            v = signal * (x - signal * pictures) / noise - noise * pictures
            return type("Output", (), {"sample": v})

    assert float(loss_of(Knowing(), pictures, abar, generator=torch.Generator().manual_seed(0))) < 1e-8


def test_resumed_run_equals_an_uninterrupted_one(tmp_path):
    train(TINY, tmp_path / "whole", checkpoint_every=2)
    train(replace(TINY, num_steps=4), tmp_path / "parts", checkpoint_every=2, minutes=0)
    train(TINY, tmp_path / "parts", checkpoint_every=1)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_killed_run_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    from pullback.portraits import train as module

    train(TINY, tmp_path / "whole", checkpoint_every=1)
    calls = iter(range(100))

    def dies_at_third_step(*args, **kwargs):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return loss_of(*args, **kwargs)

    monkeypatch.setattr(module, "loss_of", dies_at_third_step)
    with pytest.raises(KeyboardInterrupt):
        train(TINY, tmp_path / "killed", checkpoint_every=1)
    monkeypatch.undo()
    train(TINY, tmp_path / "killed", checkpoint_every=1)
    whole, killed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


def test_a_new_run_starts_from_exported_weights(tmp_path):
    folder = train(replace(TINY, num_steps=1), tmp_path / "first")
    train(TINY, tmp_path / "second", start=folder, minutes=0)
    first, second = weights(tmp_path / "first"), weights(tmp_path / "second")
    name = "ema.mid_block.resnets.0.conv1.weight"
    assert torch.equal(first[name].half(), second[name].half())
    assert not any(key.startswith("opt.") for key in second)


def test_a_sibling_is_smaller_and_knows_fewer_factors(tmp_path):
    recipe = replace(TINY, fixed=("glasses", "yaw"), channels=(16, 32, 88), num_steps=1)
    folder = train(recipe, tmp_path / "run")
    assert load_denoiser(folder).network.config.block_out_channels == [16, 32, 88]
    assert sum(file.stat().st_size for file in folder.rglob("*.safetensors")) < 3e6
    again = export_checkpoint(tmp_path / "run" / "checkpoint.safetensors", tmp_path / "out")
    assert (again / "unet" / "config.json").read_bytes() == (folder / "unet" / "config.json").read_bytes()
    with pytest.raises(ModelError, match="of 48-96-176 channels"):
        train(TINY, tmp_path / "other", start=folder)


def test_starting_from_anything_else_is_refused(tmp_path):
    with pytest.raises(ModelError, match="an exported portrait denoiser of 48-96-176 channels"):
        train(TINY, tmp_path / "run", start=tmp_path)
    assert not (tmp_path / "run").exists()


def test_export_is_a_diffusers_folder_that_loads(tmp_path):
    train(replace(TINY, num_steps=1), tmp_path / "run")
    folder = export_checkpoint(tmp_path / "run" / "checkpoint.safetensors", tmp_path / "out")
    denoiser = load_denoiser(folder)
    assert denoiser.x_shape == (3, 64, 64)
    assert denoiser.prediction == "v_prediction"
    assert sum(file.stat().st_size for file in folder.rglob("*.safetensors")) < 12e6
    assert not list(folder.rglob("*.bin"))
