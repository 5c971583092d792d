"""Strips: all frames there, in order, within the budget."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pullback.errors import ShapeError
from pullback.measure.report_frames import contact_sheet, encode_strip, encode_strips


def frames(num: int = 5, side: int = 16) -> np.ndarray:
    levels = np.linspace(20, 230, num)[:, None, None, None]
    return np.broadcast_to(levels, (num, side, side, 3)).round().astype(np.uint8)


def opened(strip: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(strip)) as picture:
        return np.asarray(picture.convert("RGB")).astype(float)


def test_frames_stand_side_by_side_in_order() -> None:
    strip = opened(encode_strip(frames()))
    assert strip.shape == (128, 5 * 128, 3)
    means = strip.reshape(128, 5, 128, 3).mean(axis=(0, 2, 3))
    assert means == pytest.approx(np.linspace(20, 230, 5), abs=3)


@pytest.mark.parametrize(("side", "shown"), [(8, 128), (64, 128), (100, 200), (256, 256), (512, 256)])
def test_small_frames_grow_and_large_ones_shrink(side: int, shown: int) -> None:
    assert opened(encode_strip(frames(2, side))).shape == (shown, 2 * shown, 3)


def test_the_budget_is_kept() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3)).astype(np.uint8)
    strips = encode_strips({(i, k): noise for i in range(3) for k in range(2)}, budget_bytes=40_000)
    assert sum(map(len, strips.values())) <= 40_000
    assert set(strips) == {(i, k) for i in range(3) for k in range(2)}


def test_contact_sheet_fills_rows_first() -> None:
    sheet = np.asarray(contact_sheet(frames(5, 4), columns=3))
    assert sheet.shape == (8, 12, 3)
    assert sheet[0, 4, 0] == frames(5, 4)[1, 0, 0, 0]
    assert sheet[-1, -1, 0] == 255


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 4, 4, 3)), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4, 4, 3), np.uint8)]
)
def test_wrong_frames_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="8-bit pictures"):
        encode_strip(wrong)
