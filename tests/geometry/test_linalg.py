"""Small dense algebra: the factorisation that accelerators use, beside LAPACK's."""

import pytest
import torch

from pullback.geometry import JacobianAt, linalg, top_singular
from pullback.geometry.linalg import gram_schmidt
from pullback.testing import ConvMap, LinearMap, planted_spectrum


def columns(*, num=6, dtype=torch.float64):
    return torch.randn(3, 40, num, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def test_gram_schmidt_is_a_qr():
    found, triangle = gram_schmidt(columns())
    q, r = torch.linalg.qr(columns())
    sign = r.diagonal(dim1=1, dim2=2).sign()
    assert torch.allclose(found, q * sign[:, None], atol=1e-12)
    assert torch.allclose(triangle, r * sign[:, :, None], atol=1e-12)


def test_gram_schmidt_keeps_columns_that_nearly_depend_orthogonal():
    """In float32, where the last column differs from the first by 1e-5: once through would leave some .01."""
    near = columns(dtype=torch.float32)
    near[:, :, -1] = near[:, :, 0] + 1e-5 * near[:, :, -1]
    q, r = gram_schmidt(near)
    assert torch.allclose(q.mT @ q, torch.eye(6).expand(3, -1, -1), atol=1e-6)
    assert torch.allclose(q @ r, near, atol=1e-5)


def test_gram_schmidt_of_dependent_columns_still_multiplies_back():
    twice = columns()
    twice[:, :, 3] = 2 * twice[:, :, 1]
    twice[:, :, 5] = 0
    q, r = gram_schmidt(twice)
    assert torch.allclose(q @ r, twice, atol=1e-12)
    assert float(r[:, [3, 5], [3, 5]].abs().max()) < 1e-12


@pytest.mark.parametrize(
    "f",
    [
        planted_spectrum([3.0, 2.0, 2.0, 1.0, 0.5], dim_x=12, dim_h=9),
        LinearMap(torch.zeros(4, 6, dtype=torch.float64)),
        ConvMap(),
    ],
    ids=["ties", "zero", "convolution"],
)
@pytest.mark.parametrize("block", [1, 3])
def test_the_solver_finds_the_same_by_it(f, block, monkeypatch):
    x = torch.randn(2, *f.x_shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    jac = JacobianAt(f, x)
    wanted = top_singular(jac, 3, tol=1e-9, block=block)
    monkeypatch.setattr(linalg, "thin_qr", gram_schmidt)
    found = top_singular(jac, 3, tol=1e-9, block=block)
    assert torch.allclose(found.s, wanted.s, atol=1e-9)
    assert bool(found.is_verified.all())
    eye = torch.eye(3, dtype=torch.float64).expand(2, -1, -1)
    assert torch.allclose(found.v.flatten(2) @ found.v.flatten(2).mT, eye, atol=1e-9)
