"""Frames to strips: all scales of one sample side by side in one WebP picture, small enough for one HTML file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pullback.errors import ShapeError

Frames = NDArray[np.uint8]

MIN_SIDE = 128
"""Smaller frames are enlarged (Lanczos): browsers enlarge blurrily, and differently."""
MAX_SIDE = 256
"""Larger frames are reduced: the page shows them at about half of this on a dense screen."""
BUDGET_BYTES = 9_500_000
"""Of all strips together; as base64 they take a third more, and the page must stay below 15 MB."""
QUALITIES = (88, 78, 66, 52)


def encode_strip(frames: Frames, *, quality: int = 88, max_side: int = MAX_SIDE) -> bytes:
    """Returns the frames side by side as one WebP picture.

    Args:
        frames: `(S, H, W, 3)`, 8 bit.
        quality: WebP quality, 1 to 100.
        max_side: Longest side of one frame in pixels.

    Raises:
        ShapeError: If ``frames`` are not 8-bit RGB pictures.

    Example:
        >>> encode_strip(np.zeros((3, 8, 8, 3), np.uint8))[:4]
        b'RIFF'
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise ShapeError(
            wanted="frames must be 8-bit pictures (S, H, W, 3)",
            got=f"{frames.dtype} {frames.shape}",
            hint="pass what Denoiser.to_image returns",
        )
    width, height = _frame_size(frames.shape[2], frames.shape[1], max_side=max_side)
    strip = Image.new("RGB", (width * len(frames), height))
    for position, frame in enumerate(frames):
        strip.paste(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS), (position * width, 0))
    buffer = io.BytesIO()
    strip.save(buffer, format="WEBP", quality=quality, method=4)
    return buffer.getvalue()


def encode_strips(
    frames: Mapping[tuple[int, int], Frames], *, budget_bytes: int = BUDGET_BYTES
) -> dict[tuple[int, int], bytes]:
    """Encodes all strips at the best quality at which they fit the budget together.

    Args:
        frames: `(S, H, W, 3)` by (direction, sample).
        budget_bytes: Of the encoded strips together.

    Returns:
        WebP pictures by the same keys. Quality falls first, then the size of a frame, which always fits in the end.
    """
    side = MAX_SIDE
    while True:
        for quality in QUALITIES:
            strips = {key: encode_strip(each, quality=quality, max_side=side) for key, each in frames.items()}
            if sum(map(len, strips.values())) <= budget_bytes or side <= 16:
                return strips
        side //= 2


def contact_sheet(frames: Frames, *, columns: int) -> Image.Image:
    """Returns pictures `(N, H, W, 3)` in rows of ``columns`` as one picture."""
    num, height, width = frames.shape[:3]
    rows = -(-num // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for position, frame in enumerate(frames):
        sheet.paste(Image.fromarray(cast(Frames, frame)), (position % columns * width, position // columns * height))
    return sheet


def _frame_size(width: int, height: int, *, max_side: int) -> tuple[int, int]:
    longest = max(width, height)
    factor = max_side / longest if longest > max_side else max(1, -(-min(MIN_SIDE, max_side) // longest))
    factor = min(factor, max_side / longest)
    return max(1, round(width * factor)), max(1, round(height * factor))
