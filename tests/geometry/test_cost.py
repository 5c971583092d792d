"""The planner's arithmetic: no clock is read here."""

import pytest
import torch

from pullback.geometry import JacobianAt, Plan, cost, measure_plan, top_singular
from pullback.geometry.autotune import timed_plan
from pullback.geometry.cost import (
    BLOCKS,
    best_block,
    expected_krylov_bytes,
    expected_products,
    seconds_of_algebra,
    seconds_per_product,
)
from pullback.testing import ConvMap, planted_spectrum

WIDTHS = ((1, 4.0), (2, 3.0), (4, 1.0), (16, 0.5))


def plan(widths=WIDTHS, chunk=16):
    return Plan("vmap", "vmap", chunk, seconds_per_jvp=2.0, seconds_per_vjp=1.0, seconds_by_width=widths)


def test_products_grow_with_rank_and_with_the_width_of_the_block():
    counts = [[expected_products(guarded, block) for block in BLOCKS] for guarded in (6, 15, 55)]
    assert all(row == sorted(row) for row in counts)
    assert all(list(column) == sorted(column) for column in zip(*counts, strict=True))
    assert expected_products(15, 1) - expected_products(15, 1, verify=False) == 15


@pytest.mark.parametrize(("width", "seconds"), [(1, 4.0), (3, 3.0), (15, 1.0), (16, 0.5), (100, 0.5)])
def test_a_width_costs_what_the_nearest_smaller_one_did(width, seconds):
    assert seconds_per_product(plan(), width) == seconds


def test_without_widths_the_mean_of_both_kinds_counts():
    assert seconds_per_product(plan(widths=()), 4) == 1.5
    assert seconds_per_product(Plan.fixed(), 4) == 1.0


def test_the_block_is_wide_where_products_alone_are_dear_and_narrow_where_a_batch_fills_the_call():
    assert best_block(plan(), 1, 15) == 4
    assert best_block(plan(), 16, 15) == 1
    assert best_block(plan(widths=((1, 1.0), (16, 1.0))), 1, 15) == 1
    assert best_block(plan(), 1, 2) <= 2


def test_a_plan_that_was_measured_on_a_batch_promises_one_sample_nothing_of_wide_blocks():
    of_batch = Plan("double_backward", "loop", 16, seconds_by_width=((8, 0.3), (16, 0.3)))
    assert seconds_per_product(of_batch, 1) == 0.3  # and not the 1 s of a plan without measurements
    assert best_block(of_batch, 1, 15) == 1


def test_the_measured_plan_knows_its_widths_and_the_solver_follows_it():
    f = ConvMap(dtype=torch.float32)
    measured = measure_plan(f, torch.zeros(2, 3, 8, 8), chunk=8)
    widths = [width for width, _ in measured.seconds_by_width]
    assert widths == [2, 4, 6, 8]
    assert all(seconds > 0 for _, seconds in measured.seconds_by_width)
    g = planted_spectrum(torch.logspace(0, -2, 60).tolist(), dim_x=200, dim_h=150)
    narrow, wide = (
        top_singular(JacobianAt(g, torch.zeros(200, dtype=torch.float64), plan=p), 10).products.total
        for p in (plan(widths=((1, 1.0), (16, 1.0))), plan())
    )
    assert narrow < wide


def test_a_plan_that_was_chosen_before_gets_the_times_of_today_and_stays_what_it_is():
    f = ConvMap(dtype=torch.float32)
    chosen = Plan("double_backward", "loop", 8, seconds_per_jvp=1e9, seconds_by_width=((1, 1e9),))
    now = timed_plan(f, torch.zeros(2, 3, 8, 8), chosen)
    assert (now.jvp_engine, now.vjp_engine, now.chunk) == ("double_backward", "loop", 8)
    assert [width for width, _ in now.seconds_by_width] == [2, 4, 6, 8]
    times = [now.seconds_per_jvp, now.seconds_per_vjp, *(seconds for _, seconds in now.seconds_by_width)]
    assert all(seconds > 0 for seconds in times)
    assert 1e9 not in times


def test_the_expected_products_are_those_of_a_decaying_spectrum():
    f = planted_spectrum(torch.logspace(0, -2, 120).tolist(), dim_x=600, dim_h=500)
    jac = JacobianAt(f, torch.zeros(600, dtype=torch.float64))
    for rank in (10, 24, 50):
        basis = top_singular(jac, rank, block=1, verify=False)
        assert 0.5 < basis.products.total / expected_products(rank + 5, 1, verify=False) < 1.5
        num_bytes = expected_krylov_bytes(1, (600, 500), rank + 5, 1, like=jac.x)
        assert 0.5 < basis.krylov_bytes / num_bytes < 1.5


def test_the_algebra_is_timed_at_half_of_its_final_size_on_both_sides(monkeypatch):
    now = [0.0]

    def extend(basis, new, generator):
        now[0] += basis.shape[1] * new.shape[1] * basis.shape[2]  # one second a number

    monkeypatch.setattr(cost, "extend", extend)
    monkeypatch.setattr(cost.time, "perf_counter", lambda: now[0])
    half = expected_products(15, 2, verify=False) // 4
    seconds = seconds_of_algebra(4, (300, 200), guarded=15, block=2, like=torch.zeros(1))
    assert seconds == pytest.approx(half * (300 + 200) / 2 / 4)


def test_krylov_bases_are_of_single_precision_at_least_and_no_larger_than_their_spaces():
    alone = expected_krylov_bytes(1, (1000, 500), 15, 2, like=torch.zeros(1))
    assert alone == expected_krylov_bytes(1, (1000, 500), 15, 2, like=torch.zeros(1, dtype=torch.float16))
    assert 2 * alone == expected_krylov_bytes(1, (1000, 500), 15, 2, like=torch.zeros(1, dtype=torch.float64))
    assert 3 * alone == expected_krylov_bytes(3, (1000, 500), 15, 2, like=torch.zeros(1))
    assert expected_krylov_bytes(1, (20, 10), 50, 2, like=torch.zeros(1)) == 4 * (20**2 + 10**2)
