import pytest
import torch

from pullback.errors import OptionError, ShapeError
from pullback.geometry import JacobianAt, as_feature_map, linearity_radius
from pullback.testing import ConvMap, UnitMap, planted_null, planted_spectrum


def random(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_radius_of_a_parabola_is_where_the_square_is_a_tenth():
    f = as_feature_map(lambda x: x + 3 * x**2, torch.zeros(1, 2, dtype=torch.float64))
    v = torch.eye(2, dtype=torch.float64)
    found = linearity_radius(f, torch.zeros(2, dtype=torch.float64), v, largest=5.0)
    assert found == pytest.approx(torch.full((2,), 0.1 / 3).double(), rel=1e-3)
    wider = linearity_radius(f, torch.zeros(2, dtype=torch.float64), v[0], tolerance=0.3, largest=5.0)
    assert float(wider) == pytest.approx(0.1, rel=1e-3)


def test_the_remainder_crosses_there_and_not_before():
    f, x = ConvMap(), random(0, 3, 8, 8)
    v = random(1, 3, 8, 8)
    v = v / v.norm()
    radius = float(linearity_radius(f, x, v))
    push = JacobianAt(f, x).jvp(v[None])[0]

    def share(g):
        with torch.no_grad():
            rest = (f((x + g * v)[None]) - f(x[None])).flatten() - g * push
        return float(rest.norm() / (g * push.norm()))

    assert share(radius) == pytest.approx(0.1, rel=0.01)
    assert all(share(radius * part) < 0.1 for part in (0.1, 0.3, 0.6, 0.9, 0.99))


def test_a_linear_map_never_ends_and_a_null_direction_never_starts():
    x = random(0, 9)
    f = planted_spectrum([3.0, 1.0], dim_x=9, dim_h=5)
    assert float(linearity_radius(f, x, random(1, 9), largest=7.0)) == 7.0
    assert float(linearity_radius(f, x, random(1, 9))) == pytest.approx(2 * float(x.norm()))
    null = planted_null(6, 4)
    assert float(linearity_radius(null, random(2, 6), null.null)) < 1e-6


def test_a_radius_below_the_first_trial_is_found():
    f = as_feature_map(lambda x: torch.sin(1000 * x), torch.zeros(1, 1, dtype=torch.float64))
    found = linearity_radius(f, torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64), largest=1.0)
    assert float(found) == pytest.approx(0.787 / 1000, rel=0.01)  # 1 - sin(r)/r = .1


def test_directions_at_once_are_those_one_by_one():
    f, x, v = UnitMap(5), random(0, 5), random(1, 4, 5)
    together = linearity_radius(f, x, v)
    alone = torch.stack([linearity_radius(f, x, row) for row in v])
    assert torch.allclose(together, alone)


def test_errors():
    f, x = UnitMap(3), random(0, 3)
    with pytest.raises(OptionError, match="tolerance > 0 and largest > 0; got 0 and"):
        linearity_radius(f, x, x, tolerance=0)
    with pytest.raises(ShapeError, match=r"one latent of shape \(3,\); got \(2, 3\); ask for one sample"):
        linearity_radius(f, random(0, 2, 3), x)
