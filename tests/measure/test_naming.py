"""Names out of effects on known factors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullback.errors import ShapeError
from pullback.measure.naming import name_effects, signed

NAMES = ("yaw", "light", "smile")
UNITS = {"yaw": (0.2, "rad")}


def effects(*row: float, num: int = 5, noise: float = 0.01) -> np.ndarray:
    return np.array(row) + np.random.default_rng(0).normal(0, noise, (num, len(row)))


def test_one_factor_with_its_unit() -> None:
    assert name_effects(effects(2.0, 0.0, 0.0), NAMES, units=UNITS) == "yaw +.4 rad"


def test_two_factors_by_size() -> None:
    assert name_effects(effects(-1.0, 0.8, 0.1), NAMES, units=UNITS) == "yaw -.2 rad, light +.8 sd"


def test_equal_parts_of_many_factors_are_unclear() -> None:
    many = [f"f{k}" for k in range(12)]
    assert name_effects(np.ones((4, 12)), many) == "unclear"


def test_samples_that_disagree_are_unclear() -> None:
    both = np.array([[1.0, 0, 0], [-1.0, 0, 0], [1.0, 0, 0], [-1.0, 0, 0]])
    assert name_effects(both, NAMES) == "unclear"


def test_an_effect_below_the_noise_is_unclear() -> None:
    assert name_effects(np.full((3, 3), [0.1, 0.0, 0.0]), NAMES, noise=0.05) == "unclear"


def test_nothing_at_all_is_unclear() -> None:
    assert name_effects(np.zeros((3, 3)), NAMES) == "unclear"


def test_wrong_shape() -> None:
    with pytest.raises(ShapeError, match=r"effects of shape \(N, 3\); got \(4, 2\); one row a sample"):
        name_effects(np.zeros((4, 2)), NAMES)


@given(st.floats(-50, 50, allow_nan=False))
def test_a_signed_number_reads_back(value: float) -> None:
    text = signed(value)
    assert text[0] in "+-"
    assert float(text) == pytest.approx(value, abs=0.051)
    assert not text.startswith(("+0.", "-0."))
