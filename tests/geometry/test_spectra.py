import math

import pytest
import torch

from pullback.errors import NumericalError, OptionError, RankError, ShapeError
from pullback.geometry import (
    JacobianAt,
    effective_rank,
    participation_ratio,
    rank_rule,
    top_singular,
    total_squares,
    total_values,
)
from pullback.testing import ConvMap, planted_spectrum


def random(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def jacobian(s, dim_x=60, dim_h=50, seed=0):
    f = planted_spectrum(s, dim_x=dim_x, dim_h=dim_h, seed=seed)
    return JacobianAt(f, torch.zeros(dim_x, dtype=torch.float64))


PLANTED = [3.0] + [1.0] * 9 + [0.1] * 20


def test_law08_rank_rule_on_planted_spectra():
    assert rank_rule(torch.ones(10)).rank == 5
    assert rank_rule(torch.tensor([3.0, 1.0, 1.0, 1.0])).rank == 1  # 9 of 12
    assert rank_rule(torch.tensor([3.0, 1.0, 1.0, 1.0]), power=1).rank == 1  # 3 of 6: exactly half
    assert rank_rule(torch.tensor([2.9, 1.0, 1.0, 1.0]), power=1).rank == 2
    assert rank_rule(torch.tensor([3.0, 1.0, 1.0, 1.0]), share=1.0).rank == 4
    assert rank_rule(torch.zeros(3)).rank == 0
    halving = 2.0 ** -torch.arange(20, dtype=torch.float64)
    assert rank_rule(halving, share=0.9, power=1).rank == 4  # 1 - 2^-k >= .9


def test_law08_exact_when_pooled():
    f = ConvMap(pool=True)
    x = random(0, 3, 8, 8)
    s = top_singular(JacobianAt(f, x), 4, method="pooled").s
    exact = torch.linalg.svdvals(f.jacobian(x))
    for power in (1, 2):
        sums = (exact**power).cumsum(0)
        assert rank_rule(s, power=power).rank == int((sums < 0.5 * sums[-1]).sum()) + 1


@pytest.mark.parametrize("power", [1, 2])
def test_law08_estimated_totals_bracket_the_exact_rank(power):
    s = [1.0 / (1 + i) ** 0.5 for i in range(40)]
    jac = jacobian(s)
    exact = rank_rule(torch.tensor(s).double(), power=power).rank
    basis = top_singular(jac, 30, tol=1e-10)
    total = (total_values if power == 1 else total_squares)(jac, basis=basis)
    found = rank_rule(basis.s, power=power, total=total)
    assert found.low <= exact <= found.high
    assert abs(found.rank - exact) <= 1


def test_a_rank_out_of_reach_is_said():
    s = torch.ones(4)
    jac = jacobian([1.0] * 40)
    found = rank_rule(s, total=total_squares(jac))
    assert (found.rank, found.low, found.high) == (None, None, None)


@pytest.mark.parametrize(("estimate", "exact"), [(total_squares, 18.2), (total_values, 14.0)])
def test_totals_of_a_planted_spectrum(estimate, exact):
    inside, values = 0, []
    for seed in range(20):
        found = estimate(jacobian(PLANTED, seed=seed), generator=torch.Generator().manual_seed(seed))
        inside += found.low <= exact <= found.high
        values.append(found.value)
    assert inside >= 17  # 95 % intervals
    assert sum(values) / 20 == pytest.approx(exact, abs=1.3)  # one of ten probes has a deviation of 1.9


def test_hutch_plus_plus_is_exact_where_the_sketch_holds_everything():
    found = total_squares(jacobian([3.0, 2.0, 1.0]), sketch=3)
    assert found.value == pytest.approx(14.0, abs=1e-9)
    assert found.high - found.low < 1e-9
    assert found.num_products == 3 * 3 + 20


def test_a_basis_leaves_only_the_rest_to_chance():
    jac = jacobian(PLANTED)
    basis = top_singular(jac, 10, tol=1e-10)
    plain, better = total_squares(jac, sketch=0), total_squares(jac, basis=basis)
    assert better.value == pytest.approx(18.2, abs=0.05)
    assert better.high - better.low < (plain.high - plain.low) / 20
    assert better.num_products == 20
    assert total_values(jac, basis=basis).value == pytest.approx(14.0, rel=0.05)


def test_quadrature_brackets_each_probe():
    from pullback.geometry.totals import _quadrature, bidiagonal

    jac = jacobian([1.0 / (1 + i) for i in range(30)])
    probes = random(1, 5, 60)
    _, s, right = torch.linalg.svd(jac.f.matrix)
    exact = ((probes / probes.norm(dim=1, keepdim=True)) @ right.mT[:, :50]).square() @ s
    gaps = []
    for num_steps in (2, 5, 10, 30):
        matrix = bidiagonal(jac, probes, num_steps, torch.zeros(1, 0, 60, dtype=torch.float64))
        gauss, radau = _quadrature(matrix[:, :, :-1]), _quadrature(matrix)
        assert bool((radau <= exact + 1e-9).all())
        assert bool((exact <= gauss + 1e-9).all())
        gaps.append(float((gauss - radau).max()))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-3 * float(exact.max())


def test_law22_effective_rank_and_participation_ratio_on_planted_spectra():
    for k in (1, 3, 10):
        flat = torch.cat([torch.full((k,), 0.7), torch.zeros(5)]).double()
        assert float(effective_rank(flat)) == pytest.approx(k)
        assert float(participation_ratio(flat)) == pytest.approx(k)
    s = torch.tensor([2.0, 1.0], dtype=torch.float64)  # p = .8, .2
    assert float(effective_rank(s)) == pytest.approx(math.exp(-0.8 * math.log(0.8) - 0.2 * math.log(0.2)))
    assert float(participation_ratio(s)) == pytest.approx(25 / 17)
    assert torch.allclose(effective_rank(10 * s), effective_rank(s))
    assert effective_rank(torch.zeros(3)) == participation_ratio(torch.zeros(3)) == 0
    assert effective_rank(torch.stack([s, s])).shape == (2,)


def test_law22_of_a_map_with_a_planted_spectrum():
    jac = jacobian([2.0, 2.0, 1.0])
    s = top_singular(jac, 3, tol=1e-10).s
    assert float(participation_ratio(s)) == pytest.approx(81 / 33)


def test_errors():
    with pytest.raises(OptionError, match=r"a share in \(0, 1\] and power 1 or 2; got 0 and 2"):
        rank_rule(torch.ones(3), share=0)
    with pytest.raises(RankError, match=r"one decreasing list of singular values; got shape \(3,\)"):
        rank_rule(torch.tensor([1.0, 2.0, 3.0]))
    with pytest.raises(NumericalError, match="finite and at least 0"):
        effective_rank(torch.tensor([1.0, -1.0]))
    with pytest.raises(OptionError, match=r"at least 2 probes.*; got 1 probes; one probe has no spread"):
        total_squares(jacobian([1.0]), num_probes=1)
    batch = JacobianAt(planted_spectrum([1.0], dim_x=4, dim_h=3), torch.zeros(2, 4).double())
    with pytest.raises(ShapeError, match="J and basis at one x; got a batch"):
        total_values(batch)
