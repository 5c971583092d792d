import pytest
import torch

from pullback.directions import local_basis, pca_of_h, random_h, random_x
from pullback.directions.types import Direction
from pullback.errors import OptionError, RankError, ShapeError
from pullback.geometry import Plan
from pullback.testing import ConvMap, LinearMap


def latents(f, num, seed=0):
    return torch.randn(num, *f.x_shape, generator=torch.Generator().manual_seed(seed), dtype=f.dtype)


def test_auto_takes_the_exact_route_for_a_short_h():
    f = ConvMap(pool=True)
    assert local_basis(f, latents(f, 1)[0], rank=3).method == "pooled"


def test_auto_iterates_for_a_long_h():
    f = ConvMap(size=24)
    basis = local_basis(f, latents(f, 2), rank=3)
    assert basis.method == "lanczos"
    assert basis.u.shape == (2, 3, 576)
    assert basis.v.shape == (2, 3, 3, 24, 24)
    assert basis.verified


def test_the_plan_is_measured_once_and_recorded():
    f = ConvMap()
    first, second = local_basis(f, latents(f, 1)[0]), local_basis(f, latents(f, 1, seed=1)[0])
    assert first.plan is second.plan
    assert first.plan.seconds_per_vjp is not None
    plan = Plan.fixed(chunk=3)
    assert local_basis(f, latents(f, 1)[0], plan=plan).plan is plan


def test_plain_callable():
    basis = local_basis(lambda x: x[:, :2] * torch.tensor([3.0, 1.0]), torch.zeros(1, 4), rank=2)
    assert torch.allclose(basis.s, torch.tensor([[3.0, 1.0]]))


def test_another_generator_gives_the_same_triplets_by_other_steps():
    f = ConvMap()
    x = latents(f, 1)[0]
    bases = [
        local_basis(f, x, rank=3, method="lanczos", tol=1e-9, generator=torch.Generator().manual_seed(i))
        for i in range(2)
    ]
    assert torch.allclose(bases[0].u, bases[1].u, atol=1e-6)
    assert not torch.equal(bases[0].u, bases[1].u)


def test_controls_are_unit_seeded_and_say_what_they_are():
    f = ConvMap()
    h, x = random_h(f, rank=4), random_x(f, rank=4)
    assert (h[0].vector.shape, x[0].vector.shape) == ((64,), (3, 8, 8))
    assert (h[0].space, x[0].space) == ("H", "X")
    assert h[0].origin["estimator"] == "random"
    assert torch.equal(h[3].vector, random_h(f, rank=4)[3].vector)
    assert not torch.equal(h[3].vector, random_h(f, rank=4, generator=torch.Generator().manual_seed(1))[3].vector)
    assert random_h(f, rank=0) == []


def test_law30_pca_finds_a_planted_covariance():
    axes = torch.linalg.qr(torch.randn(20, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    scales = torch.tensor([10.0, 5.0, 2.0] + [0.01] * 17, dtype=torch.float64)
    f = LinearMap(axes * scales)
    found = pca_of_h(f, 3 + latents(f, 4000), rank=3)
    for i, direction in enumerate(found):
        assert float(direction.vector @ axes[:, i]) ** 2 > 0.99
        assert direction.s == pytest.approx(float(scales[i]), rel=0.05)
    assert found[0].origin["num_samples"] == 4000


def test_errors():
    f = ConvMap()
    with pytest.raises(OptionError, match="method must be one of auto, lanczos, power, pooled, dense; got 'fast'"):
        local_basis(f, latents(f, 1)[0], method="fast")
    with pytest.raises(RankError, match=r"between 1 and min\(B - 1, D\) = 2; got 3"):
        pca_of_h(f, latents(f, 3), rank=3)
    with pytest.raises(RankError, match="at least 0; got -1"):
        random_h(f, rank=-1)
    with pytest.raises(ShapeError, match="a direction of unit length; got 2"):
        Direction(torch.tensor([2.0]), "H", {})
    with pytest.raises(OptionError, match="space must be H or X; got 'h'"):
        Direction(torch.tensor([1.0]), "h", {})
