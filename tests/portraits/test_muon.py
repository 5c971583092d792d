import pytest
import torch

from pullback.portraits.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (6, 6)])
def test_orthogonalised_keeps_the_singular_vectors_and_levels_the_values(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    inside = u.mT @ orthogonalised(matrix) @ vt.mT
    assert torch.allclose(inside, torch.diag(inside.diagonal()), atol=1e-4)
    assert 0.6 < float(inside.diagonal().min()) <= float(inside.diagonal().max()) < 1.3


def test_a_step_has_the_stated_root_mean_square_whatever_the_size_of_the_gradient():
    weight = torch.nn.Parameter(torch.zeros(8, 2, 3, 3))
    for scale in (1e-3, 1e3):
        weight.data.zero_()
        weight.grad = scale * torch.randn(8, 2, 3, 3, generator=torch.Generator().manual_seed(0))
        Muon([weight], lr=1.0).step()
        assert float(weight.detach().square().mean().sqrt()) == pytest.approx(0.2, rel=0.25)


def test_muon_descends_a_badly_scaled_quadratic():
    weight = torch.nn.Parameter(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))
    scale = torch.logspace(0, -2, 4)[
        :, None
    ]  # curvature falls 10^4-fold: plain gradient descent would hardly move the last row
    optimiser = Muon([weight], lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        (scale * weight).square().sum().backward()
        optimiser.step()
    assert float(weight.detach().abs().max()) < 0.1
