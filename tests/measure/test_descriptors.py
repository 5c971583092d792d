"""Names from measured picture changes: planted changes are called what they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pullback.errors import ShapeError
from pullback.measure.descriptors import (
    colour_share,
    describe,
    gini,
    low_frequency_share,
    name_change,
)


def people(num: int = 4, side: int = 24) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.2, 0.8, (num, side, side, 3))


def moved(base: np.ndarray, change: np.ndarray) -> str:
    return name_change(describe(base, base + change, base - change))


def test_brighter_everywhere_is_colour() -> None:
    base = people()
    assert moved(base, np.full_like(base, 0.1)) == "colour, brighter"


def test_an_affine_colour_map_is_fully_explained() -> None:
    base = people()
    change = base @ np.array([[0.1, 0.2, 0.0], [0.0, -0.1, 0.1], [0.05, 0.0, 0.1]]) + 0.02
    assert colour_share(base, change) == pytest.approx(1, abs=1e-9)


def test_noise_is_not_colour() -> None:
    base = people()
    assert colour_share(base, np.random.default_rng(1).normal(size=base.shape)) < 0.1


def test_a_corner_that_darkens_is_named_by_its_place() -> None:
    base = people()
    change = np.zeros_like(base)
    change[:, :6, :6] = -0.2
    assert moved(base, change).startswith("top left")
    assert moved(base, change).endswith("darker")


def test_fine_change_in_the_middle() -> None:
    base = people()
    change = np.zeros_like(base)
    change[:, 9:15, 9:15] = np.random.default_rng(2).normal(0, 0.1, (4, 6, 6, 3))
    assert moved(base, change).startswith("center, fine")


def test_no_change_and_an_even_change_are_unclear() -> None:
    base = people()
    assert moved(base, np.zeros_like(base)) == "unclear"
    both_ways = np.random.default_rng(3).normal(0, 0.1, base.shape)
    assert name_change(describe(base, base + both_ways, base + both_ways)) == "unclear"


@given(st.floats(0.01, 0.3), st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_symmetry_is_one_for_opposites_and_zero_for_equals(size: float, seed: int) -> None:
    base = people(2, 8)
    change = np.random.default_rng(seed).normal(0, size, base.shape)
    assert describe(base, base + change, base - change).symmetry == pytest.approx(1)
    assert describe(base, base + change, base + change).symmetry == pytest.approx(0, abs=1e-9)


def test_gini_goes_from_even_to_one_pixel() -> None:
    one = np.zeros((1, 10, 10))
    one[0, 3, 3] = 1
    assert gini(one) == pytest.approx(0.99)
    assert gini(np.ones((1, 10, 10))) == pytest.approx(0)
    assert gini(np.zeros((1, 10, 10))) == 0


def test_law21_frequency_share_of_a_cosine_and_of_white_noise() -> None:
    grid = np.cos(2 * np.pi * np.arange(32) / 32)[None, :, None, None] * np.ones((1, 32, 32, 3))
    assert low_frequency_share(grid) == pytest.approx(1)
    noise = np.random.default_rng(0).normal(size=(8, 32, 32, 3))
    flat = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32)[None]) < 1 / 8
    assert low_frequency_share(noise) == pytest.approx(flat.mean(), abs=0.02)


def test_shapes_that_do_not_fit_are_refused_in_three_parts() -> None:
    with pytest.raises(ShapeError, match=r"three stacks of pictures .*; got .*; pass the frames"):
        describe(people(), people(), people(3))
