import dataclasses

import pytest
import torch

from pullback.errors import OptionError, ShapeError, TransportWarning
from pullback.geometry import JacobianAt, one_product, top_singular
from pullback.geometry.transport import retained_null, transport
from pullback.models import toy_denoiser
from pullback.testing import ConvMap, LinearMap, planted_spectrum


def random(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def basis_of(f, seed=0, rank=6):
    return top_singular(JacobianAt(f, random(seed, *f.x_shape)), rank, tol=1e-10)


def cosine(a, b):
    return float(a.flatten() @ b.flatten() / (a.norm() * b.norm()))


def test_law11_to_itself_is_the_identity():
    basis = basis_of(ConvMap())
    moved = transport(basis.u, basis)
    assert torch.allclose(moved.u, basis.u, atol=1e-12)
    assert torch.allclose(moved.v, basis.v, atol=1e-12)
    assert torch.allclose(moved.retained, torch.ones(6, dtype=torch.float64))


@pytest.mark.parametrize("inverse", ["transpose", "pinv"])
def test_law11_stays_in_the_span_whatever_the_sign_of_a_pair_there(inverse):
    f = ConvMap()
    a, b = basis_of(f, 0), basis_of(f, 1)
    moved = transport(a.u[0], b, inverse=inverse)
    inside = b.v.flatten(1) @ moved.v.flatten()
    assert float(inside.norm()) == pytest.approx(1)
    sign = torch.tensor([1, -1, 1, 1, -1, 1], dtype=torch.float64)
    flipped = dataclasses.replace(b, u=sign[:, None] * b.u, v=sign[:, None, None, None] * b.v)
    other = transport(a.u[0], flipped, inverse=inverse)
    assert torch.allclose(other.u, moved.u, atol=1e-12)
    assert torch.allclose(other.v, moved.v, atol=1e-12)


def test_law11_law31_pinv_moves_h_along_the_direction():
    f = ConvMap()
    a, b = basis_of(f, 0), basis_of(f, 1)
    jac = JacobianAt(f, random(1, *f.x_shape))
    moved = transport(a.u[:3], b, inverse="pinv")
    for pushed, u in zip(jac.jvp(moved.v), moved.u, strict=True):
        assert cosine(pushed, u) == pytest.approx(1, abs=1e-9)
    plain = transport(a.u[:3], b)
    assert cosine(jac.jvp(plain.v)[0], plain.u[0]) < 0.9999


def test_law31_pinv_on_the_span_of_u():
    f = planted_spectrum([5.0, 1.0, 0.1], dim_x=9, dim_h=7)
    basis = top_singular(JacobianAt(f, torch.zeros(9, dtype=torch.float64)), 3, tol=1e-12)
    u = random(3, 3) @ basis.u
    v = transport(u, basis, inverse="pinv").v
    assert cosine(f.matrix @ v, u) == pytest.approx(1, abs=1e-12)


def test_pinv_leaves_out_what_j_does_not_see():
    f = planted_spectrum([5.0, 1.0], dim_x=9, dim_h=7)
    basis = top_singular(JacobianAt(f, torch.zeros(9, dtype=torch.float64)), 4, tol=1e-12)
    v = transport(basis.u[:2].sum(0), basis, inverse="pinv").v
    assert bool(v.isfinite().all())


def test_nothing_transported_is_said():
    basis = basis_of(planted_spectrum([3.0, 2.0, 1.0], dim_x=30, dim_h=400), rank=3)
    u = torch.linalg.qr(torch.cat([basis.u, random(0, 1, 400)]).mT)[0].mT[3]
    with pytest.warns(
        TransportWarning, match=r"kept 0\.000 of a direction, and a random one .* nothing was transported"
    ):
        moved = transport(u, basis)
    assert moved.retained < 1e-10


def test_retained_null_is_the_quantile_of_random_directions():
    u = random(0, 4000, 60)
    share = u[:, :5].norm(dim=1) / u.norm(dim=1)
    assert float(share.quantile(0.95)) == pytest.approx(retained_null(5, 60), rel=0.02)
    assert retained_null(0, 60) == 0
    assert retained_null(60, 60) == 1


def test_one_product_is_the_pulled_back_direction():
    f = ConvMap()
    x, u = random(0, 3, *f.x_shape), random(1, 2, 64)
    single = one_product(f, x[0], u[0])
    expected = (f.jacobian(x[0]).mT @ u[0]).reshape(f.x_shape)
    assert torch.allclose(single, expected / expected.norm(), atol=1e-12)
    assert one_product(f, x[0], u).shape == (2, 3, 8, 8)
    assert one_product(f, x, u[0]).shape == (3, 3, 8, 8)
    assert one_product(f, x, u).shape == (3, 2, 3, 8, 8)
    assert torch.allclose(one_product(f, x, u)[0, 0], single, atol=1e-12)


def test_one_product_of_an_unseen_direction_is_zero():
    f = LinearMap(torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]]).double())
    u = torch.eye(3, dtype=torch.float64)
    assert one_product(f, torch.zeros(3, dtype=torch.float64), u[1]).tolist() == [0.0, 0.0, 0.0]
    lengths = one_product(f, torch.zeros(3, dtype=torch.float64), u).norm(dim=1)
    assert torch.allclose(lengths, torch.tensor([1.0, 0.0, 1.0]).double())


def test_between_timesteps_a_direction_becomes_the_nearest_of_the_span_there():
    den = toy_denoiser(dtype=torch.float64)
    x = den.draw([0])[0]
    early, late = (top_singular(JacobianAt(den.feature_map(t=t), x), 4, tol=1e-8) for t in (600, 500))
    moved = transport(early.u[0], late)
    inside = late.u @ early.u[0]
    assert torch.allclose(moved.u, late.u.mT @ inside / inside.norm(), atol=1e-10)
    assert torch.allclose(moved.v.flatten(), late.v.flatten(1).mT @ inside / inside.norm(), atol=1e-10)
    assert float(moved.retained) == pytest.approx(float(inside.norm())) == pytest.approx(cosine(moved.u, early.u[0]))
    assert retained_null(4, late.u.shape[1]) < float(moved.retained) < 1 - 1e-6
    assert cosine(moved.v, early.v[0]) < 1 - 1e-6


def test_errors():
    f = ConvMap()
    basis = basis_of(f)
    with pytest.raises(OptionError, match="inverse must be transpose or pinv; got 'vs'"):
        transport(basis.u[0], basis, inverse="vs")
    with pytest.raises(ShapeError, match=r"u of shape \(D,\) or \(m, D\) with D = 64"):
        transport(torch.zeros(63), basis)
    batch = top_singular(JacobianAt(f, random(0, 2, *f.x_shape)), 3)
    with pytest.raises(ShapeError, match=r"got \(64,\) and a batch; take one with basis.sample\(i\)"):
        transport(basis.u[0], batch)
    with pytest.raises(ShapeError, match=r"u must have shape \(k, 64\)"):
        one_product(f, random(0, *f.x_shape), torch.zeros(63))
