"""A direction, with where it came from and how far it can be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from pullback.errors import OptionError, ShapeError
from pullback.types import Origin

UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Direction:
    """A unit vector in X or H.

    Attributes:
        vector: Unit length: `(D,)`, h flat, for ``space="H"``; `x_shape` for ``space="X"``.
        space: Where it lives. One of H becomes a v on the sample that is edited, never before.
        origin: All that determined it: weights digest, layer, t, pool, condition, samples, estimator ...
        s: Mean singular value (of the standard deviation for PCA), or None.
        agreement: Mean over held-out samples of ``max_j |cos(u, u_j)|``, or None.
        agreement_null: 95 % of the matched null of the same figure, or None.
        index: Place in its list.
        name: A label, empty until someone gives one.
        cluster: Indices of the list, this one included, whose s lie within 1 % of their neighbour's: only the span of a
            cluster is determined.
        merged: Axes of the reference sample that led here; more than one if duplicates were merged.

    Raises:
        ShapeError: If the vector is not of unit length.
        OptionError: If the space is neither X nor H.

    Example:
        >>> Direction(torch.tensor([0.0, 1.0]), "H", {"layer": "mid_block"}).space
        'H'
    """

    vector: Tensor
    space: Literal["H", "X"]
    origin: Origin
    s: float | None = None
    agreement: float | None = None
    agreement_null: float | None = None
    index: int = 0
    name: str = ""
    cluster: tuple[int, ...] = field(default=())
    merged: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.space not in ("H", "X"):
            raise OptionError(wanted="space must be H or X", got=repr(self.space), hint="H for features, X for latents")
        length = float(torch.linalg.vector_norm(self.vector.double()))
        if not math.isclose(length, 1.0, abs_tol=UNIT_TOLERANCE):
            raise ShapeError(
                wanted="a direction of unit length", got=f"{length:.4g}", hint="divide the vector by its norm"
            )
