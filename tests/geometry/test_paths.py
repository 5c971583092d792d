import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pullback.errors import NumericalError, ShapeError
from pullback.geometry import lerp, slerp


def gaussian(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("path", [lerp, slerp])
@given(seed=st.integers(0, 10**6))
def test_law19_ends_are_exact(path, seed):
    a, b = gaussian(seed, 3, 8, 8), gaussian(seed + 1, 3, 8, 8)
    points = path(a, b, [0.0, 1.0])
    assert torch.equal(points[0], a)
    assert torch.equal(points[1], b)
    assert torch.equal(path(a, b, 0.0), a)


def test_law19_slerp_keeps_the_norm_of_noise():
    a, b = gaussian(0, 3, 64, 64), gaussian(1, 3, 64, 64)
    norms = slerp(a, b, torch.linspace(0, 1, 9)).flatten(1).norm(dim=1)
    assert ((norms / 12288**0.5 - 1).abs() < 0.01).all()
    assert lerp(a, b, 0.5).norm() / 12288**0.5 < 0.75


def test_law19_slerp_moves_at_constant_angle():
    a, b = torch.tensor([1.0, 0, 0], dtype=torch.float64), torch.tensor([0, 1.0, 0], dtype=torch.float64)
    points = slerp(a, b, torch.linspace(0, 1, 5, dtype=torch.float64))
    cosine = (points[1:] * points[:-1]).sum(1)
    assert torch.allclose(cosine, torch.full((4,), torch.pi / 8, dtype=torch.float64).cos(), atol=1e-12)


@pytest.mark.parametrize("factor", [1.0, 2.5])
def test_law19_parallel_ends_are_joined_straight(factor):
    a = gaussian(0, 3, 4, 4)
    assert torch.allclose(slerp(a, factor * a, 0.3), lerp(a, factor * a, 0.3), rtol=1e-5)


def test_law19_nearly_parallel_ends_stay_accurate():
    a = gaussian(0, 100).double()
    b = a + 1e-7 * gaussian(1, 100).double()
    assert torch.allclose(slerp(a, b, 0.5), lerp(a, b, 0.5), rtol=1e-12)


def test_law19_antipodal_ends_ask_for_a_midpoint():
    a = gaussian(0, 3, 4, 4)
    with pytest.raises(
        NumericalError, match=r"ends that are not antipodal; got an angle of 3\.141\d rad; choose a mid-"
    ):
        slerp(a, -2 * a, 0.5)


def test_errors():
    with pytest.raises(NumericalError, match="a zero vector; use lerp"):
        slerp(torch.zeros(3), torch.ones(3), 0.5)
    with pytest.raises(ShapeError, match=r"both ends must have shape \(3,\); got \(4,\)"):
        lerp(torch.zeros(3), torch.ones(4), 0.5)
