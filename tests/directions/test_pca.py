import pytest
import torch

from pullback.directions import incremental_pca_of_h, local_basis, pca_of_h, pca_of_perturbed
from pullback.errors import NumericalError, OptionError, RankError
from pullback.geometry import geodesic_distance
from pullback.testing import ConvMap, LinearMap


def latents(shape, num, seed=0):
    return torch.randn(num, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def vectors(directions):
    return torch.stack([direction.vector for direction in directions])


def test_law30_incremental_pca_equals_pca_where_nothing_is_cut():
    f, xs = ConvMap(), 1 + latents((3, 8, 8), 50)
    whole = pca_of_h(f, xs, rank=5)
    pieces = incremental_pca_of_h(f, xs.split(11), rank=5, kept=64)
    assert torch.allclose(vectors(whole), vectors(pieces), atol=1e-8)
    assert [d.s for d in pieces] == pytest.approx([d.s for d in whole])
    assert pieces[0].origin["num_samples"] == 50


def test_law30_incremental_pca_finds_a_planted_covariance_with_few_axes_kept():
    axes = torch.linalg.qr(torch.randn(20, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    scales = torch.tensor([10.0, 5.0, 2.0] + [0.1] * 17, dtype=torch.float64)
    batches = [3 + latents((20,), 100, seed) for seed in range(30)]
    found = incremental_pca_of_h(LinearMap(axes * scales), batches, rank=3, kept=6)
    for i, direction in enumerate(found):
        assert float(direction.vector @ axes[:, i]) ** 2 > 0.99
        assert direction.s == pytest.approx(float(scales[i]), rel=0.05)


def test_axes_along_which_h_does_not_vary_have_no_deviation():
    """Samples on a line: as for the PCA in one piece, what follows its axis is arbitrary but unit."""
    f, xs = LinearMap(torch.eye(3).double()), torch.arange(12.0).double()[:, None] * torch.tensor([3.0, 4.0, 0.0])
    found = incremental_pca_of_h(f, xs.split(4), rank=2)
    assert found[0].vector.tolist() == pytest.approx([0.6, 0.8, 0.0])
    assert found[1].s == pytest.approx(0.0, abs=1e-9)


def test_law30_axes_of_perturbations_approach_u_as_the_noise_falls_and_samples_grow():
    f = ConvMap(pool=True)
    x = latents((3, 8, 8), 1)[0]
    u = local_basis(f, x, rank=2).u

    def error(size, num):
        found = pca_of_perturbed(f, x, rank=2, size=size, num_perturbations=num, batch=512)
        return float(geodesic_distance(vectors(found), u))

    assert error(1e-4, 8000) < 0.05
    assert error(1e-4, 8000) < error(3.0, 8000)
    assert error(1e-4, 8000) < error(1e-4, 20)


def test_law30_their_deviations_approach_the_singular_values():
    f = ConvMap(pool=True)
    x = latents((3, 8, 8), 1)[0]
    basis = local_basis(f, x, rank=2)
    found = pca_of_perturbed(f, x, rank=2, size=1e-4, num_perturbations=4000, batch=512)
    assert [d.s for d in found] == pytest.approx(basis.s.tolist(), rel=0.05)


def test_several_samples_are_pooled_about_their_own_means():
    f = LinearMap(torch.diag(torch.tensor([0.1, 5.0])).double())
    far = torch.tensor([[0.0, 0.0], [1000.0, 0.0]]).double()
    found = pca_of_perturbed(f, far, rank=1)  # between samples h moves along the first axis only
    assert abs(float(found[0].vector[1])) > 0.999
    assert found[0].origin["num_samples"] == 2


def test_errors():
    f, xs = ConvMap(), latents((3, 8, 8), 4)
    with pytest.raises(OptionError, match="rank >= 1 and kept >= rank; got 3 and 2"):
        incremental_pca_of_h(f, [xs], rank=3, kept=2)
    with pytest.raises(RankError, match=r"min\(B - 1, D\) = 3; got 4"):
        incremental_pca_of_h(f, [xs], rank=4)
    with pytest.raises(OptionError, match="size > 0; got 0"):
        pca_of_perturbed(f, xs[0], rank=1, size=0)
    with pytest.raises(RankError, match="rank between 1 and 4; got 5; raise num_perturbations"):
        pca_of_perturbed(f, xs[0], rank=5, num_perturbations=5)
    with pytest.raises(NumericalError, match="an h that moves with x; got no change at all"):
        pca_of_perturbed(LinearMap(torch.zeros(3, 3)), torch.zeros(3), rank=1)
