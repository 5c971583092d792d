"""Effects on a linear world, where every answer is known: the picture is the latent, the factors its first entries."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from pullback.errors import ShapeError
from pullback.measure.contest import Result, by_one_product, everywhere, ridge_directions
from pullback.measure.effects import Walk, effects, matched_length

SHAPE = (1, 2, 4)


@dataclass(frozen=True)
class LinearWalk(Walk):
    """Pictures are the latents themselves."""

    def pictures(self, x):
        return x


def linear_walk(read: Any) -> Walk:
    return LinearWalk(denoiser=None, t=0, num_steps=1, read=read, residual=lambda x: x.flatten(1).norm(dim=1).numpy())  # pyright: ignore


def first_three(x):
    return x.flatten(1)[:, :3].double().numpy()


def unit_directions(num_samples: int) -> torch.Tensor:
    return torch.eye(8)[:3].reshape(3, *SHAPE).expand(num_samples, 3, *SHAPE)


def test_odd_part_of_a_linear_world_is_the_move_and_the_even_part_is_zero():
    x = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0))
    found = effects(linear_walk(first_three), x, unit_directions(5), np.array([1.0, 2.0, 3.0]), gate=None)
    assert np.allclose(found.odd, np.diag([1.0, 2.0, 3.0])[:, None].repeat(5, axis=1), atol=1e-6)
    assert np.abs(found.even).max() < 1e-6
    assert found.passed.all()
    assert found.size == pytest.approx([1, 2, 3], abs=1e-5)


def test_even_part_is_what_both_signs_share():
    found = effects(
        linear_walk(lambda x: first_three(x) ** 2),
        torch.zeros(2, *SHAPE),
        unit_directions(2),
        np.full(3, 2.0),
        gate=None,
    )
    assert np.abs(found.odd).max() < 1e-6
    assert np.allclose(found.even, 4 * np.eye(3)[:, None].repeat(2, axis=1))


def test_gate_refuses_what_left_the_world():
    x = torch.zeros(2, *SHAPE)
    found = effects(linear_walk(first_three), x, unit_directions(2), np.array([1.0, 2.0, 3.0]), gate=2.5)
    assert found.passed.all(axis=(1, 2)).tolist() == [True, True, False]


def test_what_falls_outside_the_places_of_the_factor_that_moves_most_is_counted():
    """Each direction moves one pixel and the factor read there; three of four parts of the last fall elsewhere."""
    x = torch.zeros(2, *SHAPE)
    v = unit_directions(2).clone()
    v[:, 2] = (torch.eye(8)[2] + 3**0.5 * torch.eye(8)[7]).reshape(SHAPE) / 2
    places = np.zeros((2, 3, 2, 4), bool)
    for factor in range(3):
        places[:, factor].reshape(2, 8)[:, factor] = True
    places[1, 0] = False  # on the second sample the first factor shows nowhere
    found = effects(linear_walk(first_three), x, v, np.ones(3), gate=None, places=places)
    assert found.outside == pytest.approx(np.array([[0, 1], [0, 0], [0.75, 0.75]]))
    assert found.outside_of_even == pytest.approx(np.array([[7, 8], [7, 7], [7, 7]]) / 8)
    assert found.locality.shape == (3, 2)
    assert found.locality[:2] == pytest.approx(7 / 8)
    row = Result("ours", found).row((3,))
    assert (row["outside"], row["outside low"], row["outside high"]) == pytest.approx((2.5 / 6, 0.25, 3.5 / 6))
    unknown = effects(linear_walk(first_three), x, v, np.ones(3), gate=None)
    assert unknown.outside is None
    assert "outside" not in Result("ours", unknown).row((3,))
    assert row["outside of even"] == pytest.approx(43 / 48)
    with pytest.raises(
        ShapeError, match=r"places of shape \(S, F, H, W\) on 2 samples of \(2, 4\); got \(1, 3, 2, 4\)"
    ):
        effects(linear_walk(first_three), x, v, np.ones(3), gate=None, places=places[:1])


def test_matched_length_reaches_the_wanted_effect():
    length = matched_length(
        linear_walk(lambda x: 0.1 * first_three(x)), torch.zeros(3, *SHAPE), unit_directions(3), size=1.0
    )
    assert length == pytest.approx([10, 10, 10], rel=1e-3)


def test_wrong_shapes_are_named():
    with pytest.raises(
        ShapeError, match=r"one length a direction; got x \(2, 1, 2, 4\), v \(3, 3, 1, 2, 4\), 3 lengths"
    ):
        effects(linear_walk(first_three), torch.zeros(2, *SHAPE), unit_directions(3), np.ones(3), gate=None)


def test_ridge_recovers_planted_factor_directions():
    generator = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(50, 3, generator=generator))[0].T
    z = torch.randn(400, 3, generator=generator)
    h = z @ axes + 0.01 * torch.randn(400, 50, generator=generator)
    found = ridge_directions(h, z.double().numpy())
    assert (found * axes).sum(dim=1).min() > 0.99


def test_a_ceiling_of_fewer_directions_takes_the_factors_that_h_predicts_best():
    generator = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(50, 4, generator=generator))[0].T
    z = torch.randn(100, 4, generator=generator)
    seen = torch.tensor([0.05, 1.0, 0.2, 3.0])  # how strongly h moves with each factor
    h = (z * seen) @ axes + 0.1 * torch.randn(100, 50, generator=generator)
    every = ridge_directions(h, z.double().numpy())
    best = ridge_directions(h, z.double().numpy(), num=2)
    assert torch.equal(best, every[[3, 1]])
    assert ridge_directions(h, z.double().numpy(), num=9).shape == (4, 50)

    noise = z.double().numpy().copy()
    noise[:, 1] = np.random.default_rng(0).standard_normal(100)  # by heart 50 places know it well, from others not
    found, every = (ridge_directions(h, noise, num=num, penalty=1e-3) for num in (3, None))
    assert {int((every @ row).argmax()) for row in found} == {0, 2, 3}


def test_movers_give_unit_directions_on_each_sample():
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    v = by_one_product(lambda x: x**2, torch.eye(8)[:2], chunk=2)(x)  # pyright: ignore
    assert v.shape == (3, 2, 8)
    assert torch.allclose(v.norm(dim=2), torch.ones(3, 2))
    assert torch.equal(everywhere(v[0])(x)[2], v[0])


def test_row_holds_plain_figures():
    x = torch.zeros(4, *SHAPE)
    found = effects(linear_walk(first_three), x, unit_directions(4), np.ones(3), gate=None)
    row = Result("planted", found).row(counts=(3, 24))
    assert row["D@3"] == 3
    assert row["D@24"] == 3
    assert row["directions"] == 3
    assert row["purity"] == pytest.approx(1)
    assert row["pass rate"] == 1
