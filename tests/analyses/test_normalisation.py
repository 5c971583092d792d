"""Drift of colour and contrast on pictures whose moments are known."""

import numpy as np
import pytest

from pullback.analyses.figures.normalisation import drift


def pictures(num=3):
    return np.random.default_rng(0).integers(20, 120, (num, 8, 8, 3)).astype(np.uint8)


def test_pictures_of_the_same_moments_have_not_drifted():
    base = pictures()
    turned = base[:, ::-1, ::-1]
    colour, contrast = drift(turned, base)
    assert colour == pytest.approx([0.0] * 3, abs=1e-12)
    assert contrast == pytest.approx([0.0] * 3, abs=1e-12)


def test_a_brighter_picture_has_drifted_in_colour_alone():
    base = pictures()
    colour, contrast = drift(base + np.uint8(51), base)
    assert colour == pytest.approx([0.2 * 3**0.5] * 3)
    assert contrast == pytest.approx([0.0] * 3, abs=1e-12)


def test_twice_the_contrast_is_log_two():
    base = pictures()
    colour, contrast = drift(2 * base, base)
    assert contrast == pytest.approx([np.log(2)] * 3)
    assert (colour > 0.1).all()


def test_each_edit_is_held_against_its_own_sample():
    base = pictures()
    edits = np.stack([base, base + np.uint8(51)])[:, :, None]  # (K, B, 1, H, W, 3)
    colour, _ = drift(edits, base[None, :, None])
    assert colour.shape == (2, 3, 1)
    assert colour[0].max() < 1e-12 < colour[1].min()
