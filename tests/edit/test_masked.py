from types import SimpleNamespace

import pytest
import torch

from pullback.directions import Rectangle, mask_at
from pullback.edit import Boost, Window, denoise_boosted, denoise_masked, edit, edit_in_window, masked_vectors
from pullback.errors import NumericalError, OptionError, ShapeError
from pullback.geometry import one_product
from pullback.models import denoise

T = 600
TOP = Rectangle(0, 0, 0.5, 1)


def direction(f, seed=0, space="H"):
    shape = (256,) if space == "H" else f.x_shape
    vector = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return SimpleNamespace(vector=vector / vector.norm(), space=space, origin=dict(f.origin))


def test_a_mask_in_x_moves_x_inside_alone(den, f):
    x = den.draw([0, 1])
    done = edit(den, x, T, direction(f), [-1, 0, 2], f=f, unit=0.7, mask=TOP, num_steps=2)
    moved = done.x_t - x[:, None]
    assert moved[:, :, :, 4:].abs().max() == 0
    assert moved[:, [0, 2], :, :4].abs().max() > 0
    assert torch.allclose(done.v.flatten(1).norm(dim=1), torch.ones(2).double())


def test_a_mask_in_x_is_calibrated_with_it(den, f):
    done = edit(den, den.draw([0]), T, direction(f), [1], f=f, distance=10.0, mask=TOP, num_steps=1)
    assert float(done.displacement) == pytest.approx(1.0, rel=0.011)


def test_a_mask_in_x0_leaves_the_outside_of_the_picture_exactly(den, f):
    x = den.draw([0, 1])
    plain = denoise(den, x, T, num_steps=4)
    done = edit(den, x, T, [direction(f), direction(f, 1)], [0, 3], f=f, unit=1.0, mask=TOP, mask_in="x0", num_steps=4)
    torch.testing.assert_close(done.x0[..., 4:, :], plain[None, :, None, ..., 4:, :].expand(2, 2, 2, 3, 4, 8))
    torch.testing.assert_close(done.x0[:, :, 0], plain.expand(2, -1, -1, -1, -1), atol=1e-12, rtol=0)
    free = edit(den, x, T, direction(f), [3], f=f, unit=1.0, num_steps=4).x0
    assert (free[:, 0, :, 4:] - plain[:, :, 4:]).abs().max() > 1e-3
    assert (done.x0[0, :, 1, :, :4] - plain[:, :, :4]).abs().max() > 1e-3


def test_a_full_mask_in_x0_is_the_plain_walk(den):
    x, y = den.draw([0]), den.draw([1])
    full = denoise_masked(den, y, x, T, torch.ones(8, 8), num_steps=3)
    torch.testing.assert_close(full, denoise(den, y, T, num_steps=3), atol=1e-12, rtol=0)


def test_law27_boosting_is_off_by_default_seeded_and_late(den, f):
    x, u = den.draw([0]), direction(f)
    plain = edit(den, x, T, u, [0, 1], f=f, unit=1.0, num_steps=10)
    torch.testing.assert_close(plain.x0[:, 0], denoise(den, x, T, num_steps=10))
    boosted = [edit(den, x, T, u, [0, 1], f=f, unit=1.0, num_steps=10, boost=Boost(seed=seed)).x0 for seed in (3, 3, 4)]
    assert torch.equal(boosted[0], boosted[1])
    assert not torch.allclose(boosted[0], boosted[2])
    assert not torch.allclose(boosted[0], plain.x0)
    torch.testing.assert_close(denoise_boosted(den, x, T, boost=Boost(share=0.0), num_steps=10), plain.x0[:, 0])


def test_law27_boosting_is_the_stochastic_walk_on_the_last_fifth(den):
    x, steps = den.draw([0]), den.schedule.steps(T, 10)
    y = x
    for here, there in steps[:8]:
        y = denoise(den, y, here, num_steps=1, until=there)
    generator = torch.Generator().manual_seed(5)
    for here, there in steps[8:]:
        y = denoise(den, y, here, num_steps=1, until=there, eta=1.0, generator=generator)
    torch.testing.assert_close(denoise_boosted(den, x, T, boost=Boost(seed=5), num_steps=10), y, atol=1e-12, rtol=0)


def test_law27_every_frame_gets_the_same_noise(den):
    x = den.draw([0, 1])
    both = denoise_boosted(den, x, T, boost=Boost(share=0.5, seed=2), num_steps=6)
    alone = denoise_boosted(den, x[1:], T, boost=Boost(share=0.5, seed=2), num_steps=6)
    torch.testing.assert_close(both[1:], alone, atol=1e-12, rtol=0)


@pytest.mark.parametrize("space", ["H", "X"])
def test_an_edit_in_a_window_of_steps(den, f, space):
    x, u = den.draw([0, 1]), direction(f, space=space)
    asked = []

    def f_at(t):
        asked.append(t)
        return den.feature_map(t=t)

    done = edit_in_window(den, x, T, u, [0.5, 1.0], f_at=f_at, window=Window(0.5, 0.3), num_steps=6)
    y = x
    for here, there in den.schedule.steps(T, 6):
        if 0.3 <= here / 1000 <= 0.5:
            v = one_product(den.feature_map(t=here), y, u.vector) if space == "H" else u.vector
            y = y + torch.tensor([0.5, 1.0]).double().reshape(2, 1, 1, 1) * v
        y = denoise(den, y, here, num_steps=1, until=there)
    torch.testing.assert_close(done, y, atol=1e-10, rtol=0)
    assert asked == [T, *([500, 400, 300] if space == "H" else [T] * 3)]  # the first to see whether u is of it


def test_errors(den, f):
    x, u = den.draw([0]), direction(f)
    with pytest.raises(OptionError, match="mask_in x, x0; got 'h'; see edit"):
        edit(den, x, T, u, [1], f=f, unit=1.0, mask=TOP, mask_in="h")
    with pytest.raises(OptionError, match="a mask in x0 or a boost; got both"):
        edit(den, x, T, u, [1], f=f, unit=1.0, mask=TOP, mask_in="x0", boost=Boost())
    with pytest.raises(OptionError, match="got an empty one"):
        edit(den, x, T, u, [1], f=f, unit=1.0, mask=torch.zeros(8, 8))
    with pytest.raises(ShapeError, match=r"a mask of shape \(8, 8\) or \(3, 8, 8\); got \(4, 4\)"):
        edit(den, x, T, u, [1], f=f, unit=1.0, mask=torch.ones(4, 4), mask_in="x0", num_steps=1)
    with pytest.raises(NumericalError, match="a part inside the mask; got none"):
        masked_vectors(1 - mask_at(TOP, (3, 8, 8)), TOP)
    with pytest.raises(ShapeError, match="unedited latents of shape"):
        denoise_masked(den, x, torch.cat([x, x]), T, TOP)
    with pytest.raises(OptionError, match=r"a share in \[0, 1\]; got 2"):
        Boost(share=2)
    with pytest.raises(OptionError, match=r"a step of the walk inside the window; got steps at 0\.60, 0\.30; widen"):
        edit_in_window(den, x, T, u, 1.0, f_at=lambda t: f, window=Window(1.0, 0.9), num_steps=2)
