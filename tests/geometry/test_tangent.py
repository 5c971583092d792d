import dataclasses

import pytest
import torch

from pullback.geometry import JacobianAt, Plan, Products, TangentBasis, top_singular
from pullback.geometry.tangent import clusters_of, joined, signs
from pullback.testing import ConvMap


def batch():
    f = ConvMap()
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return top_singular(JacobianAt(f, x), 4)


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        batch().u = torch.zeros(1)


def test_sample_takes_everything_of_one_sample():
    basis = batch()
    one = basis.sample(1)
    assert isinstance(one, TangentBasis)
    assert not one.is_batched
    assert (one.u.shape, one.s.shape, one.v.shape, one.residual.shape) == ((4, 64), (4,), (4, 3, 8, 8), (4,))
    assert torch.equal(one.u, basis.u[1])
    assert one.products == basis.products_each[1]
    assert basis.products == basis.products_each[0] + basis.products_each[1]
    assert one.gap == basis.gap[1] > 1
    assert one.samples() == (one,)
    assert one.sample(0) is one
    assert basis.rank == one.rank == 4


def test_joined_batches_are_the_batch():
    basis = batch()
    parts = [dataclasses.replace(basis, **cut(basis, slice(i, i + 1))) for i in range(2)]
    whole = joined(parts)
    assert all(
        torch.equal(getattr(whole, name), getattr(basis, name)) for name in ("u", "s", "v", "residual", "s_next")
    )
    assert whole.products_each == basis.products_each
    assert whole.sample(1).s.equal(basis.sample(1).s)


def cut(basis, rows):
    names = ("u", "s", "v", "residual", "s_next", "is_verified", "products_each")
    return {name: getattr(basis, name)[rows] for name in names}


def test_batch_of_one_stays_a_batch():
    f = ConvMap()
    basis = top_singular(JacobianAt(f, torch.zeros(1, 3, 8, 8, dtype=torch.float64)), 2)
    assert basis.u.shape == (1, 2, 64)
    assert len(basis.samples()) == 1


def test_origin_method_and_plan_are_those_of_the_call():
    basis = batch()
    assert basis.origin == dict(ConvMap().origin)
    assert basis.method == "lanczos"
    assert basis.plan == Plan.fixed()
    assert isinstance(basis.products, Products)


@pytest.mark.parametrize(
    ("s", "expected"),
    [
        ([], ()),
        ([1.0], ((0,),)),
        ([0.0, 0.0], ((0, 1),)),
        ([3.0, 2.99, 2.98, 1.0], ((0, 1, 2), (3,))),
        ([1.0, 0.98], ((0,), (1,))),
    ],
)
def test_clusters(s, expected):
    assert clusters_of(s) == expected


def test_clusters_of_a_batch_are_asked_sample_by_sample():
    basis = batch()
    assert basis.sample(0).clusters == clusters_of(basis.s[0].tolist())
    assert basis.clusters == tuple(sample.clusters for sample in basis.samples())


def test_sign_rule():
    u = torch.tensor([[0.1, -0.9], [0.9, -0.1], [0.0, 0.0]])
    assert signs(u).flatten().tolist() == [-1, 1, 1]
