"""Masks: where a direction is looked for, and where an edit may act."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pullback.errors import OptionError, ShapeError


@dataclass(frozen=True)
class Rectangle:
    """A rectangle in shares of the picture, from 0 (top, left) to 1 (bottom, right): it fits every resolution.

    Raises:
        OptionError: If it is empty or outside.

    Example:
        >>> mask_at(Rectangle(0.5, 0.0, 1.0, 0.5), (1, 2, 2))[0]
        tensor([[0., 0.],
                [1., 0.]])
    """

    top: float
    left: float
    bottom: float
    right: float

    def __post_init__(self) -> None:
        if not (0 <= self.top < self.bottom <= 1 and 0 <= self.left < self.right <= 1):
            raise OptionError(
                wanted="0 <= top < bottom <= 1 and 0 <= left < right <= 1",
                got=f"{self.top}, {self.left}, {self.bottom}, {self.right}",
                hint="the lower right quarter is Rectangle(0.5, 0.5, 1, 1)",
            )


Mask = Tensor | NDArray[Any] | Rectangle | Callable[[Tensor, Tensor], Tensor]
"""An array; a rectangle; or a function of the rows' and columns' places, each `(H, W)` from 0 to 1, to a mask."""


def mask_at(mask: Mask, shape: Sequence[int]) -> Tensor:
    """The mask on latents, features or pictures of shape `(C, H, W)`, as float32 from 0 to 1.

    Args:
        mask: An array `(H, W)`, `(1, H, W)` or `(C, H, W)` of booleans or of values from 0 to 1, which must fit; a
            rectangle or a function, which fit everywhere: a place counts by its centre.
        shape: C, H and W.

    Returns:
        Shape `(C, H, W)`.

    Raises:
        ShapeError: If the shape has no places, or an array does not fit.
        OptionError: If the mask is empty, or has values outside [0, 1].

    Example:
        >>> mask_at(lambda row, column: row < column, (1, 2, 2))[0]
        tensor([[0., 1.],
                [0., 0.]])
    """
    if len(shape) != 3:
        raise ShapeError(
            wanted="a space of shape (C, H, W) to lay a mask on",
            got=str(tuple(shape)),
            hint='pool="none", and no tokens',
        )
    channels, height, width = shape
    rows, columns = torch.meshgrid(
        (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij"
    )
    if isinstance(mask, Rectangle):
        values = (rows > mask.top) & (rows < mask.bottom) & (columns > mask.left) & (columns < mask.right)
    elif isinstance(mask, np.ndarray):
        values = torch.from_numpy(np.ascontiguousarray(mask))
    else:
        values = mask if isinstance(mask, Tensor) else mask(rows, columns)
    values = values.detach().to("cpu", torch.float32)
    if tuple(values.shape) not in {(height, width), (1, height, width), (channels, height, width)}:
        raise ShapeError(
            wanted=f"a mask of shape ({height}, {width}) or ({channels}, {height}, {width})",
            got=str(tuple(values.shape)),
            hint="shrink_mask brings a picture's mask to the size of a latent or feature",
        )
    if not bool(((values >= 0) & (values <= 1)).all()) or not bool((values > 0).any()):
        raise OptionError(
            wanted="a mask of values from 0 to 1, not all 0",
            got="an empty one" if bool((values == 0).all()) else "other values",
            hint="mark at least one place with 1",
        )
    return values.expand(channels, height, width).clone()


def shrink_mask(mask: Tensor | NDArray[Any], size: tuple[int, int]) -> Tensor:
    """A picture's mask at the size of a latent or feature: the share of each cell that is covered, `(H, W)`.

    Raises:
        ShapeError: If the mask is not `(H, W)`, or smaller than the size.

    Example:
        >>> shrink_mask(torch.eye(4), (2, 2))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]])
    """
    values = torch.as_tensor(mask).float()
    if values.ndim != 2 or values.shape[0] < size[0] or values.shape[1] < size[1]:
        raise ShapeError(
            wanted=f"a mask (H, W) of at least {size}", got=str(tuple(values.shape)), hint="give the picture's own mask"
        )
    return functional.adaptive_avg_pool2d(values[None, None], size)[0, 0]


def outside_share(change: Tensor, mask: Mask) -> Tensor:
    """``|(1 - M) d|^2 / |d|^2``: the share of a change outside the mask; 0 for no change.

    Args:
        change: d, shape `(C, H, W)` or `(..., C, H, W)`.
        mask: M.

    Returns:
        From 0 to 1 in float64, shape `(...)`.

    Example:
        >>> float(outside_share(torch.ones(1, 2, 2), Rectangle(0, 0, 1, 0.5)))
        0.5
    """
    inside = mask_at(mask, change.shape[-3:]).double()
    squares = change.detach().to("cpu", torch.float64)
    whole = squares.square().sum((-3, -2, -1))
    outside = ((1 - inside) * squares).square().sum((-3, -2, -1))
    return torch.where(whole > 0, outside / whole.clamp_min(1e-300), 0.0)


def mask_digest(mask: Tensor) -> str:
    """A name for the origin of what was found with a mask, or around a latent: a sha256 of its values, 16 digits."""
    bits = mask.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(f"{tuple(mask.shape)}".encode() + bits.numpy().tobytes()).hexdigest()[:16]
