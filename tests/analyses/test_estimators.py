"""What is said about purity, on sets whose difference is known."""

import numpy as np
import pytest

from pullback.analyses.figures.estimators import METHODS, row, semantic
from pullback.api.contest import METHODS as KNOWN
from pullback.api.contest import RIVALS
from pullback.errors import OptionError
from pullback.measure.contest import Result
from pullback.measure.effects import Effects


def test_two_sets_of_one_kind_show_nothing_and_purer_ones_are_shown():
    rng = np.random.default_rng(0)
    first, second = rng.uniform(0.2, 0.6, (2, 12))
    assert semantic(first, second).verdict == "not shown at this size"
    assert semantic(first + 0.5, second).verdict == "shown"
    assert semantic(second, first + 0.5).verdict == "the opposite is shown"
    assert semantic(first + 0.5, second).effect == pytest.approx(0.5 + first.mean() - second.mean())


def test_one_direction_has_no_interval():
    with pytest.raises(OptionError, match="two or more independent values"):
        semantic(np.array([0.5]), np.array([0.4]))


def test_a_row_counts_distinct_factors_among_all_directions():
    """Three directions, each of one factor, the same on every sample."""
    odd = np.eye(3)[:, None].repeat(8, axis=1)
    effects = Effects(odd, 0 * odd, np.ones((3, 8, 2), bool), np.ones(3), np.full(3, 0.4))
    found = row(Result("ours", effects), rank=3)
    assert (found["D@K"], found["purity"], found["transfer"]) == (3.0, 1.0, 1.0)
    assert (found["pass rate"], found["locality"], found["success"]) == (1.0, pytest.approx(0.4), 1.0)


def test_every_method_is_one_that_the_comparison_knows():
    assert set(METHODS) <= {*KNOWN, *RIVALS}
    assert {"ours", "rotated", "random network", "supervised", *RIVALS} <= set(METHODS)
