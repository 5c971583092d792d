"""Matrices of a batch that grow row by row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Coordinates:
    """Rows of float64 on the CPU that are added a few at a time, each as wide as the last or wider, with zeros to fill.

    They have room to double, so that a row costs no copy of all before it.

    Args:
        num: Matrices in the batch, B.
        width: Columns to begin with.

    Example:
        >>> rows = Coordinates(1)
        >>> rows.append(torch.ones(1, 1, 1))
        >>> rows.append(torch.ones(1, 1, 3))
        >>> rows.values.tolist()
        [[[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]]
    """

    def __init__(self, num: int, width: int = 0) -> None:
        self._room = torch.zeros(num, 0, 0, dtype=torch.float64)
        self.num_rows, self.width = 0, width

    @property
    def values(self) -> Tensor:
        """All rows so far, shape `(B, m, n)`."""
        self._make_room()
        return self._room[:, : self.num_rows, : self.width]

    def append(self, rows: Tensor) -> None:
        """Adds rows, shape `(B, b, n)`, n at least the width so far."""
        first = self.num_rows
        self.num_rows, self.width = first + rows.shape[1], rows.shape[2]
        self.values[:, first:] = rows

    def subset(self, samples: Sequence[int]) -> Coordinates:
        """Those of some of the matrices."""
        part = Coordinates(len(samples), self.width)
        part.num_rows, part._room = self.num_rows, self._room[list(samples)]
        return part

    def _make_room(self) -> None:
        needed, there = (self.num_rows, self.width), self._room.shape[1:]
        if any(wanted > has for wanted, has in zip(needed, there, strict=True)):
            sizes = [2 * max(wanted, has) for wanted, has in zip(needed, there, strict=True)]
            room = self._room.new_zeros(len(self._room), *sizes)
            room[:, : there[0], : there[1]] = self._room
            self._room = room
