"""Small dense algebra: the factorisation that accelerators use, beside LAPACK's."""

import pytest
import torch

from pullback.geometry import JacobianAt, linalg, top_singular
from pullback.geometry.linalg import NARROW, gram_schmidt, is_by_columns, row_svd
from pullback.testing import ConvMap, LinearMap, planted_spectrum


@pytest.fixture
def by_columns(monkeypatch):
    """The way of accelerators, here."""
    monkeypatch.setattr(linalg, "is_by_columns", lambda columns: True)


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
def test_the_solver_finds_the_same_by_it(f, block, request):
    x = torch.randn(2, *f.x_shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    jac = JacobianAt(f, x)
    wanted = top_singular(jac, 3, tol=1e-9, block=block)
    request.getfixturevalue("by_columns")
    found = top_singular(jac, 3, tol=1e-9, block=block)
    assert torch.allclose(found.s, wanted.s, atol=1e-9)
    assert bool(found.is_verified.all())
    eye = torch.eye(3, dtype=torch.float64).expand(2, -1, -1)
    assert torch.allclose(found.v.flatten(2) @ found.v.flatten(2).mT, eye, atol=1e-9)


def test_it_is_the_way_of_narrow_matrices_off_the_cpu():
    there = torch.empty(2, 100, NARROW, device="meta")
    assert is_by_columns(there)
    assert not is_by_columns(torch.empty(2, 100, NARROW + 1, device="meta"))
    assert not is_by_columns(torch.empty(2, 100, NARROW))


def wide(x):
    """More values of x than of h; those of h that x does not move have a zero row in J."""
    return x[:, :6] ** 2


def tall(x):
    """More values of h: the columns of J are computed, and some of them are zero."""
    return torch.cat([x[:, :6] ** 2, x[:, :6] ** 3], dim=1)


@pytest.mark.parametrize(("f", "method"), [(wide, "pooled"), (wide, "dense"), (tall, "dense")])
@pytest.mark.usefixtures("by_columns")
def test_law05_vectors_are_orthonormal_where_rows_of_j_are_zero(f, method):
    """Of three samples one has a J of full rank, one two dead values, and one J = 0."""
    x = torch.linspace(1, 2, 6, dtype=torch.float64).repeat(3, 1)
    x[1, 2:4], x[2] = 0, 0
    jac = JacobianAt(f, torch.cat([x, x[:, :4]], dim=1) if f is wide else x)
    basis = top_singular(jac, 6, method=method)
    wanted = torch.linalg.svdvals(jac.dense())
    assert torch.allclose(basis.s, wanted[:, :6], atol=1e-12)
    for vectors in (basis.u, basis.v.flatten(2)):
        assert torch.allclose(vectors @ vectors.mT, torch.eye(6, dtype=torch.float64).expand(3, -1, -1), atol=1e-12)
    assert float(basis.residual.max()) < 1e-12


@pytest.mark.parametrize("apart", [1e-8, 1e-7, 1e-6, 3e-6, 1e-5, 1e-3])
@pytest.mark.usefixtures("by_columns")
def test_both_sides_are_orthonormal_however_nearly_rows_depend(apart):
    """In float32, on either side of where one way gives over to the other."""
    rows = columns(dtype=torch.float32).mT.contiguous()
    rows[:, 4] = rows[:, 0] + apart * rows[:, 4]
    left, s, right = row_svd(rows)
    eye = torch.eye(6).expand(3, -1, -1)
    assert torch.allclose(left @ left.mT, eye, atol=1e-5)
    assert torch.allclose(right @ right.mT, eye, atol=1e-5)
    assert torch.allclose(left.mT * s[:, None].float() @ right, rows, atol=1e-5)
