"""Directions of a region on maps whose answer is known, masks of the renderer, and what counts as success."""

import numpy as np
import pytest
import torch

import pullback
from pullback.analyses import Size
from pullback.analyses.context import Context
from pullback.analyses.figures import masks
from pullback.analyses.figures.masks import REGIONS, is_success, regions_of, three_ways
from pullback.directions.masks import Rectangle, mask_at, outside_share
from pullback.edit import masked_vectors
from pullback.geometry import as_feature_map
from pullback.models import toy_denoiser
from pullback.models.output_map import OutputMap
from pullback.portraits import render, sample
from pullback.portraits.factors import index
from pullback.portraits.judge import load_judge
from pullback.portraits.oracle import to_clean

LEFT = Rectangle(0, 0, 1, 0.5)


def test_where_each_place_of_the_picture_is_its_own_place_of_x_nothing_falls_outside():
    """x0 = x times a weight a place, h = x: ours, LOCO-Edit's and the random one all stay inside the mask."""
    x = torch.zeros(3, 4, 4, dtype=torch.float64)
    weight = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
    picture = as_feature_map(lambda at: weight * at, x[None])
    feature = as_feature_map(lambda at: at.flatten(1), x[None])
    (v,) = three_ways(feature, picture, x, [LEFT], generator=torch.Generator().manual_seed(1))
    assert torch.allclose(v.flatten(1).norm(dim=1), torch.ones(3).double())
    assert outside_share(weight * v, LEFT).max() < 1e-12
    inside = weight * mask_at(LEFT, x.shape)
    assert v[1].flatten().abs().argmax() == inside.flatten().argmax()  # LOCO-Edit's: the heaviest place of the mask


def test_what_the_outside_sees_most_is_taken_out_of_all_three():
    """One direction of x moves the outside alone by ten times what it moves the inside; none of it may be left."""
    x = torch.zeros(1, 4, 4, dtype=torch.float64)
    mixed = torch.eye(16, dtype=torch.float64)
    mixed[3, 0] = 10.0  # place 0, inside, also moves place 3, outside
    picture = as_feature_map(lambda at: (at.flatten(1) @ mixed.T).unflatten(1, (1, 4, 4)), x[None])
    turn = torch.randn(16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    feature = as_feature_map(lambda at: at.flatten(1) @ turn, x[None])
    (v,) = three_ways(feature, picture, x, [LEFT], generator=torch.Generator().manual_seed(1))
    pushed = (v.flatten(1) @ mixed.T).unflatten(1, (1, 4, 4))
    assert outside_share(pushed, LEFT).max() < 1e-10
    noise = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    left_alone = (masked_vectors(noise, LEFT).flatten(1) @ mixed.T).unflatten(1, (1, 4, 4))
    assert outside_share(left_alone, LEFT)[0] > 0.1


def test_regions_of_a_latent_found_together_are_those_found_one_after_the_other():
    x = torch.zeros(1, 4, 4, dtype=torch.float64)
    weights = [torch.randn(16, 16, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in (0, 1)]
    picture, feature = (
        as_feature_map(lambda at, w=w: (at.flatten(1) @ w).unflatten(1, (1, 4, 4)), x[None]) for w in weights
    )
    places = [LEFT, Rectangle(0, 0, 0.5, 1)]
    both = three_ways(feature, picture, x, places, generator=torch.Generator().manual_seed(1))
    for place, together in zip(places, both, strict=True):
        (alone,) = three_ways(feature, picture, x, [place], generator=torch.Generator().manual_seed(1))
        for k in (0, 1):
            assert abs(float((alone[k] * together[k]).sum())) > 0.99


@pytest.fixture(scope="module")
def context():
    return Context(pullback.load(toy_denoiser()), Size(3, 2, 2, 2, 1, 1, 2, (0.8, 0.4), 4, 2))


def test_the_prediction_that_is_looked_at_is_the_clean_sample(context, monkeypatch):
    seen = []

    def spy(f, x0_map, x, places, **how):
        seen.append(torch.equal(x0_map(x[None]), context.model.x0(x[None], x0_map.t)))
        return three_ways(f, x0_map, x, places, **how)

    monkeypatch.setattr(masks, "three_ways", spy)
    masks.run(context)
    assert seen
    assert all(seen)


def test_all_move_the_prediction_inside_alike_or_it_is_said(context, monkeypatch):
    monkeypatch.setattr(masks, "FARTHEST", 1.0)
    t = context.model.time(t_fraction=0.4)
    x, x0_map = context.latents(0.4, 1)[0], OutputMap(context.model, t=t, kind="x0")
    v = torch.randn(3, *x.shape, generator=torch.Generator().manual_seed(0))
    v = v / v.flatten(1).norm(dim=1).reshape(3, 1, 1, 1)
    v[2] = v[2] / 1e4  # needs a move that is longer than any may be
    moved, reached = masks.both_ways(context, x0_map, x, v, LEFT)
    assert moved.shape == (3, 2, *x.shape)
    assert reached.tolist() == [True, True, False]


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
    for each in regions_of(load_judge(), to_clean(render(sample(2, seed=3)))):
        found = {region: mask_at(each[region], (3, 64, 64))[0] for region in REGIONS}
        row = {region: float((mask.sum(1) @ torch.arange(64.0)) / mask.sum()) for region, mask in found.items()}
        assert row["eyes"] < row["mouth"]
        assert found["background"][:8, :8].mean() > 0.5
        assert found["eyes"].mean() < 0.2 < found["background"].mean()


def test_the_mask_of_the_hair_is_where_another_tone_of_hair_shows():
    z = sample(2, seed=3)
    other = z.copy()
    other[:, index("hair tone")] = np.where(z[:, index("hair tone")] > 0, -1.0, 1.0)
    base, turned = (to_clean(render(each)) for each in (z, other))
    shown = (turned - base).abs().amax(1) > 0.2
    for each, place in zip(regions_of(load_judge(), base), shown, strict=True):
        mask, eyes = (mask_at(each[region], (3, 64, 64))[0] > 0.5 for region in ("hair", "eyes"))
        assert place.sum() > 40
        assert (mask & place).sum() > 0.8 * place.sum()
        assert (eyes & place).sum() < 0.2 * place.sum()
        assert mask.float().mean() < 0.5


def test_paired_differences_of_both_measures_are_drawn_by_region_and_over_all():
    """Ours lies .1 outside less in each region of every sample; it succeeds more often in one of two regions."""
    rows = [
        {"sample": i, "region": region, "method": method, "passed": 1.0}
        | {"outside": 0.5 + 0.05 * i - 0.1 * (method == "ours")}
        | {"success": float(method == "ours" and region == "eyes")}
        for i in range(4)
        for region in ("eyes", "hair")
        for method in masks.METHODS
    ]
    _, _, outside, success = masks.draw(rows).axes
    for axis, wanted in ((outside, [-0.1, -0.1, -0.1]), (success, [1.0, 0.0, 0.5])):
        means = [container[0].get_ydata()[0] for container in axis.containers]
        assert means == pytest.approx(wanted)
        spans = [container[2][0].get_segments()[0][:, 1] for container in axis.containers]
        assert [span[1] - span[0] for span in spans] == pytest.approx([0.0] * 3, abs=1e-9)
        assert axis.get_ylabel().endswith("ours less LOCO-Edit's")
    assert "outside -0.10 [-0.10, -0.10] (n = 4: the range, no interval), success" in masks._paired(rows)
    rows += [{**row, "sample": row["sample"] + 4} for row in rows]
    rows = [{**row, "outside": 0.5} for row in rows]
    assert "outside +0.00 [+0.00, +0.00] (not shown at this size), success +0.50" in masks._paired(rows)
