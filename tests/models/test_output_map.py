"""Law 29: the other Jacobians, dense, on real diffusers models in float64."""

import math

import pytest
import torch

from pullback.errors import LayerError, OptionError, ShapeError
from pullback.geometry import JacobianAt, Plan
from pullback.models import toy_denoiser
from pullback.models.output_map import DecoderMap, OutputMap, rewritten

T = 600


@pytest.fixture(scope="module")
def den():
    return toy_denoiser(dtype=torch.float64)


@pytest.fixture(scope="module")
def x(den):
    return den.sample_latent(t=T, seed=0)


def dense(call, x):
    """By torch's own reverse mode, one output at a time, for a plain function of one sample."""
    found = torch.autograd.functional.jacobian(lambda point: call(point[None])[0].flatten(), x)
    return found.flatten(1)


def hooks(den):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in den.network.modules())


@pytest.mark.parametrize("kind", ["eps", "x0"])
def test_law29_output_jacobians_are_dense(den, x, kind):
    exact = dense(lambda point: getattr(den, kind)(point, T), x)
    jac = JacobianAt(OutputMap(den, t=T, kind=kind), x)
    v = torch.randn(3, *x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(jac.jvp(v), v.flatten(1) @ exact.mT, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(jac.vjp(v.flatten(1)).flatten(1), v.flatten(1) @ exact, atol=1e-10, rtol=1e-10)


def test_law29_x0_jacobian_follows_from_that_of_eps(den, x):
    alpha, sigma = den.amounts(T)
    v = torch.randn(2, *x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pushed = {kind: JacobianAt(OutputMap(den, t=T, kind=kind), x).jvp(v) for kind in ("eps", "x0")}
    torch.testing.assert_close(pushed["x0"], (v.flatten(1) - sigma * pushed["eps"]) / alpha, atol=1e-10, rtol=1e-10)


def through_the_decoder(den, x, kind):
    """What is predicted of h, by a hook of the test's own."""

    def call(h):
        handle = den.network.mid_block.register_forward_hook(lambda module, args, output: h)
        try:
            return getattr(den, kind)(x[None], T)
        finally:
            handle.remove()

    return call


@pytest.mark.parametrize("kind", ["eps", "x0"])
@pytest.mark.parametrize("jvp_engine", ["vmap", "loop", "double_backward"])
def test_law29_decoder_jacobian_is_dense(den, x, kind, jvp_engine):
    f = DecoderMap(den, x, t=T, kind=kind)
    exact = dense(through_the_decoder(den, x, kind), f.start)
    jac = JacobianAt(f, f.start, plan=Plan.fixed(jvp_engine))
    v = torch.randn(3, *f.start.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(jac.jvp(v), v.flatten(1) @ exact.mT, atol=1e-10, rtol=1e-10)
    u = torch.randn(2, x.numel(), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(jac.vjp(u).flatten(1), u @ exact, atol=1e-10, rtol=1e-10)
    assert hooks(den) == 0


def test_law29_decoder_x0_is_a_multiple_of_eps(den, x):
    """``x0 = (x - sigma eps) / alpha`` with x fixed: ``-sqrt(1 - abar) / sqrt(abar)`` times."""
    abar = den.schedule.abar(T)
    maps = {kind: DecoderMap(den, x, t=T, kind=kind) for kind in ("eps", "x0")}
    v = torch.randn(4, *maps["eps"].x_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pushed = {kind: JacobianAt(f, f.start).jvp(v) for kind, f in maps.items()}
    torch.testing.assert_close(pushed["x0"], -math.sqrt(1 - abar) / math.sqrt(abar) * pushed["eps"], atol=1e-12, rtol=0)


def test_the_feature_that_was_there_gives_the_prediction_that_was_there(den, x):
    f = DecoderMap(den, x, t=T)
    with torch.no_grad():
        torch.testing.assert_close(f(f.start[None]), den.eps(x[None], T), atol=1e-14, rtol=0)
        both = f(torch.stack([f.start, 2 * f.start]))
        torch.testing.assert_close(both[1:], f(2 * f.start[None]), atol=1e-12, rtol=0)
    assert (both[0] - both[1]).abs().max() > 1e-4


@pytest.mark.parametrize("kind", ["stable_diffusion", "dit", "sd3", "flux", "unet_without_mid"])
def test_every_kind_of_network_has_both_maps(build, kind):
    den, cond = build(kind)
    t = den.schedule.timestep(0.6)
    x = den.draw([0])[0]
    for f, start in (
        (OutputMap(den, t=t, cond=cond), x),
        ((decoder := DecoderMap(den, x, t=t, cond=cond)), decoder.start),
    ):
        jac = JacobianAt(f, start)
        v = torch.randn(1, *f.x_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        u = torch.randn(1, *f.h_shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).flatten(1)
        assert jac.jvp(v).norm() > 0
        torch.testing.assert_close((jac.jvp(v) * u).sum(), (v * jac.vjp(u)).sum(), atol=1e-10, rtol=1e-8)
    assert hooks(den) == 0


def test_origins_tell_the_maps_apart(den, x):
    origins = [
        den.feature_map(t=T).origin,
        OutputMap(den, t=T).origin,
        OutputMap(den, t=T, kind="x0").origin,
        DecoderMap(den, x, t=T).origin,
    ]
    assert len({tuple(sorted(origin.items())) for origin in origins}) == 4
    assert origins[3]["layer"] == "mid_block"
    assert origins[1]["layer"] == "eps"


def test_the_hook_is_gone_after_an_error(den, x):
    f = DecoderMap(den, x, t=T)
    with pytest.raises(ZeroDivisionError), rewritten(den.network.mid_block, lambda h: 2 * h):
        _ = 1 / 0
    with pytest.raises(ShapeError, match=r"features of shape \(B, 16, 4, 4\); got \(1, 3, 8, 8\)"):
        f(x[None])
    assert hooks(den) == 0


def test_errors(den, x):
    with pytest.raises(OptionError, match="kind eps or x0; got 'v'"):
        OutputMap(den, t=T, kind="v")
    with pytest.raises(ShapeError, match=r"one latent of shape \(3, 8, 8\); got \(1, 3, 8, 8\); make a map a sample"):
        DecoderMap(den, x[None], t=T)
    with pytest.raises(LayerError, match="a layer of UNet2DModel"):
        DecoderMap(den, x, t=T, layer="middle")
