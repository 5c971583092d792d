import dataclasses

import pytest
import torch

from pullback.errors import MismatchError, OptionError
from pullback.geometry import JacobianAt, distance_map, geodesic_distance, time_maps, top_singular
from pullback.testing import ConvMap


def latent(seed):
    return torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def basis_at(x, t=0, seed=0):
    basis = top_singular(JacobianAt(ConvMap(seed=seed), x), 3, method="dense")
    return dataclasses.replace(basis, origin={**basis.origin, "t": t})


def test_law23_maps_are_symmetric_with_a_zero_diagonal():
    bases = [basis_at(latent(i)) for i in range(4)]
    found = distance_map(bases)
    assert torch.equal(found, found.mT)
    assert torch.equal(found.diagonal(), torch.zeros(4).double())
    assert float(found[1, 3]) == pytest.approx(float(geodesic_distance(bases[1].u, bases[3].u)))
    assert (found + torch.eye(4) > 0.1).all()


def test_law23_fix_x_and_fix_t_agree_where_they_meet():
    times = (200, 600, 1000)

    def basis_of(x_time, t):  # a network that changes with its time: other weights
        return basis_at(latent(x_time), t, seed=t)

    maps = time_maps(basis_of, times)
    assert torch.allclose(maps.fix_x.diagonal(), maps.fix_t.diagonal(), atol=1e-6)
    assert maps.fix_x.diagonal().abs().max() < 1e-6
    assert torch.equal(maps.across, maps.across.mT)
    for i, t in enumerate(times):
        for j, r in enumerate(times):
            own = basis_of(r, r).u
            assert float(maps.fix_x[i, j]) == pytest.approx(float(geodesic_distance(basis_of(r, t).u, own)), abs=1e-6)
            assert float(maps.fix_t[i, j]) == pytest.approx(float(geodesic_distance(basis_of(t, r).u, own)), abs=1e-6)
            way = geodesic_distance(basis_of(t, t).u, basis_of(t, r).u) + maps.fix_t[i, j]
            assert maps.across[i, j] <= float(way) + 1e-9


def test_law23_only_the_cause_that_changes_shows():
    times = (200, 600)
    same_latent = time_maps(lambda x_time, t: basis_at(latent(0), t, seed=t), times)
    assert same_latent.fix_t.max() < 1e-6 < 0.1 < same_latent.fix_x[0, 1]
    same_network = time_maps(lambda x_time, t: basis_at(latent(x_time), t), times)
    assert same_network.fix_x.max() < 1e-6 < 0.1 < same_network.fix_t[0, 1]


def test_errors():
    with pytest.raises(MismatchError, match="t 1 and 2; use one model, layer, t, pool and condition, or name in may_"):
        distance_map([basis_at(latent(0), 1), basis_at(latent(1), 2)])
    assert distance_map([basis_at(latent(0), 1), basis_at(latent(1), 2)], may_differ={"t"}).shape == (2, 2)
    with pytest.raises(OptionError, match=r"two or more different times; got \[3, 3\]"):
        time_maps(lambda x_time, t: basis_at(latent(0), t), [3, 3])
