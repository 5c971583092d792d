from types import SimpleNamespace

import pytest
import torch

from pullback.directions.store import OVERRIDE_KEY
from pullback.edit import XGuidance, edit, one_step, typical_distance, vectors_at, x_guidance
from pullback.edit.batches import in_chunks, picture_precision
from pullback.edit.normalise import normalise
from pullback.edit.window import Boost
from pullback.errors import MismatchError, NumericalError, OptionError, ShapeError, TransportWarning
from pullback.geometry.jacobian import JacobianAt
from pullback.geometry.svd import top_singular
from pullback.models import denoise, toy_denoiser

T = 600


def direction(f, seed, space="H"):
    shape = (256,) if space == "H" else f.x_shape
    vector = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(f.dtype)
    return SimpleNamespace(vector=vector / vector.norm(), space=space, origin=dict(f.origin))


def test_frames_are_those_of_one_edit_at_a_time(den, f):
    x, scale = den.sample_latent(t=T, seeds=[0, 1]), [-2, 0, 1]
    directions = [direction(f, 0), direction(f, 1, "X")]
    together = edit(den, x, T, directions, scale, f=f, unit=0.5, num_steps=3, chunk=4)
    assert together.x0.shape == together.x_t.shape == (2, 2, 3, *den.x_shape)
    assert together.displacement.shape == (2, 2, 3)
    assert together.scale == (-2.0, 0.0, 1.0)
    for k in range(2):
        for b in range(2):
            alone = edit(den, x[b], T, directions[k], scale, f=f, unit=0.5, num_steps=3)
            assert alone.x0.shape == (3, *den.x_shape)
            for name in ("x_t", "x0", "v", "unit", "displacement"):
                torch.testing.assert_close(getattr(together, name)[k, b], getattr(alone, name), atol=1e-10, rtol=1e-10)


def test_a_frame_is_a_step_and_a_walk(den, f):
    x, u = den.sample_latent(t=T, seed=0), direction(f, 0)
    done = edit(den, x, T, u, [1.5], f=f, unit=0.4, num_steps=3)
    v = JacobianAt(f, x).vjp(u.vector[None])[0]
    x_t = one_step(x[None], v / v.norm(), 0.6)
    torch.testing.assert_close(done.x_t, x_t)
    torch.testing.assert_close(done.x0, denoise(den, x_t, T, num_steps=3))


def test_scale_zero_is_the_unedited_sample(den, f):
    x = den.sample_latent(t=T, seed=0)
    done = edit(den, x, T, direction(f, 0), [0, 0], f=f, unit=1.0, num_steps=3)
    assert torch.equal(done.x_t[1], x)
    torch.testing.assert_close(done.x0[1:], denoise(den, x[None], T, num_steps=3))


def test_scale_is_calibrated(den, f):
    samples = den.sample_latent(t=T, seeds=range(4))
    distance = typical_distance(f, samples)
    done = edit(den, samples, T, [direction(f, 0), direction(f, 1)], [1], f=f, distance=distance, num_steps=1)
    assert (done.displacement / (0.1 * distance) - 1).abs().max() < 0.011
    measured = edit(den, samples[0], T, direction(f, 0), [1], f=f, num_steps=1)
    fresh = typical_distance(f, den.sample_latent(t=T, seeds=range(16)))
    assert measured.displacement.item() == pytest.approx(0.1 * fresh, rel=0.011)


def test_frames_share_network_calls(den, f):
    """24 frames of 4 samples in chunks of 8: 20 edited and 4 unedited ones are 3 batches a step."""
    x = den.sample_latent(t=T, seeds=range(4))
    before = den.num_calls
    edit(den, x, T, direction(f, 0), [-2, -1, 0, 1, 2, 3], f=f, unit=1.0, num_steps=5, chunk=8)
    assert den.num_calls - before == 3 * 5


def test_x_guidance_and_its_mirror(den, f):
    x, u = den.sample_latent(t=T, seed=0), direction(f, 0, "X")
    settings = XGuidance(step=0.5, num_iterations=2)
    done = edit(den, x, T, u, [-1, 1], f=f, method="x_guidance", guidance=settings, unit=0.3, num_steps=1)
    for row, sign in enumerate((-1, 1)):
        expected = x_guidance(den, x[None], T, sign * u.vector, step=0.5, weight=0.3, num_iterations=2)
        torch.testing.assert_close(done.x_t[row : row + 1], expected)


@pytest.mark.parametrize("anchor", ["original", "edited"])
def test_scale_is_calibrated_after_normalisation(den, f, anchor):
    x, u = den.sample_latent(t=T, seed=0), direction(f, 0)
    done = edit(den, x, T, u, [1], f=f, normalise=anchor, distance=10.0, num_steps=1)
    assert done.displacement.item() == pytest.approx(1.0, rel=0.011)
    y = one_step(x[None], done.v, done.unit)
    torch.testing.assert_close(done.x_t, normalise(den, x[None], y, T, anchor=anchor))


def test_transport_makes_v_from_the_basis(den, f):
    x = den.sample_latent(t=T, seeds=[0, 1])
    basis = top_singular(JacobianAt(f, x), 4, tol=1e-8)
    u = SimpleNamespace(vector=basis.sample(0).u[2], space="H", origin=f.origin)
    v = vectors_at(f, x[:1], [u], make="transport", basis=basis.sample(0))
    torch.testing.assert_close(v[0, 0], basis.sample(0).v[2], atol=1e-6, rtol=0)
    by_product = vectors_at(f, x[:1], [u])
    torch.testing.assert_close(by_product[0, 0], basis.sample(0).v[2], atol=1e-6, rtol=0)
    with pytest.warns(TransportWarning, match="nothing was transported"):  # an untrained network shares nothing
        assert vectors_at(f, x, [u], make="transport", basis=basis).shape == (1, 2, *f.x_shape)


def test_low_precision_is_for_the_pictures_alone():
    den = toy_denoiser()
    f = den.feature_map(t=T)
    x, weights = den.sample_latent(t=T, seed=0), f.origin["weights"]
    exact, low = (
        edit(
            den, x, T, direction(f, 0), [1], f=f, unit=1.0, num_steps=3, autocast=dtype, channels_last=dtype is not None
        )
        for dtype in (None, torch.bfloat16)
    )
    assert torch.equal(exact.x_t, low.x_t)
    assert low.x0.dtype == torch.float32
    assert 0 < (low.x0 - exact.x0).norm() / exact.x0.norm() < 0.05
    assert all(p.is_contiguous() for p in den.network.parameters())
    assert den.feature_map(t=T).origin["weights"] == weights


def test_the_layout_comes_back_after_an_error(den):
    with pytest.raises(ZeroDivisionError), picture_precision(den, channels_last=True):
        _ = 1 / 0
    assert all(p.is_contiguous() for p in den.network.parameters())


def test_directions_of_another_map_are_refused(den, f):
    x, other = den.sample_latent(t=T, seed=0), direction(den.feature_map(t=T, layer="conv_in"), 0, "X")
    with pytest.raises(MismatchError, match=r"\(layer mid_block\); got layer conv_in; load what they were found with"):
        edit(den, x, T, other, [1], f=f, unit=1.0)
    with pytest.raises(MismatchError, match=r"a feature map at t = 600; got one at t = 500; feature_map\(t=600\)"):
        edit(den, x, T, direction(f, 0), [1], f=den.feature_map(t=500), unit=1.0)
    marked = SimpleNamespace(vector=other.vector, space="X", origin=other.origin | {OVERRIDE_KEY: "layer, pool"})
    edit(den, x, T, marked, [1], f=f, unit=1.0, num_steps=1)
    done = edit(den, x, T, other, [1], f=f, unit=1.0, num_steps=1, allow_mismatch=True)
    assert done.x0.isfinite().all()


def test_errors(den, f):
    x, u = den.sample_latent(t=T, seed=0), direction(f, 0)
    with pytest.raises(OptionError, match=r"method step, x_guidance; got 'leap'"):
        edit(den, x, T, u, [1], f=f, method="leap")
    with pytest.raises(OptionError, match=r"at least one direction and one scale; got 1 directions and 0 scales"):
        edit(den, x, T, u, [], f=f)
    with pytest.raises(OptionError, match=r"normalise off, original, edited; got 'on'"):
        edit(den, x, T, u, [1], f=f, normalise="on")
    with pytest.raises(OptionError, match=r"a basis at x for transport; got 'transport' without a basis"):
        edit(den, x, T, u, [1], f=f, make="transport")
    with pytest.raises(ShapeError, match=r"x of shape \(B, 3, 8, 8\); got \(1, 3, 9, 9\)"):
        edit(den, torch.zeros(3, 9, 9), T, u, [1], f=f)
    with pytest.raises(NumericalError, match=r"finite latents; got NaN or infinity in x"):
        edit(den, x * torch.nan, T, u, [1], f=f)
    with pytest.raises(NumericalError, match=r"finite edited latents; got NaN or infinity; use smaller scales"):
        edit(den, x, T, u, [float("inf")], f=f, unit=1.0)
    short = SimpleNamespace(vector=u.vector[:5], space="H", origin=f.origin)
    with pytest.raises(ShapeError, match=r"a vector of shape \(256,\); got \(5,\); is it of this layer and pool\?"):
        edit(den, x, T, short, [1], f=f)
    still = SimpleNamespace(vector=torch.zeros(3, 8, 8), space="X", origin=f.origin)
    with pytest.raises(NumericalError, match=r"a direction that x can move; got J\^T u = 0 on a sample"):
        edit(den, x, T, still, [1], f=f)
    with pytest.raises(OptionError, match=r"chunk >= 1; got 0; 64 rows suit small models"):
        in_chunks(torch.neg, x, chunk=0)


def test_multistep_ends_near_ddim_with_half_of_the_steps_and_only_where_it_fits(den, f):
    x, along = den.sample_latent(t=T, seed=0), direction(f, 0)

    def edited(**options):
        return edit(den, x, T, along, [0, 1], f=f, distance=5.0, **options)

    exact = edited(num_steps=200).x0
    fast, slow = edited(solver="multistep", num_steps=10).x0, edited(num_steps=20).x0
    assert (fast - exact).norm() < (slow - exact).norm()
    for options in ({"boost": Boost()}, {"mask": torch.ones(8, 8), "mask_in": "x0"}):
        with pytest.raises(OptionError, match="solver ddim, or multistep without a mask"):
            edited(solver="multistep", **options)
    with pytest.raises(OptionError, match="got 'euler'"):
        edited(solver="euler")
