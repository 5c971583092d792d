"""Global directions: what the intervals are over, the null of transfer, and the pictures of every kind."""

import io

import numpy as np
import pytest
from PIL import Image

import pullback
from pullback.analyses import Size
from pullback.analyses.context import Context
from pullback.analyses.figures import global_
from pullback.analyses.figures.global_ import KINDS, draw, transfer_each
from pullback.analyses.record import column, interval, of_pairs
from pullback.measure.score import transfer
from pullback.models import toy_denoiser

TINY = Size(3, 4, 2, 2, 2, 3, 3, (0.8, 0.4), 4, 2)


def rows_of(values, *, kind="nearest", name="agreement"):
    """A table out of one number a direction and sample, `(K, S)`; everything else is 0."""
    blank = {"agreement": 0.0, "null": 0.0, "split_half": 0.5, "split_half_null": 0.4} | {
        "transfer": 0.0,
        "transfer_null": 0.1,
    }
    return [
        {"kind": kind, "index": i, "sample": s, **blank, name: float(value)}
        for i, each in enumerate(values)
        for s, value in enumerate(each)
    ]


def bar(axis, place=0):
    """Both ends of the interval of a group."""
    return sorted(axis.containers[place][2][0].get_segments()[0][:, 1].tolist())


def test_the_interval_is_over_samples_and_not_over_directions():
    rng = np.random.default_rng(0)
    of_direction, of_sample = rng.normal(size=(9, 1)).repeat(7, 1), rng.normal(size=(1, 7)).repeat(9, 0)
    low, high = bar(draw(rows_of(of_direction)).axes[0])
    assert high - low == pytest.approx(0, abs=1e-9)
    _, *wanted = interval(of_sample[0])
    assert bar(draw(rows_of(of_sample)).axes[0]) == pytest.approx(sorted(wanted))


def test_the_interval_of_transfer_knows_that_samples_meet_each_other():
    values = np.random.default_rng(1).normal(size=(1, 7)).repeat(4, 0)
    _, *wanted = interval(of_pairs(values[0]))
    assert bar(draw(rows_of(values, name="transfer")).axes[2]) == pytest.approx(sorted(wanted))


def test_split_half_has_a_mean_and_no_interval():
    values = np.random.default_rng(2).normal(size=(5, 1)).repeat(4, 1)
    low, high = bar(draw(rows_of(values, name="split_half")).axes[1])
    assert low == high == pytest.approx(values[:, 0].mean())


def test_transfer_sample_by_sample_has_the_transfer_as_its_mean():
    odd = np.random.default_rng(3).normal(size=(4, 6, 5)) + 1
    assert transfer_each(odd).mean(axis=1) == pytest.approx(transfer(odd))
    assert transfer_each(np.ones((1, 6, 5))) == pytest.approx(np.ones((1, 6)))
    assert transfer_each(np.zeros((1, 6, 5))) == pytest.approx(np.zeros((1, 6)))


def test_the_null_of_transfer_is_drawn_for_each_kind():
    rows = [row for k in ("nearest", "frechet") for row in rows_of(np.ones((2, 4)), kind=k)]
    rows = [{**row, "transfer_null": 0.3 if row["kind"] == "frechet" else 0.2} for row in rows]
    ticks = [line.get_ydata()[0] for line in draw(rows).axes[2].lines if line.get_linestyle() == "--"]
    assert ticks == pytest.approx([0.2, 0.3])


@pytest.fixture(scope="module")
def context():
    return Context(pullback.load(toy_denoiser()), TINY)


@pytest.fixture(scope="module")
def outcome(context):
    return global_.run(context)


def test_the_null_of_transfer_is_that_of_the_directions_turned_among_themselves(context, outcome, monkeypatch):
    """Turned back, they are themselves."""
    assert len(outcome.rows) >= 4 * 2 * 4
    own, null = (column(outcome.rows, name) for name in ("transfer", "transfer_null"))
    known = np.isfinite(own)
    assert (np.isfinite(null) == known).all()
    assert np.abs(own - null)[known].max() > 1e-3
    monkeypatch.setattr(global_, "rotated", lambda directions, **rest: directions)
    same = global_.run(context).rows
    assert column(same, "transfer_null")[known] == pytest.approx(column(same, "transfer")[known])


def test_every_kind_has_its_pictures_of_half_as_many_people(outcome):
    assert set(outcome.pictures) == set(KINDS)
    for content in outcome.pictures.values():
        width, height = Image.open(io.BytesIO(content)).size
        assert (width, height) == (2 * (6 * 12 - 4), 2 * (2 * 12 - 4))  # -, unedited, + of two people; two directions


def test_rows_of_samples_have_the_agreement_of_their_direction_as_mean(context, outcome):
    found = global_.discovered(context)
    for i, direction in enumerate(found):
        each = column(outcome.rows, "agreement", kind="nearest", index=i)
        assert len(each) == 4
        assert each.mean() == pytest.approx(direction.agreement, abs=1e-6)
