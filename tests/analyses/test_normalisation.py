"""Drift of colour and contrast on pictures whose moments are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import pullback
from pullback.analyses import Size
from pullback.analyses.context import Context
from pullback.analyses.figures import normalisation
from pullback.analyses.figures.normalisation import drift
from pullback.analyses.record import column
from pullback.models import toy_denoiser


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


def test_the_finding_compares_edits_without_and_with_the_published_normalisation(monkeypatch):
    """Every way moves a black picture by a shade of its own; the table and the finding must tell which way it was."""
    shade = {"off": 0.5, "original": 0.2, "edited": 0.3}

    def spy(den, x, t, directions, scales, *, normalise, **rest):
        return SimpleNamespace(x0=torch.full((len(directions), len(x), len(scales), *x.shape[1:]), shade[normalise]))

    context = Context(pullback.load(toy_denoiser()), Size(3, 2, 2, 2, 1, 1, 2, (0.8, 0.4), 4, 2))
    monkeypatch.setattr(normalisation, "edit", spy)
    monkeypatch.setattr(context, "pictures", lambda x, t: torch.zeros_like(x))
    outcome = normalisation.run(context)
    wanted = {"off": 0.5, "original": 0.2, "edited": 0.3, "off, rotated": 0.5}
    for way, moved in wanted.items():  # [-1, 1] is 0 to 1 a channel; pictures have whole numbers of 255
        assert column(outcome.rows, "colour_drift", way=way) == pytest.approx([moved / 2 * 3**0.5] * 2, abs=0.01)
    assert outcome.findings[0].effect == pytest.approx(0.3 / 2 * 3**0.5, abs=0.01)
