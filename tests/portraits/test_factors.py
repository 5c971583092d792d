import numpy as np
import pytest

from pullback.errors import OptionError, ShapeError
from pullback.portraits.factors import FACTORS, NAMES, NUM_FACTORS, Z_LIMIT, held, index, sample, to_physical


def test_there_are_at_least_14_factors_with_distinct_names():
    assert len(FACTORS) >= 14
    assert len(set(NAMES)) == len(FACTORS)


def test_same_seed_same_factors_and_first_rows_do_not_depend_on_the_number():
    assert np.array_equal(sample(5, seed=3), sample(9, seed=3)[:5])
    assert not np.array_equal(sample(5, seed=3), sample(5, seed=4))


def test_factors_are_standard_and_independent():
    z = sample(20_000, seed=0)
    linear = [j for j, factor in enumerate(FACTORS) if factor.kind == "linear"]
    assert np.abs(z).max() <= Z_LIMIT
    assert np.abs(z[:, linear].mean(axis=0)).max() < 0.03
    assert np.abs(z[:, linear].std(axis=0) - 1).max() < 0.03
    assert np.abs(np.corrcoef(z.T) - np.eye(len(FACTORS))).max() < 0.03


def test_hard_world_correlates_dark_skin_with_dark_hair():
    z = sample(20_000, seed=0, world="hard")
    assert np.corrcoef(z[:, index("skin")], z[:, index("hair tone")])[0, 1] == pytest.approx(-0.6, abs=0.03)
    assert z[:, index("hair tone")].std() == pytest.approx(1, abs=0.03)


def test_switch_is_on_in_its_share_of_portraits():
    on = sample(20_000, seed=0)[:, index("glasses")] > 0
    assert on.mean() == pytest.approx(FACTORS[index("glasses")].share_on, abs=0.02)


def test_physical_values_are_uniform_between_the_ends():
    yaw = FACTORS[index("yaw")]
    p = to_physical(sample(20_000, seed=0))[:, index("yaw")]
    share = (p - yaw.low) / (yaw.high - yaw.low)
    assert np.abs(np.quantile(share, [0.1, 0.5, 0.9]) - [0.1, 0.5, 0.9]).max() < 0.02


def test_hard_world_has_a_grey_background():
    p = to_physical(sample(10, seed=0, world="hard"), world="hard")
    assert not p[:, [index("background red"), index("background yellow")]].any()


def test_no_angle_comes_near_half_a_turn():
    """So that R^2 measures angles as well as anything else."""
    angles = [factor for factor in FACTORS if "radians" in factor.meaning]
    assert [factor.name for factor in angles] == ["yaw", "pitch", "light"]
    assert max(abs(end) for factor in angles for end in (factor.low, factor.high, *factor.hard)) < np.pi / 2


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: sample(-1, seed=0), OptionError, "number of portraits >= 0; got -1"),
        (lambda: sample(1, seed=0, world="harder"), OptionError, '"easy" or "hard"; got \'harder\''),  # pyright: ignore
        (lambda: to_physical(np.zeros((2, 3))), ShapeError, r"factors of shape \(N, 16\); got \(2, 3\)"),
        (lambda: index("smille"), OptionError, "got 'smille'"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_held_factors_do_not_vary_and_the_others_are_as_they_were():
    z = sample(50, seed=3)
    few = held(z, ["yaw", "glasses"])
    assert np.ptp(few[:, index("yaw")]) == 0
    assert np.all(few[:, index("glasses")] == -1)
    others = [j for j in range(NUM_FACTORS) if NAMES[j] not in ("yaw", "glasses")]
    assert np.array_equal(few[:, others], z[:, others])
    assert np.ptp(z[:, index("yaw")]) > 1  # what was given stays
    with pytest.raises(OptionError):
        held(z, ["beard"])
