"""What tests of edits share: a toy in double precision, and its feature map at t = 600."""

import pytest
import torch

from pullback.models import toy_denoiser


@pytest.fixture(scope="module")
def den():
    return toy_denoiser(dtype=torch.float64)


@pytest.fixture(scope="module")
def f(den):
    return den.feature_map(t=600)
