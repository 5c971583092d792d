"""Fixed v and shooting on maps where both are known."""

import pytest
import torch

from pullback.analyses.figures.shooting import WAYS, answers, note_of, walks
from pullback.geometry import JacobianAt, top_singular
from pullback.testing import UnitMap, planted_spectrum


def walked(f, x, way, *, rank, step, num_steps):
    def bases_at(at):
        return [top_singular(JacobianAt(f, each), rank) for each in at]

    x = torch.stack([x, 2 * x])  # in step with another, twice as far
    weights = torch.tensor([[0.6, 0.8], [0.8, 0.6]]) if rank == 2 else torch.ones(2, 1)
    first, _ = walks(f, x, bases_at(x), steps=[step, 2 * step], num_steps=num_steps, weights=weights, bases_at=bases_at)
    points, u, slope, length, _ = first[way]
    return points, *answers(f, points, u, slope=slope, step=length)


@pytest.mark.parametrize("way", WAYS)
def test_on_a_linear_map_h_answers_as_promised(way):
    f = planted_spectrum([3.0, 2.0, 1.0], dim_x=6, dim_h=5)
    points, response, along = walked(f, torch.ones(6).double(), way, rank=2, step=0.5, num_steps=4)
    assert response == pytest.approx([1.0] * 5, abs=1e-6)
    assert along == pytest.approx([1.0] * 5, abs=1e-6)
    assert float((points[1:] - points[:-1]).norm(dim=1).std()) < 1e-8


def test_on_the_sphere_shooting_goes_round_and_a_fixed_direction_does_not():
    f, x = UnitMap(2), torch.tensor([1.0, 0.0]).double()
    fixed, *_ = walked(f, x, "fixed", rank=1, step=0.1, num_steps=40)
    shot, *_ = walked(f, x, "shooting", rank=1, step=0.1, num_steps=40)
    assert float(fixed[-1][0]) == pytest.approx(1.0)
    assert float(shot[-1][0]) < 0


def test_a_fixed_direction_answers_less_and_less_on_the_sphere():
    """|h - h_0| = 2 sin(a / 2) with tan a = g, promised g."""
    f, x = UnitMap(2), torch.tensor([1.0, 0.0]).double()
    _, response, along = walked(f, x, "fixed", rank=1, step=1.0, num_steps=3)
    angle = torch.arctan(torch.arange(1, 4).double())
    assert response[1:] == pytest.approx((2 * (angle / 2).sin() / torch.arange(1, 4)).tolist(), abs=1e-6)
    assert along[1:] == pytest.approx((angle / 2).cos().tolist(), abs=1e-6)


def test_the_note_pairs_the_two_ways_over_samples_at_the_end():
    rows = [
        {"sample": i, "way": way, "scale": scale, "response": 1 - lost * scale, "along": 1.0, "passed": float(i % 2)}
        for i in range(6)
        for way, lost in (("fixed", 0.5), ("shooting", 0.25), ("random in span", 0.75))
        for scale in (0.0, 1.0)
    ]
    told = note_of(rows)
    assert "response +0.25 [+0.25, +0.25]" in told
    assert "pass rate +0.00 [+0.00, +0.00]" in told
    assert "range" not in told
    assert "n = 2: the range" in note_of([row for row in rows if row["sample"] < 2])
