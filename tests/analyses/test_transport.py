"""What is carried from one basis to another, where the answer is known."""

import pytest
import torch

from pullback.analyses.figures.transport import carried
from pullback.analyses.moves import unit_weights
from pullback.analyses.reading import cosines
from pullback.geometry import JacobianAt, top_singular
from pullback.testing import UnitMap, planted_spectrum


def weights(num, rank):
    return unit_weights(num, rank, torch.Generator().manual_seed(0))


def test_on_a_linear_map_a_direction_arrives_as_it_was():
    f = planted_spectrum([3.0, 2.0, 1.0], dim_x=6, dim_h=5)
    source, target = (top_singular(JacobianAt(f, x), 2) for x in torch.randn(2, 6, dtype=torch.float64))
    v, retained = carried(source, target, weights(3, 2))
    assert torch.allclose(v[0], v[1], atol=1e-8)
    assert torch.allclose(retained, torch.ones_like(retained))
    assert torch.allclose(v.flatten(2).norm(dim=2), torch.ones(2, 3, dtype=torch.float64))


def test_on_the_sphere_a_quarter_turn_away_half_of_the_plane_is_lost():
    """Tangent planes at e_1 and e_2 share e_3 alone: a direction w e_3 + ... keeps |w|."""
    f = UnitMap(3)
    source, target = (top_singular(JacobianAt(f, x), 2) for x in torch.eye(3).double()[:2])
    w = weights(4, 2)
    v, retained = carried(source, target, w)
    kept = (w.double() @ source.u)[:, 2].abs()
    assert torch.allclose(retained, kept, atol=1e-6)
    assert torch.allclose(v[1][:, 2].abs(), torch.ones(4).double(), atol=1e-6)


def test_cosine_of_a_change_with_itself_is_one():
    change = torch.randn(4, 7).numpy()
    assert cosines(change, 3 * change) == pytest.approx([1.0] * 4)
    assert cosines(change, -change) == pytest.approx([-1.0] * 4)
