"""Effects on factors, read off portraits that the renderer drew."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pullback.api.portrait import Reader, is_portraits, units
from pullback.models import toy_denoiser
from pullback.portraits import FACTORS, NAMES, NUM_FACTORS, sample
from pullback.portraits.judge import Judge


class Known(Judge):
    """A judge that was told: pictures carry their factors in their first pixels."""

    def __init__(self) -> None:
        self.__dict__["names"] = NAMES

    def factors(self, x0: torch.Tensor) -> np.ndarray:
        return x0.flatten(1)[:, :NUM_FACTORS].double().numpy()

    def residual(self, x0: torch.Tensor) -> np.ndarray:
        return x0.flatten(1)[:, NUM_FACTORS].double().numpy()


def pictures(z: np.ndarray, residual: float = 0.0) -> torch.Tensor:
    flat = torch.zeros(*z.shape[:-1], 3 * 64 * 64)
    flat[..., :NUM_FACTORS] = torch.from_numpy(z)
    flat[..., NUM_FACTORS] = residual
    return flat.unflatten(-1, (3, 64, 64))


def test_a_planted_effect_is_read_and_named() -> None:
    z = sample(3, seed=0)
    effect = np.zeros(NUM_FACTORS)
    effect[NAMES.index("yaw")], effect[NAMES.index("smile")] = 0.5, 0.3
    x0 = pictures(z[:, None] + np.arange(-2, 3)[None, :, None] * effect)
    reading = Reader(pictures(z), judge=Known()).read(x0, stop=2)
    assert reading.effects == pytest.approx(np.tile(2 * effect, (3, 1)), abs=1e-5)
    assert reading.symmetry == pytest.approx(1)
    assert reading.name.startswith("smile +.6 sd") or reading.name.startswith("yaw +")
    assert "smile +.6 sd" in reading.name


def test_an_effect_that_ignores_the_sign_has_no_symmetry() -> None:
    z = sample(3, seed=0)
    x0 = pictures(z[:, None] + np.abs(np.arange(-1, 2))[None, :, None] * np.ones(NUM_FACTORS))
    reading = Reader(pictures(z), judge=Known()).read(x0, stop=1)
    assert reading.symmetry == pytest.approx(0, abs=1e-9)
    assert reading.name == "unclear"


def test_the_gate_lets_95_percent_of_unedited_pictures_pass() -> None:
    z = sample(100, seed=1)
    unedited = pictures(z)
    unedited.flatten(1)[:, NUM_FACTORS] = torch.linspace(0, 1, 100)
    reader = Reader(unedited, judge=Known())
    assert reader.gate == pytest.approx(0.95, abs=0.01)
    passed = reader.read(pictures(z[:6].reshape(2, 3, -1), residual=0.99), stop=1).passed
    assert passed.shape == (2, 3)
    assert not passed.any()


def test_angles_are_named_in_radians() -> None:
    plus, minus = np.full((2, NUM_FACTORS), 0.01), np.full((2, NUM_FACTORS), -0.01)
    small = units(plus, minus)
    assert set(small) == {"yaw", "pitch", "light"}
    assert small["yaw"] == (pytest.approx(0.3989 * (FACTORS[0].high - FACTORS[0].low), rel=1e-3), "rad")
    assert units(300 * plus, 300 * minus)["yaw"][0] < small["yaw"][0]  # an angle has an end


def test_another_model_is_not_taken_for_the_portraits() -> None:
    from pullback import load

    model = load(toy_denoiser())
    assert not is_portraits(model)
