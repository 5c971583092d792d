"""Global directions by nearest, Hungarian and Frechet mean; near ties; split halves."""

import dataclasses
from contextlib import nullcontext

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from pullback.directions import agreement, agreement_null, canonical, frechet_directions, global_directions, split_half
from pullback.directions.global_ import hungarian, nearest
from pullback.directions.subspace import MEAN_RESIDUAL
from pullback.errors import MismatchError, NotConvergedWarning, OptionError
from pullback.geometry import frechet_mean, geodesic_distance
from tests.directions.planted_bases import ORIGIN, basis_from, noised_copies, orthonormal, seeded


def far_apart(match):
    """Unrelated spans have no one mean, and the search for it says so."""
    return pytest.warns(NotConvergedWarning, match="too far apart") if match == "frechet" else nullcontext()


def vectors(directions):
    return torch.stack([direction.vector for direction in directions])


@pytest.mark.parametrize("match", ["nearest", "hungarian", "frechet"])
def test_law13_permuted_flipped_noised_copies_are_recovered_by_all_three(match):
    u = orthonormal(6, 0)
    found = global_directions(noised_copies(u, 10, 100), match=match)
    cosine = (vectors(found) @ u.mT).abs()
    assert torch.equal(cosine.argmax(1), torch.arange(6))  # by falling s, as planted
    assert cosine.amax(1).min() > 0.99
    assert found[0].origin["match"] == match
    assert [direction.s for direction in found] == pytest.approx(list(range(6, 0, -1)), rel=0.01)


@pytest.mark.parametrize("match", ["hungarian", "frechet"])
def test_law13_unrelated_bases_agree_at_their_null(match):
    bases = [basis_from(orthonormal(8, i)) for i in range(18)]
    with far_apart(match):
        found = global_directions(bases[:10], match=match)
    assert match != "frechet" or found[0].origin[MEAN_RESIDUAL] > 1e-8  # what the warning says stays with them
    above = [agreement(d, bases[10:]) > agreement_null(d, bases[10:], generator=seeded(i)) for i, d in enumerate(found)]
    assert len(found) >= 7
    assert sum(above) <= 2  # 5 % are expected


def test_law15_hungarian_finds_a_planted_permutation():
    u, order = orthonormal(6, 0), torch.tensor([3, 0, 5, 1, 4, 2])
    cosine = torch.stack([u @ u.mT, u @ u[order].mT], dim=1)  # (r, B, k)
    chosen = hungarian(cosine)
    assert torch.equal(chosen[:, 0], torch.arange(6))
    assert torch.equal(order[chosen[:, 1]], torch.arange(6))


def test_law15_no_u_serves_two_references():
    cosine = torch.tensor([[[0.9, 0.2]], [[0.8, 0.1]]])  # both like the first; the sum is best with it given to row 1
    assert nearest(cosine).flatten().tolist() == [0, 0]
    expected = linear_sum_assignment(cosine[:, 0].numpy(), maximize=True)[1]
    assert hungarian(cosine).flatten().tolist() == expected.tolist()
    assert len(set(hungarian(cosine).flatten().tolist())) == 2


def test_law15_global_directions_use_the_assignment():
    e = torch.eye(5, dtype=torch.float64)
    shared = (e[0] + e[1]) / 2**0.5  # nearest to both references, e0 and e1
    lone = 0.3 * (e[0] - e[1]) / 2**0.5 + (1 - 0.09) ** 0.5 * e[2]
    bases = [basis_from(e[:2]), basis_from(torch.stack([shared, lone]))]
    has_lone = {
        match: int(((vectors(global_directions(bases, match=match)) @ lone).abs() > 0.6).sum())
        for match in ("nearest", "hungarian")
    }
    assert has_lone == {"nearest": 0, "hungarian": 1}


def test_frechet_axes_span_the_mean_and_diagonalise_the_samples_metric():
    bases = noised_copies(orthonormal(5, 0), 8, 50, noise=0.03)
    directions = frechet_directions(bases)
    assert 0 <= directions[0].origin[MEAN_RESIDUAL] <= 1e-8
    found = vectors(directions)
    mean = frechet_mean(torch.stack([b.u for b in bases])).rows
    assert float(geodesic_distance(found, mean)) < 1e-6
    metric = sum(found @ b.u.mT @ torch.diag(b.s**2) @ b.u @ found.mT for b in bases)
    off = metric - torch.diag(metric.diagonal())
    assert off.abs().max() < 1e-8 * metric.max()
    assert len(frechet_directions(bases, rank=2)) == 2


def test_frechet_directions_do_not_depend_on_the_basis_inside_a_tie():
    u = orthonormal(4, 0)
    turn = orthonormal(2, 7, 2)
    turned = torch.cat([u[:1], turn @ u[1:3], u[3:]])
    s = [4.0, 2.0, 2.0, 1.0]
    other = noised_copies(u, 4, 9)
    plain = vectors(frechet_directions([basis_from(u, s), *other]))
    mixed = vectors(frechet_directions([basis_from(turned, s), *other]))
    assert torch.allclose((plain * mixed).sum(1).abs(), torch.ones(4).double(), atol=1e-6)


def tied(u, seed):
    """A sample whose middle pair is a near tie, turned at random inside it."""
    turn = torch.block_diag(torch.eye(1), orthonormal(2, seed, 2), torch.eye(1)).double()
    v = orthonormal(4, 99, 30)
    return basis_from(turn @ u, s=[4.0, 2.0, 1.99, 1.0], v=turn @ v)


def test_near_ties_are_turned_alike_in_all_samples():
    u = orthonormal(4, 0)
    samples = [tied(u, seed) for seed in range(6)]
    before = torch.stack([(b.u * samples[0].u).sum(1).abs() for b in samples])
    after = canonical(samples)
    cosine = torch.stack([(b.u * after[0].u).sum(1) for b in after])
    assert before[:, 1:3].min() < 0.9
    assert cosine.min() > 0.999999  # signs too
    for old, new in zip(samples, after, strict=True):
        assert float(geodesic_distance(old.u, new.u)) < 1e-6
        assert torch.allclose(new.u @ old.u.mT, new.v @ old.v.mT, atol=1e-9)  # u and v turn alike
        assert torch.allclose(new.u @ new.u.mT, torch.eye(4).double(), atol=1e-9)


def test_canonical_axes_do_not_depend_on_what_a_solver_chose():
    bases = [
        dataclasses.replace(b, s=torch.tensor([4.0, 2.0, 1.99, 1.0]).double())
        for b in noised_copies(orthonormal(4, 0), 5, 30, noise=0.05)
    ]
    turn = torch.block_diag(torch.eye(1), orthonormal(2, 3, 2), -torch.eye(1)).double()
    other = [bases[0], bases[1], *(dataclasses.replace(b, u=turn @ b.u, v=turn @ b.v) for b in bases[2:])]
    from pullback.directions.global_ import medoid

    assert medoid(torch.stack([b.u for b in bases])) < 2  # the reference is not among the turned ones
    for one, two in zip(canonical(bases), canonical(other), strict=True):
        assert torch.allclose(one.u, two.u, atol=1e-6)
        assert torch.allclose(one.v, two.v, atol=1e-6)


def test_the_spread_of_a_tie_is_in_the_residual():
    u = orthonormal(4, 0)
    after = canonical([tied(u, 0), tied(u, 1), tied(u, 2)])
    for basis in after:
        assert basis.residual[0] < 1e-12
        assert basis.residual[1:3].max() <= 0.01 / 4 + 1e-12
        assert torch.allclose(basis.s, torch.tensor([4.0, 2.0, 2.0, 1.0]).double(), atol=0.011)


@pytest.mark.parametrize("match", ["nearest", "hungarian", "frechet"])
def test_split_halves_tell_shared_directions_from_unrelated_ones(match):
    shared = split_half(noised_copies(orthonormal(5, 0), 8, 10), match=match, num_splits=3, num_null=3)
    assert len(shared) == 5
    assert all(each.value > 0.98 > each.null for each in shared)
    lone = split_half([basis_from(orthonormal(5, i)) for i in range(6)], match=match, num_splits=2, num_null=4)
    assert sum(each.value > each.null for each in lone) <= 2


def test_split_half_is_seeded():
    bases = noised_copies(orthonormal(4, 0), 6, 10, noise=0.1)
    first, second, other = (split_half(bases, num_splits=2, num_null=2, generator=seeded(seed)) for seed in (1, 1, 2))
    assert first == second != other


def test_errors():
    u = orthonormal(3, 0)
    for make in (frechet_directions, canonical):
        with pytest.raises(OptionError, match="bases of at least 2 samples; got 1"):
            make([basis_from(u)])
        with pytest.raises(MismatchError, match="different t"):
            make([basis_from(u), basis_from(u, origin={**ORIGIN, "t": 1})])
    with pytest.raises(OptionError, match="bases of at least 4 samples; got 3"):
        split_half([basis_from(u)] * 3)
    with pytest.raises(OptionError, match="num_splits >= 1 and num_null >= 1; got 0 and 10"):
        split_half([basis_from(u)] * 4, num_splits=0)
