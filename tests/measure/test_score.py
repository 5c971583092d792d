"""Scores on planted effects, whose answers are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullback.errors import OptionError
from pullback.measure.contest import FIGURES
from pullback.measure.score import (
    bootstrap,
    coverage,
    dci,
    num_found,
    num_found_null,
    purity,
    purity_of_mean,
    success,
    symmetry,
    transfer,
)


def planted(num_seeds: int = 40, noise: float = 0.0) -> np.ndarray:
    """Three directions, each one factor of four."""
    effects = np.zeros((3, num_seeds, 4))
    for i in range(3):
        effects[i, :, i] = 1
    return effects + noise * np.random.default_rng(0).standard_normal(effects.shape)


def test_pure_directions_are_found():
    odd = planted()
    assert purity(odd) == pytest.approx(1)
    assert transfer(odd) == pytest.approx(1)
    assert num_found(odd) == 3
    assert coverage(odd) == pytest.approx([1, 1, 1, 0])
    assert dci(odd) == pytest.approx((1, 1))
    assert success(odd, np.ones((3, 40), bool)) == pytest.approx(1)


def test_two_directions_of_one_factor_count_once():
    assert num_found(planted()[[0, 0, 1]]) == 2


def test_a_sign_that_flips_from_seed_to_seed_is_pure_but_does_not_transfer():
    odd = planted() * np.where(np.arange(40) % 2, 1, -1)[None, :, None]
    assert purity(odd) == pytest.approx(1)
    assert np.abs(transfer(odd)).max() < 0.03
    assert num_found(odd) == 0


def test_mean_hides_an_entanglement_whose_sign_flips():
    odd = planted()
    odd[:, :, 3] = 2 * np.where(np.arange(40) % 2, 1, -1)
    assert purity_of_mean(odd) == pytest.approx(1)
    assert purity(odd) == pytest.approx(0.8)
    assert num_found(odd) == 0


def test_transfer_of_noise_is_zero():
    odd = np.random.default_rng(1).standard_normal((50, 64, 8))
    assert abs(transfer(odd).mean()) < 0.01


def test_success_needs_the_gate_and_the_size():
    odd = planted()
    assert success(odd, np.zeros((3, 40), bool)).max() == 0
    assert success(0.2 * odd, np.ones((3, 40), bool)).max() == 0
    odd[:, :, 3] = 0.6
    assert success(odd, np.ones((3, 40), bool)).max() == 0


def test_symmetry_is_the_share_of_the_odd_part():
    odd = planted()
    assert symmetry(odd, 0 * odd) == pytest.approx(1)
    assert symmetry(odd, odd) == pytest.approx(0.5)


def test_null_of_pure_directions_is_below_what_they_reach():
    odd = np.zeros((8, 30, 8))
    odd[np.arange(8), :, np.arange(8)] = 1
    assert num_found(odd) == 8
    assert num_found_null(odd, num=200) < 6


def test_bootstrap_interval_holds_the_value_and_shrinks_with_seeds():
    for figure in FIGURES.values():
        few, many = (
            bootstrap(lambda odd, drawn, figure=figure: float(figure(odd, drawn).mean()), planted(num, noise=0.5))
            for num in (10, 400)
        )
        assert few.low <= few.value <= few.high
        assert many.high - many.low < few.high - few.low


def test_intervals_of_transfer_and_of_what_is_found_are_not_raised_by_seeds_that_were_drawn_twice():
    """Of effects without anything in common the interval lies about 0; of eight seeds an eighth would come on top."""
    odd = np.random.default_rng(1).standard_normal((200, 8, 16))
    found = bootstrap(lambda odd, drawn: float(transfer(odd, drawn).mean()), odd)
    assert -0.05 < found.low < found.value < found.high < 0.05
    weak = planted(8, noise=0.55)
    drawn = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    alike = np.sort(transfer(weak[:, drawn]))
    between = alike[1]
    assert num_found(weak[:, drawn], least_purity=0.0, least_transfer=between) >= 2
    assert num_found(weak, drawn, least_purity=0.0, least_transfer=between) == 0


def test_intervals_of_purity_are_about_its_value_where_no_factor_stands_out():
    """The largest of sixteen like shares would be larger in nearly each draw than it is of all seeds."""
    odd = np.random.default_rng(1).standard_normal((200, 24, 16))
    found = bootstrap(lambda odd, drawn: float(purity(odd, drawn).mean()), odd)
    anew = bootstrap(lambda odd, drawn: float(purity(odd[:, drawn]).mean()), odd)
    assert found.low < found.value < found.high
    assert anew.value == found.value < anew.low


def test_transfer_needs_two_seeds():
    with pytest.raises(OptionError, match="at least two seeds to compare; got 1; measure more"):
        transfer(planted(1))


@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_figures_do_not_depend_on_strength_or_sign(seed, strength):
    odd = np.random.default_rng(seed).standard_normal((4, 6, 5)) + 0.5
    for figure in (purity, purity_of_mean, transfer):
        assert figure(-strength * odd) == pytest.approx(figure(odd))
