import numba
import numpy as np
import pytest

from pullback.errors import OptionError
from pullback.portraits.derivatives import STEP, energy_shares, tangents
from pullback.portraits.factors import FACTORS, NAMES, index, sample
from pullback.portraits.renderer import render

Z = sample(4, seed=5)


def test_same_factors_same_bits_whatever_the_batch_and_the_number_of_threads():
    whole = render(Z, size=24)
    assert np.array_equal(whole, render(Z, size=24))
    assert np.array_equal(whole[2:3], render(Z[2:3], size=24))
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        assert np.array_equal(whole, render(Z, size=24))
    finally:
        numba.set_num_threads(threads)


def test_pictures_are_in_range_and_no_portrait():
    pictures = render(Z, size=16)
    assert pictures.dtype == np.float32
    assert 0 <= pictures.min() < pictures.max() <= 1
    assert render(Z[:0], size=16).shape == (0, 16, 16, 3)


def test_any_size_shows_the_same_portrait():
    small, large = render(Z, size=16), render(Z, size=64)
    shrunk = large.reshape(4, 16, 4, 16, 4, 3).mean(axis=(2, 4))
    assert np.abs(small - shrunk).mean() < 0.02


def test_more_rays_converge():
    fine = render(Z, size=16, num_sub=8)
    error = [np.abs(render(Z, size=16, num_sub=n) - fine).mean() for n in (1, 2, 4)]
    assert error[2] < error[1] < error[0]


def test_world_is_mirror_symmetric():
    mirrored = Z.copy()
    mirrored[:, [index("yaw"), index("light")]] *= -1
    assert np.abs(render(Z)[:, :, ::-1] - render(mirrored)).mean() < 0.004


@pytest.mark.parametrize("name", NAMES)
def test_every_factor_changes_the_picture(name):
    low, high = np.zeros((1, len(NAMES))), np.zeros((1, len(NAMES)))
    low[0, index(name)], high[0, index(name)] = -1, 1
    assert np.abs(render(high, size=32) - render(low, size=32)).max() > 0.03


def test_tangent_predicts_a_small_change():
    g = tangents(Z, size=32)
    step = np.zeros(len(FACTORS))
    step[index("skin")] = STEP / 2
    change = 2 * (render(Z + step, size=32) - render(Z - step, size=32)).transpose(0, 3, 1, 2) / STEP
    assert np.linalg.norm(change - g[:, index("skin")]) < 0.05 * np.linalg.norm(change)


def test_tangent_of_a_switch_is_half_of_off_to_on():
    on, off = Z.copy(), Z.copy()
    on[:, index("glasses")], off[:, index("glasses")] = 1, -1
    expected = (render(on, size=16) - render(off, size=16)).transpose(0, 3, 1, 2)
    assert np.allclose(tangents(Z, size=16)[:, index("glasses")], expected)


def test_no_factor_holds_more_than_30_percent_of_the_energy():
    shares = energy_shares(16, seed=0)
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares.values()) < 0.30
    assert min(shares.values()) > 0.004


def test_the_hard_world_is_levelled_and_its_background_never_changes():
    easy, hard = energy_shares(8, seed=0), energy_shares(8, seed=0, world="hard")
    background = ("background red", "background yellow")
    assert all(hard[name] == 0 < easy[name] for name in background)
    levels = np.array([[world[name] for name in NAMES if name not in background] for world in (easy, hard)])
    spread = levels.max(axis=1) / levels.min(axis=1)
    assert spread[1] < 0.5 * spread[0]
    assert sum(hard.values()) == pytest.approx(1)


def test_bad_size_is_named():
    with pytest.raises(OptionError, match="size >= 8 and num_sub >= 1; got 4 and 2"):
        render(Z, size=4)
