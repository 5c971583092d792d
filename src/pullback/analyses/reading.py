"""What is read off clean samples: known factors where there are any, else coarse cells of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pullback.edit import denoising_loss
from pullback.measure.effects import Reads
from pullback.models import Denoiser

if TYPE_CHECKING:
    from pullback.analyses.context import Context

Array = NDArray[np.float64]
NUM_CELLS = 4
"""Cells along a side."""
QUANTILE = 0.95
NUM_UNEDITED = 16


@dataclass(frozen=True, eq=False)
class CellReader:
    """For models whose factors are not known: mean colours of 4 x 4 cells, and the model's own denoising loss.

    Attributes:
        den: The model.
        deviation: Of each number over unedited samples, `(F,)`: the unit.
    """

    den: Denoiser
    deviation: Array

    @property
    def names(self) -> tuple[str, ...]:
        """Row, column, channel."""
        return tuple(f"{i}{j} {c}" for i in range(NUM_CELLS) for j in range(NUM_CELLS) for c in "rgb")

    def factors(self, x0: Tensor) -> Array:
        """Mean colours in units of their deviation over samples, `(B, 48)`."""
        return cells(self.den.to_image(x0)) / self.deviation

    def places(self, values: Array) -> NDArray[np.bool_]:
        """The cell of each number, the same on every sample: `(B, 48)` to `(B, 48, H, W)`."""
        height, width = self.den.x_shape[-2:]
        rows, columns = (np.zeros((NUM_CELLS, side), np.bool_) for side in (height, width))
        for marks in (rows, columns):
            for i, part in enumerate(np.array_split(np.arange(marks.shape[1]), NUM_CELLS)):
                marks[i, part] = True
        each = (rows[:, None, :, None] & columns[None, :, None, :]).reshape(-1, height, width)  # by row, column
        return np.broadcast_to(each.repeat(3, axis=0), (len(values), 3 * len(each), height, width))

    def residual(self, x0: Tensor) -> Array:
        """The denoising loss, with the same noise for each sample."""
        generator = torch.Generator().manual_seed(0)
        return denoising_loss(self.den, x0, generator=generator, num_noises=2).double().cpu().numpy()


def cells(pictures: NDArray[np.uint8]) -> Array:
    """Mean colours, 0 to 1, of 4 x 4 cells: `(B, H, W, 3)` to `(B, 48)`.

    Example:
        >>> cells(np.full((1, 8, 8, 3), 255, np.uint8)).shape
        (1, 48)
    """
    rows = np.array_split(pictures.astype(float) / 255, NUM_CELLS, axis=1)
    parts = [part.mean(axis=(1, 2)) for row in rows for part in np.array_split(row, NUM_CELLS, axis=2)]
    return np.stack(parts, axis=1).reshape(len(pictures), -1)


def reader_of(context: Context) -> Reads:
    """The judge of a model whose factors are known, or a reader of cells."""
    if context.judge is not None:
        return context.judge
    deviation = cells(context.model.to_image(unedited(context))).std(axis=0)
    return CellReader(context.model, np.maximum(deviation, 1e-3))


def gate_of(context: Context, reader: Reads) -> float:
    """The largest residual that passes: 95 % of unedited samples do."""
    return float(np.quantile(reader.residual(unedited(context)), QUANTILE))


def unedited(context: Context) -> Tensor:
    """Clean samples that nothing is done to, those that take no part in discovery."""
    seeds = context.seeds(NUM_UNEDITED, held_out=True)
    return context.pictures(context.model.sample_latent(t_fraction=1.0, seeds=seeds), context.model.time(t_fraction=1))


def cosines(a: Array, b: Array) -> Array:
    """Cosine of each pair of rows, `(..., F)` to `(...)`; 0 where one of them is zero.

    Example:
        >>> cosines(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[2.0, 0.0], [1.0, 0.0]])).tolist()
        [1.0, 0.0]
    """
    length = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.where(length > 0, (a * b).sum(axis=-1) / np.where(length > 0, length, 1.0), 0.0)


def told(context: Context) -> str:
    """What the numbers of a figure are about, for its note."""
    if context.judge is not None:
        return "Changes are of known factors, in standard deviations."
    return "The factors of this model are not known: changes are of the mean colours of 4 x 4 cells of the picture."
