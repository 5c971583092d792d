"""True masks of the renderer: where a whole deviation shows, and nothing else."""

import numpy as np
import pytest
import torch

from pullback.errors import OptionError
from pullback.portraits import REGIONS, factor_masks, region_mask, render, sample, tangents
from pullback.portraits.factors import NAMES, index
from pullback.portraits.judge import load_judge

SMALL = 32


@pytest.fixture(scope="module")
def z():
    return sample(3, seed=4)


@pytest.mark.parametrize("name", ["smile", "yaw", "hair tone", "background red"])
def test_a_mask_is_where_a_whole_deviation_shows(z, name):
    shown = np.zeros((3, SMALL, SMALL), bool)
    for step in (1.0, -1.0):
        moved = z.copy()
        moved[:, index(name)] += step
        shown |= 2 * np.abs(render(moved, size=SMALL) - render(z, size=SMALL)).max(axis=3) > 0.05
    assert shown.any()
    assert np.array_equal(factor_masks(z, size=SMALL)[:, index(name)], shown)
    assert np.array_equal(region_mask(z, name, size=SMALL), shown.astype(np.float32))


def test_what_an_edge_sweeps_over_counts_though_its_tangent_does_not_see_it(z):
    """A head that turns by a deviation changes places that it does not reach by a quarter of one."""
    near = np.abs(tangents(z, size=SMALL)).max(axis=2)[:, index("yaw")] > 0.05
    assert (factor_masks(z, size=SMALL)[:, index("yaw")] & ~near).sum() > 10


def test_a_switch_is_turned_over(z):
    j = index("glasses")
    other = z.copy()
    other[:, j] *= -1
    shown = 2 * np.abs(render(other, size=SMALL) - render(z, size=SMALL)).max(axis=3) > 0.05
    assert np.array_equal(factor_masks(z, size=SMALL)[:, j], shown)
    assert np.array_equal(factor_masks(other, size=SMALL)[:, j], shown)
    read = z.copy()
    read[:, j] *= 0.1  # as the oracle reads it, between off and on
    assert np.array_equal(region_mask(read, "glasses", size=SMALL) > 0, shown)


def test_a_region_is_that_of_its_factors_and_an_unknown_one_is_refused(z):
    masks = factor_masks(z, size=SMALL)
    for region, names in REGIONS.items():
        wanted = np.any([masks[:, index(name)] for name in names], axis=0)
        assert np.array_equal(region_mask(z, region, size=SMALL) > 0, wanted)
    with pytest.raises(OptionError, match="a region among eyes, mouth, hair, background, or a factor among yaw"):
        region_mask(z, "elbow")


def test_the_judge_knows_where_what_it_read_shows(z):
    judge = load_judge()
    read = judge.factors(torch.from_numpy(2 * render(z) - 1).permute(0, 3, 1, 2).float())
    places = judge.places(read)
    assert places.shape == (3, len(NAMES), 64, 64)
    own = factor_masks(z)
    for name in ("yaw", "hair tone"):
        both, either = (op(places[:, index(name)], own[:, index(name)]).sum() for op in (np.logical_and, np.logical_or))
        assert both > 0.7 * either
