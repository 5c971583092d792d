import pytest
import torch

from pullback.directions import Direction
from pullback.edit import compose, edit, interaction, orthogonalised
from pullback.errors import MismatchError, NumericalError, OptionError, ShapeError
from pullback.geometry import JacobianAt, as_feature_map, one_product
from pullback.models import denoise
from pullback.testing import planted_spectrum

T = 600


def direction(f, seed, space="H"):
    shape = (256,) if space == "H" else f.x_shape
    vector = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Direction(vector / vector.norm(), space, dict(f.origin), index=seed)


def test_moves_add_up_and_one_alone_is_the_edit(den, f):
    x, pair = den.draw([0, 1]), [direction(f, 0), direction(f, 1, "X")]
    unit = torch.tensor([[0.5, 0.6], [0.7, 0.8]]).double()
    both = compose(den, x, T, pair, [[1, 0], [0, -2], [1, -2]], f=f, unit=unit, num_steps=2)
    assert both.x0.shape == (2, 3, 3, 8, 8)
    moved = both.x_t - x[:, None]
    torch.testing.assert_close(moved[:, 0] + moved[:, 1], moved[:, 2], atol=1e-12, rtol=0)
    for b in range(2):
        alone = edit(den, x[b], T, pair[0], [1], f=f, unit=float(unit[0, b]), num_steps=2)
        torch.testing.assert_close(both.x0[b, :1], alone.x0, atol=1e-10, rtol=0)
    torch.testing.assert_close(both.x0[:, 2], denoise(den, both.x_t[:, 2], T, num_steps=2), atol=1e-10, rtol=0)


def test_scales_are_calibrated_for_each_direction(den, f):
    both = compose(den, den.draw([0]), T, [direction(f, 0), direction(f, 1)], [[1, 0], [0, 1]], f=f, distance=10.0)
    assert both.displacement.flatten().tolist() == pytest.approx([1.0, 1.0], rel=0.011)


def test_without_keeps_h_still_along_the_other_direction(den, f):
    x, smile, yaw = den.draw([0, 1]), direction(f, 0), direction(f, 1)
    plain = compose(den, x, T, [smile], [[1]], f=f, unit=torch.ones(1, 2), num_steps=1)
    clear = compose(den, x, T, [smile], [[1]], f=f, without=[yaw], unit=torch.ones(1, 2), num_steps=1)
    jac = JacobianAt(f, x)
    along = [(jac.jvp(found.v.transpose(0, 1))[:, 0] @ yaw.vector).abs() for found in (plain, clear)]
    assert along[1].max() < 1e-10 < 1e-4 < along[0].min()
    pulled = one_product(f, x, yaw.vector)
    assert (clear.v[0] * pulled).flatten(1).sum(1).abs().max() < 1e-12


def test_orthogonalised_in_h(f):
    u, others = direction(f, 0), [direction(f, 1), direction(f, 2)]
    found = orthogonalised(u, others)
    assert float(found.vector.norm()) == pytest.approx(1)
    assert all(abs(float(found.vector @ each.vector)) < 1e-12 for each in others)
    assert float(found.vector @ u.vector) > 0.9
    assert found.origin["orthogonal_to"] == "1, 2"
    assert torch.allclose(orthogonalised(u, []).vector, u.vector)


def test_interaction_of_a_linear_map_is_zero_and_of_a_product_is_not():
    f = planted_spectrum([3.0, 1.0], dim_x=6, dim_h=4)
    steps = torch.randn(3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert interaction(f, steps[0], steps).abs().max() < 1e-12
    product = as_feature_map(lambda x: torch.stack([x[:, 0], x[:, 1], x[:, 0] * x[:, 1]], 1), torch.zeros(1, 2))
    found = interaction(product, torch.zeros(2), torch.eye(2))
    assert found[0, 1] == found[1, 0] == pytest.approx(0.5)  # |(0, 0, 1)| over |(1, 0, 0)| + |(0, 1, 0)|
    assert found[0, 0] == 0


def test_errors(den, f):
    x, u = den.draw([0]), direction(f, 0)
    with pytest.raises(OptionError, match="one scale for each of 1 directions, at least one of both; got rows of 2"):
        compose(den, x, T, [u], [[1, 2]], f=f)
    with pytest.raises(OptionError, match="got rows of nothing"):
        compose(den, x, T, [u], [], f=f)
    with pytest.raises(MismatchError, match="layer mid_block"):
        compose(den, x, T, [u], [[1]], f=f, without=[direction(den.feature_map(t=T, layer="conv_in"), 0, "X")])
    with pytest.raises(NumericalError, match="one that lies within it"):
        compose(den, x, T, [u], [[1]], f=f, without=[u])
    with pytest.raises(ShapeError, match=r"directions of one space, H of shape \(256,\); got X of"):
        orthogonalised(u, [direction(f, 1, "X")])
    with pytest.raises(ShapeError, match=r"moves of shape \(K, 3, 8, 8\)"):
        interaction(f, x[0], x[0])
