from types import SimpleNamespace

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel

from pullback.directions import Rectangle
from pullback.edit import Window, inject
from pullback.edit.injection import added, spread
from pullback.errors import MismatchError, OptionError, ShapeError
from pullback.models import Condition, denoise, load_denoiser

T = 600


def direction(f, seed=0):
    size = torch.Size(f.h_shape).numel()
    vector = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return SimpleNamespace(vector=vector / vector.norm(), space="H", origin=dict(f.origin))


def hooks(den):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in den.network.modules())


@pytest.mark.parametrize("pool", ["none", "sum", ("sum", 2)])
def test_the_pooled_h_moves_by_what_was_asked(den, pool):
    f = den.feature_map(t=T, pool=pool)
    x, u = den.draw([0, 1]), direction(f)
    change = spread(u.vector, den, f)
    layer = den.network.mid_block
    with torch.no_grad(), added(layer, 3 * change[None].expand(2, *change.shape)):
        moved = f(x)
    torch.testing.assert_close((moved - f(x)).flatten(1), 3 * u.vector.expand(2, -1), atol=1e-12, rtol=0)
    assert hooks(den) == 0


def test_symmetric_and_asymmetric_walks_are_what_they_say(den):
    f = den.feature_map(t=T)
    x, u = den.draw([0, 1]), direction(f)
    change = spread(u.vector, den, f)[None].expand(2, -1, -1, -1)
    for mode in ("symmetric", "asymmetric"):
        done = inject(den, x, T, u, [2], f=f, mode=mode, distance=5.0, num_steps=3)
        assert done.amount == pytest.approx(0.5)
        assert done.num_steps_injected == 3
        y = x
        with torch.no_grad():
            for here, there in den.schedule.steps(T, 3):
                with added(den.network.mid_block, 2 * 0.5 * change):
                    x0, eps = den.x0(y, here), den.eps(y, here)
                eps = den.eps(y, here) if mode == "asymmetric" else eps
                alpha, sigma = den.amounts(there)
                y = alpha * x0 + sigma * eps
        torch.testing.assert_close(done.x0[:, 0], y, atol=1e-10, rtol=0)


def test_scale_zero_and_steps_outside_the_window_change_nothing(den):
    f = den.feature_map(t=T)
    x, u = den.draw([0]), direction(f)
    plain = denoise(den, x, T, num_steps=4)
    done = inject(den, x[0], T, u, [0, 3], f=f, distance=5.0, num_steps=4)
    torch.testing.assert_close(done.x0[:1], plain, atol=1e-13, rtol=0)
    assert (done.x0[1] - plain[0]).abs().max() > 1e-4
    late = inject(den, x[0], T, u, [3], f=f, distance=5.0, num_steps=4, window=Window(0.2, 0.0))
    early = inject(den, x[0], T, u, [3], f=f, distance=5.0, num_steps=4, window=Window(1.0, 0.2 + 1e-6))
    assert (late.num_steps_injected, early.num_steps_injected) == (1, 3)
    assert not torch.allclose(late.x0, early.x0, atol=1e-6)


def test_a_batch_is_its_rows_whatever_the_chunk(den):
    f = den.feature_map(t=T)
    x, u = den.draw([0, 1, 2]), direction(f)
    together = inject(den, x, T, u, [-1, 2], f=f, distance=5.0, num_steps=2, chunk=4).x0
    for b in range(3):
        alone = inject(den, x[b], T, u, [-1, 2], f=f, distance=5.0, num_steps=2).x0
        torch.testing.assert_close(together[b], alone, atol=1e-10, rtol=0)


def test_a_mask_in_h_keeps_the_change_inside(den):
    f = den.feature_map(t=T)
    x, u = den.draw([0]), direction(f)
    change = spread(u.vector, den, f).clone()
    change[:, 2:] = 0
    assert change.abs().sum() > 0
    whole = inject(den, x, T, u, [5], f=f, distance=5.0, num_steps=1).x0
    part = inject(den, x, T, u, [5], f=f, distance=5.0, num_steps=1, mask=Rectangle(0, 0, 0.5, 1)).x0
    with torch.no_grad(), added(den.network.mid_block, 2.5 * change[None]):
        exact = denoise(den, x, T, num_steps=1)
    torch.testing.assert_close(part[:, 0], exact, atol=1e-12, rtol=0)
    assert not torch.allclose(whole, part)


def text_denoiser():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet2DConditionModel(
            sample_size=8,
            in_channels=3,
            out_channels=3,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=12,
            attention_head_dim=4,
            norm_num_groups=4,
        )
        text = torch.randn(2, 1, 5, 12)
    den = load_denoiser((network, DDIMScheduler()), dtype=torch.float64)
    return den, *({"encoder_hidden_states": row} for row in text)


def test_a_guided_condition_sees_it_in_both_passes():
    den, within, without = text_denoiser()
    cond = Condition(within, without, guidance=3.0)
    f = den.feature_map(t=T, cond=cond)
    x, u = den.draw([0, 1]), direction(f)
    calls = den.num_calls
    done = inject(den, x, T, u, [0, 1], f=f, distance=5.0, num_steps=1, cond=cond)
    assert den.num_calls - calls == 1
    torch.testing.assert_close(done.x0[:, 0], denoise(den, x, T, num_steps=1, cond=cond), atol=1e-10, rtol=0)
    eps = []
    for each in (Condition(within), Condition(without)):
        with torch.no_grad(), added(den.network.mid_block, 0.5 * spread(u.vector, den, f).expand(2, -1, -1, -1)):
            eps.append(den.eps(x, T, each))
    alpha, sigma = den.amounts(T)
    guided = (x - sigma * (eps[1] + 3.0 * (eps[0] - eps[1]))) / alpha
    torch.testing.assert_close(done.x0[:, 1], guided, atol=1e-10, rtol=0)


def test_hooks_are_gone_after_errors(den, monkeypatch):
    f = den.feature_map(t=T)
    x, u = den.draw([0]), direction(f)

    def fails(*args, **settings):
        raise ZeroDivisionError

    monkeypatch.setattr(den.network.up_blocks[0], "forward", fails)
    with pytest.raises(ZeroDivisionError):
        inject(den, x, T, u, [1], f=f, distance=5.0, num_steps=2)
    assert hooks(den) == 0


def test_errors(den):
    f = den.feature_map(t=T)
    x, u = den.draw([0]), direction(f)
    with pytest.raises(OptionError, match=r"mode symmetric or asymmetric.*; got 'both', 1 scales, 20 steps inside"):
        inject(den, x, T, u, [1], f=f, mode="both")
    with pytest.raises(OptionError, match="got 'symmetric', 1 scales, 0 steps inside"):
        inject(den, x, T, u, [1], f=f, window=Window(1.0, 0.9))
    with pytest.raises(ShapeError, match="a direction of H; got one of X; directions of X are added to x: see edit"):
        inject(den, x, T, SimpleNamespace(vector=x[0], space="X", origin={}), [1], f=f)
    with pytest.raises(MismatchError, match="layer mid_block"):
        inject(den, x, T, direction(den.feature_map(t=T, layer="conv_in")), [1], f=f)
    short = SimpleNamespace(vector=u.vector[:5], space="H", origin=u.origin)
    with pytest.raises(ShapeError, match=r"a direction of H, shape \(256,\); got \(5,\)"):
        inject(den, x, T, short, [1], f=f)
    with pytest.raises(OptionError, match=r"1 >= start >= end >= 0; got 0\.2 and 0\.4"):
        Window(0.2, 0.4)
    with pytest.raises(OptionError, match="not all 0; got an empty one"):
        inject(den, x, T, u, [1], f=f, distance=1.0, mask=torch.zeros(4, 4))
    with pytest.raises(ShapeError, match=r"a mask of shape \(4, 4\)"):
        inject(den, x, T, u, [1], f=f, distance=1.0, mask=torch.ones(8, 8))
