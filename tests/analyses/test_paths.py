"""Paths on maps whose answer is known, and the figure on a toy."""

import pytest
import torch

from pullback.analyses.figures.paths import KINDS, draw, paths
from pullback.geometry import JacobianAt, top_singular
from pullback.testing import UnitMap, planted_spectrum


def bases_at(f, rank):
    return lambda xs: [top_singular(JacobianAt(f, x), rank) for x in xs]


def path(f, a, b, *, rank, **options):
    """One of two pairs that are made together, and the same alone."""
    pairs = torch.stack([torch.stack([a, b]), torch.stack([b, 2 * a])])
    found, _ = paths(f, pairs, bases_at=bases_at(f, rank), batch=8, **options)
    (alone,) = paths(f, pairs[:1], bases_at=bases_at(f, rank), batch=8, **options)
    assert torch.allclose(found.points, alone.points, atol=1e-9)
    return found


def ends(dim):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, dim, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_on_a_linear_map_no_path_is_warped(kind):
    f = planted_spectrum([3.0, 2.0, 1.0], dim_x=6, dim_h=5)
    a, b = ends(6)
    found = path(f, a, b, kind=kind, num_segments=4, rank=2)
    assert len(found.points) == len(found.bases) == 5
    assert found.lengths.semantic_length < 1e-6
    if kind != "shooting":
        assert found.lengths.miss < 1e-12


def test_shooting_on_a_linear_map_walks_the_whole_length_and_misses_what_the_map_does_not_see():
    f = planted_spectrum([3.0, 2.0, 1.0], dim_x=6, dim_h=5)
    a, b = ends(6)
    found = path(f, a, b, kind="shooting", num_segments=4, rank=3)
    assert found.lengths.x_length == pytest.approx(float((b - a).norm()))
    assert found.lengths.miss > 0.1


def test_on_the_sphere_lerp_and_slerp_turn_the_tangent_space_by_the_same_angle():
    """T_h at x is the plane orthogonal to x / |x|: along a great circle it turns by the angle that x turns."""
    f = UnitMap(3)
    a, b = ends(3)
    angle = float(torch.arccos((a @ b) / (a.norm() * b.norm())))
    for kind in ("lerp", "slerp"):
        found = path(f, a, b, kind=kind, num_segments=6, rank=2)
        assert found.lengths.semantic_length == pytest.approx(angle, abs=1e-6)


def test_the_plot_shows_the_lengths_of_each_way_in_h_and_in_x():
    """Way k has two segments of k + 1 in h and of 10 (k + 1) in x, on three pairs."""
    rows = [
        {"pair": pair, "path": kind, "segment": i, "curvedness": 1.0, "h": k + 1.0, "x": 10.0 * (k + 1)}
        | {"miss": 0.0, "matched_null": 2.0}
        for pair in range(3)
        for k, kind in enumerate(KINDS)
        for i in range(2)
    ]
    axes = {axis.get_ylabel(): axis for axis in draw(rows).axes}
    for name, unit in (("length in h", 2.0), ("length in x", 20.0)):
        shown = axes[name].lines[::2]  # every value of a group, then its mean
        assert [line.get_ydata().tolist() for line in shown] == [[unit * (k + 1)] * 3 for k in range(len(KINDS))]
