import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pymanopt.manifolds import Grassmann
from scipy.linalg import subspace_angles

from pullback.errors import NumericalError, RankError, ShapeError
from pullback.geometry import geodesic_distance, grassmann_exp, grassmann_log, principal_angles


def rows(seed, rank, dim):
    return torch.randn(rank, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(seed, dim):
    return torch.linalg.qr(rows(seed, dim, dim))[0]


roomy = {"seed": st.integers(0, 10**6), "rank": st.integers(1, 5), "dim": st.integers(6, 30)}  # tangents exist
cases = {"seed": st.integers(0, 10**6), "rank": st.integers(1, 5), "dim": st.integers(5, 30)}


@given(**cases, other=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_law16_equals_scipy(seed, rank, dim, other):
    a, b = rows(seed, rank, dim), rows(seed + 1, other, dim)
    exact = np.sort(subspace_angles(a.mT.numpy(), b.mT.numpy()))
    assert np.allclose(principal_angles(a, b).numpy(), exact, atol=1e-7)


@given(**cases)
@settings(max_examples=40, deadline=None)
def test_law16_metric(seed, rank, dim):
    a, b, c = (rows(seed + i, rank, dim) for i in range(3))
    turn, mix = rotation(seed, dim), rotation(seed + 9, rank)
    distance = geodesic_distance(a, b)
    assert geodesic_distance(a, mix @ a) < 1e-6
    assert torch.isclose(distance, geodesic_distance(b, a), atol=1e-10)
    assert torch.isclose(distance, geodesic_distance(a @ turn, b @ turn), atol=1e-8)
    assert distance <= geodesic_distance(a, c) + geodesic_distance(c, b) + 1e-9
    assert distance <= min(rank, dim - rank) ** 0.5 * torch.pi / 2 + 1e-9


@pytest.mark.parametrize("angle_rad", [0.3, 1.2, 1e-10])
def test_law16_planted_angle(angle_rad):
    a, b = torch.eye(6, dtype=torch.float64)[:2], torch.eye(6, dtype=torch.float64)[:2].clone()
    b[1] = 0
    b[1, 1], b[1, 4] = np.cos(angle_rad), np.sin(angle_rad)
    assert float(geodesic_distance(a, b)) == pytest.approx(angle_rad, rel=1e-6)


def test_batches():
    a, b = torch.stack([rows(0, 3, 9), rows(1, 3, 9)]), torch.stack([rows(2, 3, 9), rows(3, 3, 9)])
    assert torch.allclose(geodesic_distance(a, b)[1], geodesic_distance(a[1], b[1]))


def test_rank_zero_has_no_angles():
    assert principal_angles(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)
    assert geodesic_distance(torch.zeros(0, 4), torch.zeros(0, 4)) == 0


def test_errors():
    with pytest.raises(RankError, match="both spaces must have rank 2; got 3; cut the larger basis"):
        geodesic_distance(rows(0, 2, 5), rows(1, 3, 5))
    with pytest.raises(ShapeError, match="must live in 5 dimensions; got 6"):
        principal_angles(rows(0, 2, 5), rows(1, 2, 6))


def tangent_at(a, seed, length):
    x = rows(seed, *a.shape)
    x = x - x @ a.mT @ a
    return length * x / torch.linalg.matrix_norm(x, ord=2)


@given(**roomy)
@settings(max_examples=25, deadline=None)
def test_law16_distance_exp_and_log_equal_pymanopt(seed, rank, dim):
    a, b = (torch.linalg.qr(rows(seed + i, dim, rank))[0].mT for i in range(2))
    oracle = Grassmann(dim, rank)
    point, other = a.mT.numpy(), b.mT.numpy()
    assert float(geodesic_distance(a, b)) == pytest.approx(oracle.dist(point, other), abs=1e-6)
    x = tangent_at(a, seed + 7, 1.2)
    ours, theirs = grassmann_exp(a, x), oracle.exp(point, x.mT.numpy())
    assert float(geodesic_distance(ours, torch.from_numpy(theirs).mT)) < 1e-8
    if float(principal_angles(a, b)[-1]) < 1.5:  # its arctan of an inverse loses digits near pi/2
        assert np.allclose(grassmann_log(a, b).mT.numpy(), oracle.log(point, other), atol=1e-8)


@given(**roomy, length=st.floats(1e-9, 1.5))
@settings(max_examples=40, deadline=None)
def test_log_and_exp_are_inverse(seed, rank, dim, length):
    a = torch.linalg.qr(rows(seed, dim, rank))[0].mT
    x = tangent_at(a, seed + 1, length)
    b = rotation(seed, rank) @ grassmann_exp(a, x)
    assert torch.allclose(grassmann_log(a, b), x, atol=1e-9 * max(1, length))
    assert float(geodesic_distance(a, b)) == pytest.approx(float(x.norm()), rel=1e-6, abs=1e-14)
    assert float(geodesic_distance(grassmann_exp(a, grassmann_log(a, b)), b)) < 1e-9


def test_log_of_itself_is_zero_and_batches_are_rows():
    a = torch.stack([torch.linalg.qr(rows(i, 9, 3))[0].mT for i in range(4)])
    assert grassmann_log(a, a).abs().max() < 1e-12
    moved = grassmann_log(a, a.flip(0))
    assert torch.allclose(moved[1], grassmann_log(a[1], a[2]), atol=1e-12)
    assert torch.allclose(grassmann_exp(a, moved)[1], grassmann_exp(a[1], moved[1]), atol=1e-12)


def test_errors_of_exp_and_log():
    a = torch.eye(4, dtype=torch.float64)[:2]
    with pytest.raises(NumericalError, match=r"angles below pi / 2; got a direction of b orthogonal to all of a"):
        grassmann_log(a, torch.eye(4, dtype=torch.float64)[1:3])
    with pytest.raises(NumericalError, match=r"orthonormal rows at the base point; got an error of 3; use basis\.u"):
        grassmann_log(2 * a, a)
    with pytest.raises(NumericalError, match=r"a tangent at a: X A\^T = 0; got \|X A\^T\| = 1\.4"):
        grassmann_exp(a, a)
    with pytest.raises(ShapeError, match=r"a tangent of shape \(2, 4\); got \(1, 4\)"):
        grassmann_exp(a, a[:1])
    with pytest.raises(RankError, match="both spaces must have rank 2; got 1"):
        grassmann_log(a, a[:1])
