"""The rank that holds half of a spectrum, on planted ones, and its curve on a toy."""

import numpy as np
import pytest
import torch

import pullback
from pullback.analyses import Size
from pullback.analyses.context import Context
from pullback.analyses.figures import spectra
from pullback.analyses.halves import NUM_PROBES, estimated_half, exact_half, random_half, where_exact
from pullback.analyses.record import column, distinct, read_csv, write_csv
from pullback.geometry import JacobianAt, Plan, top_singular
from pullback.geometry.plan import counted_products
from pullback.models import toy_denoiser
from pullback.testing import planted_spectrum

TINY = Size(3, 2, 2, 2, 1, 1, 2, (0.8, 0.4), 4, 2)
SQUARES = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]  # 21 in all: three hold 15, two 11
PLAN = Plan.fixed()


def planted():
    return planted_spectrum([square**0.5 for square in SQUARES], dim_x=9, dim_h=6)


def test_half_of_a_planted_spectrum_whole():
    with counted_products() as tally:
        first, second = exact_half(planted(), torch.zeros(2, 9).double(), rank=1, plan=PLAN)
    assert tally.products.total == 2 * 6
    assert first == second
    assert (first.squares, first.values, first.is_exact) == (2.0, 3.0, True)  # 2.45, 2.24, 2, 1.73, 1.41, 1 of 10.83
    assert first.held == pytest.approx(6 / 21)


@pytest.mark.parametrize(("rank", "wanted"), [(1, float("inf")), (4, 2.0)])
def test_half_by_an_estimated_total_or_more_than_a_basis_has(rank, wanted):
    f, x = planted(), torch.zeros(9).double()
    basis = top_singular(JacobianAt(f, x), rank, tol=1e-9)
    with counted_products() as tally:
        found = estimated_half(f, x, basis, plan=PLAN, generator=torch.Generator().manual_seed(0))
    assert tally.products.total == NUM_PROBES
    assert found.squares == wanted
    assert np.isnan(found.values)
    assert not found.is_exact
    assert 0 < found.held <= 1
    if rank == 4:
        assert found.held == pytest.approx(18 / 21, abs=0.15)


def test_a_map_that_does_nothing_is_held_by_nothing():
    f, x = planted_spectrum([0.0, 0.0], dim_x=4, dim_h=3), torch.zeros(4).double()
    (half,) = exact_half(f, x[None], rank=1, plan=PLAN)
    assert (half.squares, half.held) == (0.0, 1.0)


def test_half_of_a_random_matrix_is_that_of_an_explicit_one():
    matrix = torch.randn(60, 200, generator=torch.Generator().manual_seed(0)).double()
    squares = torch.linalg.svdvals(matrix).square()
    explicit = int((squares.cumsum(0) >= squares.sum() / 2).int().argmax()) + 1
    assert random_half((60, 200), generator=torch.Generator().manual_seed(1)) == pytest.approx(explicit, abs=1)


def test_where_j_is_cheap_it_is_whole_everywhere_and_where_it_is_dear_nowhere():
    many = {"num_samples": 32, "num_times": 11}
    assert where_exact((176, 12288), rank=50, **many) == (32, tuple(range(11)))
    num, times = where_exact((176, 12288), rank=10, num_samples=10, num_times=5)
    assert (num, times) == (6, (0, 2, 4))
    assert num * len(times) * 176 <= 4000
    assert where_exact((11264, 12288), rank=10, **many)[0] == 0


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return Context(pullback.load(toy_denoiser()), TINY, bank=tmp_path_factory.mktemp("bank"))


@pytest.fixture(scope="module")
def outcome(context):
    spectra.run(context)  # so that all bases are in the bank
    with counted_products() as tally:
        found = spectra.run(context)
    assert tally.products.total == 2 * 3 * (16 + NUM_PROBES)  # pooled h has 16 values, whole; the whole h is probed
    return found


def test_the_curve_of_the_pooled_h_is_that_of_the_dense_jacobian(context, outcome):
    f, x = context.feature_map(0.4, pool="sum"), context.latents(0.4, 3)
    s = torch.linalg.svdvals(JacobianAt(f, x[1]).dense().double())
    squares = s.square().cumsum(0) / s.square().sum()
    row = next(r for r in outcome.rows if (r["t_fraction"], r["pool"], r["sample"]) == (0.4, "sum", 1))
    assert row["rank_half"] == int((squares < 0.5).sum()) + 1
    assert row["rank_half_of_s"] == int((s.cumsum(0) / s.sum() < 0.5).sum()) + 1
    assert row["share_held"] == pytest.approx(float(squares[1]), abs=1e-5)
    assert row["is_exact"] == 1
    assert row["rank_half_null"] >= row["rank_half"]


def test_what_is_not_reached_is_said_and_drawn_as_more_than_the_rank(outcome, tmp_path):
    assert np.isinf(column(outcome.rows, "rank_half", pool="none")).all()
    assert outcome.note.count("more than 2, which hold") == 2  # the whole h at both ends
    assert "sum-pooled h" in outcome.note
    assert "(exactly, of 3 samples)" in outcome.note
    write_csv(tmp_path / "spectra.csv", outcome.rows)
    axes = spectra.draw(read_csv(tmp_path / "spectra.csv")).axes
    triangles = [line for line in axes[3].lines if line.get_marker() == "^"]
    assert [line.get_label() for line in triangles] == ["whole h: more than 2"]
    assert np.asarray(triangles[0].get_ydata()).tolist() == [2, 2]
    curve = next(line for line in axes[3].lines if line.get_label() == "sum-pooled h")
    wanted = [column(outcome.rows, "rank_half", pool="sum", t_fraction=t).mean() for t in (0.8, 0.4)]
    assert np.asarray(curve.get_ydata()) == pytest.approx(wanted)
    assert len(axes[3].collections) == 1  # its band


def test_a_table_of_before_the_rule_was_measured_is_drawn_without_it(outcome):
    old = [
        {k: v for k, v in row.items() if not k.startswith(("rank_half", "share_held", "is_exact"))}
        for row in outcome.rows
    ]
    assert len(spectra.draw(old).axes) == 3


def test_every_spectrum_has_its_band(outcome):
    for axis in spectra.draw(outcome.rows).axes[:2]:
        assert len(axis.collections) == len(distinct(outcome.rows, "t_fraction"))
        lead = [line for line in axis.lines if line.get_label() != "matched"]
        assert all(np.asarray(line.get_ydata())[0] == pytest.approx(1.0) for line in lead)
