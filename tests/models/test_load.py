import json

import pytest
import torch
from diffusers import DDIMPipeline, DDPMPipeline, DDPMScheduler

from pullback.errors import ModelError
from pullback.models import FlowSchedule, list_models, load_denoiser, wrap_module


@pytest.fixture
def network(parts):
    torch.manual_seed(0)
    return parts["unet"]()


def same(model, network, x):
    """Predictions alike but for rounding: where weights lie in memory may change the last bit on some processors."""
    with torch.no_grad():
        return torch.allclose(model.predict(x, 300), network.eval()(x, 300).sample, rtol=0, atol=2e-6)


def test_every_kind_of_source_gives_the_same_model(network, parts, tmp_path):
    scheduler = parts["ddim"]()
    pipeline = DDIMPipeline(unet=network, scheduler=scheduler)
    pipeline.save_pretrained(tmp_path / "pipeline")
    network.save_pretrained(tmp_path / "network")
    network.save_pretrained(tmp_path / "two" / "unet")
    scheduler.save_pretrained(tmp_path / "two" / "scheduler")
    sources = [
        load_denoiser(pipeline),
        load_denoiser((network, scheduler)),
        load_denoiser(tmp_path / "pipeline"),
        load_denoiser(str(tmp_path / "pipeline")),
        load_denoiser(tmp_path / "network", scheduler=scheduler),
        load_denoiser(tmp_path / "two"),
    ]
    x = sources[0].draw([0])
    assert all(same(model, network, x) for model in sources)
    assert all(model.prediction == "v_prediction" and model.x_shape == (3, 8, 8) for model in sources)
    assert len({model.digest for model in sources}) == 1
    assert not sources[2].network.training


def test_ddpm_pipelines_and_other_schedulers(network):
    model = load_denoiser(DDPMPipeline(unet=network, scheduler=DDPMScheduler()))
    assert model.prediction == "epsilon"
    other = load_denoiser(model, dtype=torch.float64)
    assert other is model
    assert model.dtype == torch.float64


def test_objects_stay_where_they_are(network, parts):
    model = load_denoiser((network.double(), parts["ddim"]()))
    assert model.dtype == torch.float64
    assert model.network is network


def test_stable_diffusion_folder(parts, tmp_path):
    torch.manual_seed(0)
    pipeline = parts["stable_diffusion"]()
    pipeline.save_pretrained(tmp_path)
    model = load_denoiser(tmp_path)
    x = model.draw([0])
    cond, _ = pipeline.encode_prompt("b a", torch.device("cpu"), 1, do_classifier_free_guidance=False)
    with torch.no_grad():
        expected = pipeline.unet(x, 400, encoder_hidden_states=cond).sample
    torch.testing.assert_close(model.predict(x, 400, model.cond(prompt="b a")), expected)
    assert model.name == tmp_path.name


def test_space_to_depth_is_read_from_the_folder(parts, tmp_path):
    parts["unet"](in_channels=12, out_channels=12).save_pretrained(tmp_path)
    parts["ddim"]().save_pretrained(tmp_path)
    (tmp_path / "pullback.json").write_text('{"space_to_depth": 2}')
    model = load_denoiser(tmp_path)
    assert (model.x_shape, model.space_to_depth) == ((3, 16, 16), 2)
    assert model.predict(model.draw([0]), 10).shape == (1, 3, 16, 16)


def test_half_precision_weights_are_read_in_the_dtype_asked_for(network, parts, tmp_path):
    network.half().save_pretrained(tmp_path)
    models = [
        load_denoiser(tmp_path, scheduler=parts["ddim"](), dtype=dtype) for dtype in (torch.float32, torch.float64)
    ]
    assert [model.dtype for model in models] == [torch.float32, torch.float64]
    assert models[0].digest == models[1].digest


def test_wrapped_modules_are_told_time_as_a_row():
    class Home(torch.nn.Module):
        def forward(self, x, t):
            return x * t.reshape(-1, 1) / 1000

    model = wrap_module(Home(), schedule=FlowSchedule(), prediction="flow", x_shape=(2,))
    assert torch.equal(model.predict(torch.ones(3, 2), 500), torch.full((3, 2), 0.5))
    assert model.name == "Home"


def test_errors_name_what_is_missing(network, parts, tmp_path):
    with pytest.raises(ModelError, match=r"a shipped model .*, a folder, or a hub id owner/name; got 'portrait'"):
        load_denoiser("portrait")
    with pytest.raises(ModelError, match=r"a folder, or a hub id owner/name; got './nowhere'"):
        load_denoiser("./nowhere")
    with pytest.raises(ModelError, match=r"a folder with model_index.json or config.json; got .*; save the model"):
        load_denoiser(tmp_path)
    network.save_pretrained(tmp_path / "alone")
    with pytest.raises(ModelError, match=r"scheduler_config.json in .*alone; got a network alone; pass scheduler="):
        load_denoiser(tmp_path / "alone")
    with pytest.raises(ModelError, match=r"or \(network, scheduler\); got Linear; for any nn.Module use wrap_module"):
        load_denoiser(torch.nn.Linear(1, 1))
    with pytest.raises(ModelError, match=r"a network \(unet or transformer\) in the pair; got str"):
        load_denoiser(("unet", parts["ddim"]()))
    text = load_denoiser((parts["unet_condition"](), parts["ddim"]()))
    with pytest.raises(
        ModelError, match=r"a condition for UNet2DConditionModel, which attends to text; got None, and no"
    ):
        text.predict(text.draw([0]), 500)
    bare = torch.nn.Linear(1, 1)
    with pytest.raises(
        ModelError, match=r"in_channels and sample_size in the network's configuration; got None and None"
    ):
        load_denoiser((bare, parts["ddim"]()))


def test_only_safetensors_are_read(network, parts, tmp_path):
    network.save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(
        ModelError, match=r"a diffusers model with safetensors in .*; got .*; save it with save_pretrained"
    ):
        load_denoiser(tmp_path, scheduler=parts["ddim"]())


def test_damaged_and_foreign_folders_are_refused(network, parts, tmp_path):
    DDIMPipeline(unet=network, scheduler=parts["ddim"]()).save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    marker = tmp_path / "ran"
    (tmp_path / "mine.py").write_text(f"open({str(marker)!r}, 'w')\nclass Mine: pass\n")
    for change in ({"_class_name": ["mine", "Mine"]}, {"unet": ["mine", "Mine"]}):
        (tmp_path / "model_index.json").write_text(json.dumps(index | change))
        with pytest.raises(ModelError, match=r"a pipeline of diffusers' own classes; got code of its own"):
            load_denoiser(tmp_path)
    assert not marker.exists()
    (tmp_path / "model_index.json").write_text("{")
    with pytest.raises(ModelError, match=r"readable JSON in .*model_index.json; got Expecting property name"):
        load_denoiser(tmp_path)
    (tmp_path / "model_index.json").unlink()
    (tmp_path / "unet" / "config.json").write_text('{"_class_name": "os"}')
    with pytest.raises(ModelError, match=r"a diffusers class named in .*config.json; got _class_name = 'os'"):
        load_denoiser(tmp_path)


def test_not_a_number_in_a_file_is_refused(network, parts, tmp_path):
    torch.nn.init.constant_(network.conv_out.weight, torch.nan)
    network.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"finite weights; got NaN or infinity in 1 tensors, such as conv_out.weight"):
        load_denoiser(tmp_path, scheduler=parts["ddim"]())


def test_a_hub_id_that_cannot_be_had(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ModelError, match=r"the pipeline nobody/nothing from the hub, as safetensors; got .*; check the name"
    ):
        load_denoiser("nobody/nothing")


def test_shipped_models_load_by_name():
    for name in list_models():
        model = load_denoiser(name)
        assert model.name == name
        assert model.sample_latent(t_fraction=1.0, seed=0).shape == model.x_shape
