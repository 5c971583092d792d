import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pullback.analyses.record import (
    Finding,
    column,
    distinct,
    finding,
    interval,
    of_pairs,
    read_csv,
    redrawn,
    write_csv,
)
from pullback.errors import FileFormatError, OptionError


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.1, 0.3, "shown"), (-0.1, 0.3, "not shown at this size"), (-0.3, -0.1, "the opposite is shown")],
)
def test_an_interval_that_includes_its_null_shows_nothing(low, high, verdict):
    assert Finding("c", (low + high) / 2, low, high, 0.0, 8).verdict == verdict
    assert Finding("c", (low + high) / 2 + 5, low + 5, high + 5, 5.0, 8).verdict == verdict


def test_a_handful_of_units_shows_nothing():
    assert Finding("c", 1.0, 0.9, 1.1, 0.0, 5).verdict == "not shown at this size"
    assert Finding("c", 1.0, 0.9, 1.1, 0.0, 6).verdict == "shown"


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30))
@settings(max_examples=30, deadline=None)
def test_the_interval_holds_the_mean_and_lies_within_the_values(values):
    mean, low, high = interval(values)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert mean == pytest.approx(np.mean(values))


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = [low <= 1.0 <= high for _, low, high in (interval(rng.normal(1, 2, 40)) for _ in range(200))]
    assert 0.88 <= np.mean(covered) <= 0.99


def test_one_value_has_no_interval():
    with pytest.raises(OptionError, match="two or more independent values"):
        interval([1.0])


def test_means_over_pairs_cover_the_truth_as_often_as_it_says():
    """Distances ``z_i + z_j``: intervals of the means themselves hold the truth in two of three cases."""
    rng, covered, naive = np.random.default_rng(0), [], []
    for _ in range(200):
        z = rng.normal(0.5, 1.0, 40)
        pairs = z[:, None] + z[None]
        means = (pairs.sum(1) - np.diag(pairs)) / 39
        for hits, values in ((covered, of_pairs(means)), (naive, means)):
            mean, low, high = interval(values)
            hits.append(low <= 1.0 <= high)
            assert mean == pytest.approx(means.mean())
    assert 0.88 <= np.mean(covered) <= 0.99
    assert np.mean(naive) < 0.8


def test_two_samples_have_no_spread_of_pairs():
    with pytest.raises(OptionError, match=r"means over pairs of three or more samples; got shape \(2,\)"):
        of_pairs([1.0, 2.0])


def test_units_of_two_kinds_are_both_drawn_again():
    """Rows that differ, columns that do not: the interval is that of the rows."""
    values = np.random.default_rng(0).normal(size=(30, 1)).repeat(5, axis=1)
    low, high = redrawn(lambda rows, columns: float(values[rows][:, columns].mean()), 30, 5)
    _, wanted_low, wanted_high = interval(values[:, 0])
    assert (low, high) == (pytest.approx(wanted_low, abs=0.06), pytest.approx(wanted_high, abs=0.06))


def test_a_finding_counts_its_units():
    found = finding("c", [1.0, 2.0, 3.0], null=0.5)
    assert (found.effect, found.null, found.num) == (2.0, 0.5, 3)


def test_csv_comes_back_as_it_was(tmp_path):
    rows = [{"t": 0.8, "pool": "none", "n": 3}, {"t": 0.5, "pool": "sum", "n": 4}]
    write_csv(tmp_path / "a.csv", rows)
    back = read_csv(tmp_path / "a.csv")
    assert back == [{"t": 0.8, "pool": "none", "n": 3.0}, {"t": 0.5, "pool": "sum", "n": 4.0}]
    assert column(back, "n", pool="sum").tolist() == [4.0]
    assert distinct(back, "t") == [0.8, 0.5]


def test_rows_of_different_columns_are_not_written(tmp_path):
    with pytest.raises(OptionError, match="rows that have the same columns"):
        write_csv(tmp_path / "a.csv", [{"a": 1}, {"b": 2}])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "a,b\n", "a,b\n1\n", "a,b\n1,2,3\n"])
def test_a_torn_csv_is_refused(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(FileFormatError, match="needs a head and rows"):
        read_csv(tmp_path / "a.csv")
