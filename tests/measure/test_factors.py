"""Gain and recall on a linear map, where both are known."""

import pytest
import torch

from pullback.directions import local_basis
from pullback.errors import ShapeError
from pullback.geometry import as_feature_map
from pullback.measure.factors import visibility

WEIGHTS = torch.tensor([3.0, 1.0, 0.5, 0.0])


def linear(x):
    return x * WEIGHTS


def test_gain_and_recall_of_a_diagonal_map():
    x = torch.zeros(2, 4)
    f = as_feature_map(linear, x)
    basis = local_basis(f, x, rank=2, method="dense")
    seen = visibility(f, x, torch.eye(4).expand(2, 4, 4), basis)
    assert seen.energy == pytest.approx([0.25] * 4)
    assert seen.gain == pytest.approx((4 * WEIGHTS**2 / (WEIGHTS**2).sum()).tolist())
    assert seen.recall_x == pytest.approx([1, 1, 0, 0])
    assert seen.recall_h == pytest.approx([1, 1, 0, 0])
    assert (seen.null_x, seen.null_h) == (0.5, 0.5)


def test_tangents_of_other_samples_are_refused():
    x = torch.zeros(2, 4)
    f = as_feature_map(linear, x)
    basis = local_basis(f, x, rank=2, method="dense")
    with pytest.raises(ShapeError, match="one basis for each latent; got x"):
        visibility(f, x, torch.eye(4).expand(3, 4, 4), basis)
