"""Directions of a region on maps whose answer is known, masks of the renderer, and what counts as success."""

import numpy as np
import pytest
import torch

from pullback.analyses.figures.masks import REGIONS, is_success, regions_of, three_ways
from pullback.directions.masks import Rectangle, mask_at, outside_share
from pullback.geometry import as_feature_map
from pullback.portraits import render, sample
from pullback.portraits.judge import load_judge
from pullback.portraits.oracle import to_clean

LEFT = Rectangle(0, 0, 1, 0.5)


def test_where_each_place_of_the_picture_is_its_own_place_of_x_nothing_falls_outside():
    """x0 = x times a weight a place, h = x: ours, LOCO-Edit's and the random one all stay inside the mask."""
    x = torch.zeros(3, 4, 4, dtype=torch.float64)
    weight = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
    picture = as_feature_map(lambda at: weight * at, x[None])
    feature = as_feature_map(lambda at: at.flatten(1), x[None])
    v = three_ways(feature, picture, x, LEFT, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(v.flatten(1).norm(dim=1), torch.ones(3).double())
    assert outside_share(weight * v, LEFT).max() < 1e-12
    inside = weight * mask_at(LEFT, x.shape)
    assert v[1].flatten().abs().argmax() == inside.flatten().argmax()  # LOCO-Edit's: the heaviest place of the mask


def test_what_the_outside_sees_most_is_taken_out_of_both():
    """One direction of x moves the outside alone by ten times what it moves the inside; none of it may be left."""
    x = torch.zeros(1, 4, 4, dtype=torch.float64)
    mixed = torch.eye(16, dtype=torch.float64)
    mixed[3, 0] = 10.0  # place 0, inside, also moves place 3, outside
    picture = as_feature_map(lambda at: (at.flatten(1) @ mixed.T).unflatten(1, (1, 4, 4)), x[None])
    feature = as_feature_map(lambda at: at.flatten(1), x[None])
    v = three_ways(feature, picture, x, LEFT, generator=torch.Generator().manual_seed(1))
    pushed = (v.flatten(1) @ mixed.T).unflatten(1, (1, 4, 4))
    assert outside_share(pushed[:2], LEFT).max() < 1e-10
    assert outside_share(pushed[2], LEFT) > 0.1


@pytest.mark.parametrize(
    ("effect", "own", "passed", "outside", "good"),
    [
        ([0.5, 0.2], [0], True, 0.9, True),
        ([-0.5, 0.2], [0], True, 0.9, True),
        ([0.5, 0.3], [0], True, 0.0, False),
        ([0.2, 0.0], [0], True, 0.0, False),
        ([0.5, 0.4, 0.1], [0, 1], True, 0.0, True),
        ([0.5, 0.2], [0], False, 0.0, False),
        ([9.0, 9.0], None, True, 0.4, True),
        ([9.0, 9.0], None, True, 0.6, False),
    ],
)
def test_success_is_a_move_of_the_region_and_of_nothing_else(effect, own, passed, outside, good):
    assert is_success(np.array(effect), own, passed, outside) is good


def test_masks_of_the_renderer_are_where_they_should_be():
    masks = regions_of(load_judge(), to_clean(render(sample(2, seed=3))))
    for each in masks:
        found = {region: mask_at(each[region], (3, 64, 64))[0] for region in REGIONS}
        row = {region: float((mask.sum(1) @ torch.arange(64.0)) / mask.sum()) for region, mask in found.items()}
        assert row["eyes"] < row["mouth"]
        assert found["background"][:8, :8].mean() > 0.5
        assert found["eyes"].mean() < 0.2 < found["background"].mean()
