import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles

from pullback.errors import RankError, ShapeError
from pullback.geometry import geodesic_distance, principal_angles


def rows(seed, rank, dim):
    return torch.randn(rank, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(seed, dim):
    return torch.linalg.qr(rows(seed, dim, dim))[0]


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
