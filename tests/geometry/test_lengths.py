import dataclasses

import pytest
import torch

from pullback.errors import MismatchError, NumericalError, OptionError, RankError, ShapeError
from pullback.geometry import (
    JacobianAt,
    comparable,
    geodesic_distance,
    lerp,
    path_between,
    path_lengths,
    pullback_geodesic,
    slerp,
    top_singular,
)
from pullback.testing import ConvMap, UnitMap, planted_spectrum


def random(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def maker(f, rank):
    return lambda x: top_singular(JacobianAt(f, x), rank, method="dense")


def ends(f):
    return random(0, *f.x_shape), random(1, *f.x_shape)


FRACTIONS = torch.linspace(0, 1, 7).tolist()


def test_law17_a_linear_map_is_flat():
    f = planted_spectrum([3.0, 2.0, 1.0], dim_x=9, dim_h=7)
    found = path_lengths(f, slerp(*ends(f), FRACTIONS), maker(f, 3))
    assert found.curvedness.max() < 1e-6
    assert found.h_length > 1


def test_law18_lengths_add_up_and_no_path_is_shorter_than_its_ends():
    f = ConvMap()
    points = slerp(*ends(f), FRACTIONS)
    bases = [maker(f, 4)(x) for x in points]
    whole, first, second = (
        path_lengths(f, points[part], bases[part]) for part in (slice(None), slice(0, 4), slice(3, None))
    )
    for name in ("x_length", "h_length", "semantic_length"):
        assert getattr(whole, name) == pytest.approx(getattr(first, name) + getattr(second, name))
    assert whole.semantic_length >= float(geodesic_distance(bases[0].u, bases[-1].u))
    with torch.no_grad():
        h = f(points[[0, -1]]).flatten(1)
    assert whole.h_length >= float((h[1] - h[0]).norm())
    assert whole.x_length >= float((points[-1] - points[0]).norm())
    assert whole.semantic_per_h == pytest.approx(whole.semantic_length / whole.h_length)


@pytest.mark.parametrize("relative_weight", [0.0, 0.1, 2.0])
def test_law18_a_geodesic_is_no_longer_in_h_than_its_start(relative_weight):
    f = ConvMap()
    a, b = ends(f)
    path = pullback_geodesic(f, a, b, num_segments=8, relative_weight=relative_weight)
    assert path.h_length <= path.start_h_length
    assert list(path.objective) == sorted(path.objective, reverse=True)
    assert len(path.objective) > 2
    assert path.h_length == pytest.approx(path_lengths(f, path.points, maker(f, 1)).h_length)
    assert torch.equal(path.points[0], a)
    assert torch.equal(path.points[-1], b)
    norms = lerp(a.norm(), b.norm(), torch.linspace(0, 1, 9, dtype=torch.float64))
    assert torch.allclose(path.points.flatten(1).norm(dim=1), norms)


def test_lambda_trades_h_for_x():
    f = ConvMap()
    paths = [pullback_geodesic(f, *ends(f), num_segments=8, relative_weight=w, tol=1e-5) for w in (0.0, 0.1, 3.0)]
    in_h = [path.h_length for path in paths]
    in_x = [float(path.points.flatten(1).diff(dim=0).norm(dim=1).sum()) for path in paths]
    assert in_h[0] < in_h[1] < in_h[2]
    assert in_x[0] > in_x[1] > in_x[2]


def test_where_the_metric_is_round_the_geodesic_is_the_great_circle():
    f, (a, b) = UnitMap(5), ends(UnitMap(5))
    a, b = a / a.norm(), b / b.norm()
    path = pullback_geodesic(f, a, b, num_segments=6, tol=1e-9, max_iterations=200)
    assert path.start == "slerp"
    assert torch.allclose(path.points, slerp(a, b, torch.linspace(0, 1, 7, dtype=torch.float64)), atol=1e-6)


def test_with_lambda_zero_an_onto_map_is_crossed_in_a_straight_line():
    f = planted_spectrum([3.0, 2.0], dim_x=12, dim_h=2)
    a, b = ends(f)
    path = pullback_geodesic(f, a, b, num_segments=10, relative_weight=0.0, tol=1e-8, max_iterations=300)
    straight = float((f(b[None]) - f(a[None])).norm())
    assert path.start_h_length > 1.05 * straight
    assert path.h_length == pytest.approx(straight, rel=1e-3)


def test_its_gradient_is_that_of_the_objective():
    from pullback.geometry.geodesic import _Path

    f = ConvMap()
    a, b = ends(f)
    path = _Path(f, a, b, 4, 32, None)
    points = path.on_shell(slerp(a, b, path.fractions))
    along = path.tangent(points, random(5, 3, 3, 8, 8))
    moved = []
    for sign in (1, -1):
        trial = points.clone()
        trial[1:-1] += sign * 1e-5 * along
        moved.append(path.objective(trial, 0.7))
    slope = float((path.gradient(points, 0.7) * along).sum())
    assert (moved[0] - moved[1]) / 2e-5 == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("kind", ["lerp", "slerp", "shooting", "geodesic"])
def test_every_way_starts_at_a(kind):
    f = UnitMap(3)
    a, b = ends(f)
    points = path_between(f, a, b, kind=kind, num_segments=5, basis_at=maker(f, 2))
    assert points.shape == (6, 3)
    assert torch.equal(points[0], a)
    assert kind == "shooting" or torch.equal(points[-1], b)


def test_the_miss_is_a_share_of_the_way():
    f = UnitMap(3)
    a, b = ends(f)
    points = torch.stack([a, (a + b) / 2])
    assert path_lengths(f, points, maker(f, 2), target=b).miss == pytest.approx(0.5)
    assert path_lengths(f, points, maker(f, 2)).miss == 0


def test_bases_that_cannot_be_compared_are_refused():
    f = ConvMap()
    base = maker(f, 3)(random(0, 3, 8, 8))
    other = dataclasses.replace(base, origin={**base.origin, "t": 600})
    with pytest.raises(MismatchError, match=r"bases of one feature map; got t 0 and 600; use one model, layer, t"):
        comparable([base, other])
    assert comparable([base, other], may_differ={"t"}).shape == (2, 3, 64)
    with pytest.raises(MismatchError, match="layer toy and down"):
        comparable([base, dataclasses.replace(base, origin={**base.origin, "layer": "down"})])
    with pytest.raises(RankError, match="bases of rank 3; got 2"):
        comparable([base, maker(f, 2)(random(0, 3, 8, 8))])
    pooled = dataclasses.replace(maker(ConvMap(pool=True), 3)(random(0, 3, 8, 8)))
    with pytest.raises(ShapeError, match="features of 64 values; got 4"):
        comparable([base, pooled])
    with pytest.raises(OptionError, match="bases of at least 2 samples; got 1"):
        comparable([base])


def test_errors():
    f = UnitMap(3)
    a, b = ends(f)
    with pytest.raises(OptionError, match="a path of at least 2 points; got 1"):
        path_lengths(f, a[None], maker(f, 2))
    with pytest.raises(ShapeError, match="a basis at each of 3 points; got 2"):
        path_lengths(f, torch.stack([a, b, a]), [maker(f, 2)(a), maker(f, 2)(b)])
    with pytest.raises(OptionError, match="a kind among lerp, slerp, shooting, geodesic"):
        path_between(f, a, b, kind="walk")
    with pytest.raises(OptionError, match="and basis_at for shooting; got 'shooting', 30, basis_at=None"):
        path_between(f, a, b, kind="shooting")
    with pytest.raises(OptionError, match="num_segments >= 1 and relative_weight >= 0; got 30 and -1"):
        pullback_geodesic(f, a, b, relative_weight=-1)
    with pytest.raises(NumericalError, match="antipodal"):
        pullback_geodesic(f, a, -a)
