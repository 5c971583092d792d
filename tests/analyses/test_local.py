"""Measures of an edit, on changes that are known; directions carried through time, on a map that does not change."""

import numpy as np
import pytest
import torch

from pullback.analyses.figures.local import measures
from pullback.analyses.figures.timesteps import three_ways
from pullback.analyses.reading import cells
from pullback.geometry import JacobianAt, top_singular
from pullback.testing import planted_spectrum


def test_a_change_of_brightness_is_colour_everywhere_and_of_one_factor():
    still = np.full((12, 12, 3), 100, np.uint8)
    found = measures(still, np.stack([still - 20, still + 20]), np.array([0.0, 2.0, 0.0]))
    assert found["purity"] == pytest.approx(1.0)
    assert found["colour_share"] == pytest.approx(1.0)
    assert found["locality"] == pytest.approx(0.0, abs=1e-9)
    assert found["symmetry"] == pytest.approx(1.0)


def test_a_change_of_one_pixel_is_local():
    still = np.full((12, 12, 3), 100, np.uint8)
    minus, plus = still.copy(), still.copy()
    minus[3, 4], plus[3, 4] = 50, 150
    found = measures(still, np.stack([minus, plus]), np.array([1.0, 1.0]))
    assert found["locality"] > 0.98
    assert found["purity"] == pytest.approx(0.5)


def test_cells_are_mean_colours_in_reading_order():
    picture = np.zeros((1, 8, 8, 3), np.uint8)
    picture[0, :2, 2:4, 1] = 255  # first row of cells, second column, green
    found = cells(picture)[0]
    assert found.argmax() == 4
    assert found.sum() == pytest.approx(1.0)


def test_where_the_map_does_not_change_with_time_the_carried_direction_is_the_own_one():
    f = planted_spectrum([3.0, 2.0, 1.0], dim_x=12, dim_h=5, x_shape=(3, 2, 2))
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64)
    bases = [top_singular(JacobianAt(f, latent), 2) for latent in x]
    own, carried, drawn = three_ways(f, x, bases, bases, torch.Generator().manual_seed(0)).unbind(1)
    assert torch.allclose(own, carried, atol=1e-8)
    assert torch.allclose(drawn.flatten(1).norm(dim=1), torch.ones(2).double())
    assert not torch.allclose(own, drawn)
