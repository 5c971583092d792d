import threading
from functools import cache

import pytest
import torch
from torch import nn

from pullback.errors import LayerError, ModelError, OptionError, ShapeError
from pullback.geometry.engines import frozen_parameters
from pullback.geometry.jacobian import JacobianAt, Plan
from pullback.models import VPSchedule, toy_denoiser, wrap_module
from pullback.models.calls import call_diffusers
from pullback.models.feature_map import feature_map

DEFAULT_LAYERS = {
    "unet": "mid_block",
    "unet_without_mid": "down_blocks.1",
    "stable_diffusion": "mid_block",
    "dit": "transformer_blocks.1",
    "sd3": "transformer_blocks.1",
    "flux": "transformer_blocks.1",
}

ENGINES = [("vmap", "vmap"), ("loop", "loop"), ("double_backward", "vmap"), ("finite_difference", "loop")]
TOLERANCE = {"finite_difference": (1e-9, 1e-8)}
"""Of J v, and of <J v, u>, in float64. Central differences were measured to miss J v by 1.8e-10 of its length here, and
by 3.4e-10 in a value; the other engines miss it by 3e-15."""


def latents(model, num=2):
    return model.draw(range(num))


def full_pass_output(model, x, t, cond, layer):
    """Return what the layer outputs while the whole network runs, with frozen weights as in a feature map.

    A matmul of torch folds its axes otherwise when a weight requires grad: on some processors the last bit changes.
    """
    seen = []
    handle = dict(model.network.named_modules())[layer].register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.no_grad(), frozen_parameters(model.network):
        model.predict(x, t, cond)
    handle.remove()
    return seen[0]


def hooks_and_flags(network):
    modules = list(network.modules())
    return (
        sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules),
        [m.training for m in modules],
        [p.requires_grad for p in network.parameters()],
        [getattr(m, "gradient_checkpointing", None) for m in modules],
    )


@pytest.mark.parametrize("kind", DEFAULT_LAYERS)
def test_law01_equals_the_layer_inside_a_full_pass(build, kind):
    model, cond = build(kind)
    f, x = model.feature_map(t_fraction=0.5, cond=cond), latents(model)
    assert f.layer == DEFAULT_LAYERS[kind]
    output = full_pass_output(model, x, f.t, cond, f.layer)
    if isinstance(output, tuple):
        output = output[1] if kind in ("sd3", "flux") else output[0]  # image tokens; hidden states before skips
    assert torch.equal(f(x), output)
    assert f(x).shape == (2, *f.h_shape)


@pytest.mark.parametrize("layer", ["down_blocks.0", "down_blocks.1.attentions.0", "mid_block.resnets.0", "conv_in"])
def test_law01_any_named_layer(build, layer):
    model, _ = build("unet")
    f, x = model.feature_map(t=500, layer=layer), latents(model)
    output = full_pass_output(model, x, 500, None, layer)
    assert torch.equal(f(x), output[0] if isinstance(output, tuple) else output)


def test_law01_the_decoder_never_runs(build):
    model, _ = build("unet")
    calls = []
    for block in (*model.network.up_blocks, model.network.conv_out):
        block.register_forward_hook(lambda *call: calls.append(call))
    f = model.feature_map(t=500)
    JacobianAt(f, latents(model)).jvp(torch.randn(2, 3, *model.x_shape, dtype=torch.float64))
    assert calls == []
    model.predict(latents(model), 500)
    assert len(calls) == 3


def test_law01_the_network_is_left_as_it_was(build):
    model, _ = build("unet")
    network = model.network
    network.train()
    network.mid_block.eval()
    network.conv_in.requires_grad_(False)
    network.enable_gradient_checkpointing()
    f, x, before = model.feature_map(t=500), latents(model), hooks_and_flags(network)
    JacobianAt(f, x).jvp(torch.ones(2, 1, *model.x_shape, dtype=torch.float64))
    JacobianAt(f, x).vjp(torch.ones(2, 2, 256, dtype=torch.float64))
    assert hooks_and_flags(network) == before  # after success
    for bad in (x[:, :1], x.float()):
        with pytest.raises((ShapeError, ModelError)):
            f(bad)
    assert hooks_and_flags(network) == before  # after a wrong argument
    network.down_blocks[1].register_forward_pre_hook(lambda *call: 1 / 0)
    before = hooks_and_flags(network)
    with pytest.raises(ZeroDivisionError):
        f(x)
    assert hooks_and_flags(network) == before  # after a raising model


def test_law01_offloading_wrappers_still_work(build):
    """Wrappers of forward, as accelerate makes them, run before and after each layer."""
    model, _ = build("unet")
    x, expected, log = latents(model), model.feature_map(t=500)(latents(model)), []

    def wrap(module, name):
        forward = module.forward

        def wrapped(*args, **kwargs):
            log.append(("load", name))
            output = forward(*args, **kwargs)
            log.append(("offload", name))
            return output

        module.forward = wrapped

    wrap(model.network.down_blocks[1], "down")
    wrap(model.network.mid_block, "mid")
    assert torch.equal(model.feature_map(t=500)(x), expected)
    assert log[-4:] == [("load", "down"), ("offload", "down"), ("load", "mid"), ("offload", "mid")]


def test_training_mode_and_checkpointing_do_not_change_h(build):
    model, _ = build("unet")
    f, x = model.feature_map(t=500), latents(model)
    plain = JacobianAt(f, x[0]).dense()
    model.network.train()
    model.network.enable_gradient_checkpointing()
    assert torch.equal(JacobianAt(f, x[0]).dense(), plain)


@cache
def dense_at(build, kind):
    """Return a tiny network's feature map, a latent, and J there: one reverse pass a row, stock attention."""
    model, cond = build(kind)
    f, x = model.feature_map(t_fraction=0.6, cond=cond), latents(model, 1)[0]
    leaf = x.clone().requires_grad_(True)
    rows = [torch.autograd.grad(value, leaf, retain_graph=True)[0].flatten() for value in f(leaf[None]).flatten()]
    return f, x, torch.stack(rows)


@pytest.mark.parametrize("kind", ["unet", "stable_diffusion", "dit"])
@pytest.mark.parametrize(("jvp_engine", "vjp_engine"), ENGINES)
def test_law02_products_equal_the_dense_jacobian(build, kind, jvp_engine, vjp_engine):
    f, x, dense = dense_at(build, kind)
    jac = JacobianAt(f, x, plan=Plan.fixed(jvp_engine, vjp_engine))
    generator = torch.Generator().manual_seed(1)
    v = torch.randn(3, *f.x_shape, generator=generator).double()
    u = torch.randn(4, len(dense), generator=generator).double()
    jv, ju = jac.jvp(v), jac.vjp(u)
    of_jv, of_adjoint = TOLERANCE.get(jvp_engine, (1e-10, 1e-10))
    torch.testing.assert_close(jv, v.flatten(1) @ dense.T, atol=of_jv, rtol=1e-10)
    torch.testing.assert_close(ju.flatten(1), u @ dense, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(jv @ u.T, v.flatten(1) @ ju.flatten(1).T, atol=of_adjoint, rtol=1e-10)


@pytest.mark.parametrize("kind", ["unet", "stable_diffusion", "dit"])
def test_law02_float32_equals_float64(build, kind):
    double, cond = build(kind)
    x = latents(double, 1)[0]
    exact = JacobianAt(double.feature_map(t_fraction=0.6, cond=cond), x).dense()
    single = JacobianAt(double.to(dtype=torch.float32).feature_map(t_fraction=0.6, cond=cond), x.float()).dense()
    assert (single.double() - exact).norm() / exact.norm() < 1e-5


def test_law03_new_decoder_weights_leave_the_jacobian_bit_identical(build):
    model, _ = build("unet")
    x, f = latents(model, 1)[0], model.feature_map(t=500)
    before, weights = JacobianAt(f, x).dense(), f.origin["weights"]
    with torch.no_grad():
        for parameter in model.network.up_blocks.parameters():
            parameter.normal_()
    assert torch.equal(JacobianAt(f, x).dense(), before)
    assert f.origin["weights"] != weights  # but the record tells the two models apart


def test_law04_the_metric_is_the_displacement_of_h(model_and_cond):
    model, cond = model_and_cond
    f, x = model.feature_map(t_fraction=0.5, cond=cond), latents(model, 1)
    v = torch.randn(1, *f.x_shape).double()
    length = JacobianAt(f, x[0]).metric(v).sqrt().item()
    errors = [abs((f(x + e * v) - f(x)).norm().item() / e - length) for e in (1e-3, 1e-4)]
    assert errors[1] < 0.3 * errors[0]
    assert errors[1] < 1e-3 * length


def test_law34_bfloat16_singular_values():
    x = toy_denoiser().sample_latent(t_fraction=0.8, seed=0)
    exact, low = (
        torch.linalg.svdvals(JacobianAt(model.feature_map(t_fraction=0.8), x.to(model.dtype)).dense().float())
        for model in (toy_denoiser(), toy_denoiser(dtype=torch.bfloat16))
    )
    assert (low - exact).abs().max() / exact[0] < 2e-2


def test_space_to_depth_is_hidden(parts):
    """X keeps its natural shape; features are those of the network on shuffled channels."""
    torch.manual_seed(0)
    network = parts["unet"](in_channels=12, out_channels=12).eval()
    schedule = VPSchedule.from_betas(torch.linspace(1e-4, 0.02, 1000))
    model = wrap_module(
        network,
        schedule=schedule,
        prediction="epsilon",
        x_shape=(3, 16, 16),
        call=call_diffusers,
        space_to_depth=2,
    )
    x = model.draw([0])
    shuffled = torch.pixel_unshuffle(x, 2)
    with torch.no_grad():
        assert torch.equal(torch.pixel_unshuffle(model.predict(x, 500), 2), network(shuffled, 500).sample)
    inner = feature_map(network, call=call_diffusers, t=500, x_shape=(12, 8, 8))
    assert torch.equal(model.feature_map(t=500)(x), inner(shuffled))
    assert model.feature_map(t=500).origin["space_to_depth"] == 2


def test_pooling(build):
    model, _ = build("unet")
    h, x = model.feature_map(t=500)(latents(model)), latents(model)
    assert torch.allclose(model.feature_map(t=500, pool="sum")(x), h.sum((2, 3)))
    windows = model.feature_map(t=500, pool=("sum", 2))(x)
    assert torch.allclose(windows, 4 * nn.functional.avg_pool2d(h, 2))
    tokens, cond = build("dit")
    assert tokens.feature_map(t=500, cond=cond, pool="sum").h_shape == (8,)


def test_origin_tells_apart_what_differs(build):
    model, _ = build("stable_diffusion")
    base = dict(model.feature_map(t=500).origin)
    assert dict(model.feature_map(t=500).origin) == base
    changed = {
        "t": model.feature_map(t=400),
        "layer": model.feature_map(t=500, layer="conv_in"),
        "pool": model.feature_map(t=500, pool="sum"),
        "condition": model.feature_map(t=500, cond=model.cond(prompt="c")),
        "weights": build("stable_diffusion", seed=1)[0].feature_map(t=500),
    }
    for key, f in changed.items():
        differing = {name for name, value in f.origin.items() if base[name] != value}
        assert key in differing
        assert differing <= {key, "condition"}
    assert all(isinstance(value, (str, int, float)) for value in base.values())


def test_guidance_does_not_reach_the_feature(build):
    model, _ = build("stable_diffusion")
    plain, guided = (model.feature_map(t=500, cond=model.cond(prompt="a", guidance=w)) for w in (1.0, 7.5))
    assert torch.equal(plain(latents(model)), guided(latents(model)))
    assert plain.origin == guided.origin


def test_digest_follows_values_not_precision(build):
    model, _ = build("unet")
    digest = model.feature_map(t=500).origin["weights"]
    model.to(dtype=torch.float32)
    assert model.feature_map(t=500).origin["weights"] == digest
    with torch.no_grad():
        model.network.conv_in.weight[0, 0, 0, 0] += 1
    assert model.feature_map(t=500).origin["weights"] != digest


def test_any_module_learns_its_shape_from_the_first_batch():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.SiLU())
    f = feature_map(net, layer="0", call=lambda net, x, t, cond: net(x), t=500, cond=None)
    with pytest.raises(
        ModelError, match="x_shape of a feature map; got a map that has seen no latent yet; pass x_shape="
    ):
        _ = f.x_shape
    assert f(torch.zeros(2, 1, 8, 8)).shape == (2, 2, 6, 6)
    assert (f.x_shape, f.h_shape) == ((1, 8, 8), (2, 6, 6))
    assert not net[1]._forward_hooks


def test_threads_take_turns(build):
    """Two maps of one network on two threads, and the user's own full pass on a third."""
    model, _ = build("unet")
    model.network.requires_grad_(False)  # the last bit of a full pass may depend on it
    maps = [model.feature_map(t=t) for t in (200, 700)]
    x, whole, wrong = latents(model), model.network(latents(model), 300).sample, []

    def work(run, expected):
        wrong.extend(not torch.equal(run(), expected) for _ in range(10))

    jobs = [(lambda f=f: f(x), f(x)) for f in maps] + [(lambda: model.network(x, 300).sample, whole)]
    threads = [threading.Thread(target=work, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 30
    assert not any(wrong)


def test_errors(build):
    model, _ = build("unet")
    f = model.feature_map(t=500)
    with pytest.raises(LayerError, match=r"a layer of UNet2DModel; got layer='midblock'; pass layer= one of mid_block"):
        model.feature_map(t=500, layer="midblock")
    with pytest.raises(LayerError, match=r"pass layer= one of 0"):
        feature_map(nn.Sequential(nn.Identity()), call=lambda net, x, t, cond: net(x), t=0)
    with pytest.raises(ShapeError, match=r"x of shape \(B, 3, 8, 8\); got \(3, 8, 8\); stack latents along the first"):
        f(torch.zeros(3, 8, 8).double())
    with pytest.raises(ModelError, match=r"x in the network's dtype torch.float64; got torch.float32; x.to"):
        f(torch.zeros(1, 3, 8, 8))
    with pytest.raises(OptionError, match=r'pool "none", "sum" or \("sum", n\); got \'mean\''):
        model.feature_map(t=500, pool="mean")
    with pytest.raises(ShapeError, match=r"divisible by 3; got \(2, 16, 4, 4\)"):
        model.feature_map(t=500, pool=("sum", 3))
    with pytest.raises(OptionError, match="t an integer between 0 and 999; got t = 1000; a share of the schedule"):
        model.feature_map(t=1000)
    with pytest.raises(OptionError, match="t_fraction between 0 and 1; got 80"):
        model.feature_map(t_fraction=80)
    with pytest.raises(OptionError, match="either t or t_fraction; got t = None, t_fraction = None"):
        model.feature_map()


def test_errors_of_layers_that_give_no_feature():
    net = nn.ModuleDict({"used": nn.Linear(2, 2), "unused": nn.Linear(2, 2), "scalar": nn.Identity()})

    def call(net, x, t, cond):
        return net["scalar"](net["used"](x).sum())

    with pytest.raises(LayerError, match="unused to run during a forward pass; got a pass that never reached it"):
        feature_map(net, layer="unused", call=call, t=0, x_shape=(2,))
    with pytest.raises(LayerError, match=r"one row per sample, \(2, ...\); got \(\) from scalar"):
        feature_map(net, layer="scalar", call=call, t=0, x_shape=(2,))
    with pytest.raises(
        ModelError, match="a condition of tensors, numbers, strings, or mappings and lists of them; got object"
    ):
        feature_map(net, layer="used", call=call, t=0, x_shape=(2,), cond=object())
