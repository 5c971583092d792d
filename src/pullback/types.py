"""What every layer agrees on: the feature map ``f: x -> h`` at fixed t and condition."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Pool = Literal["none", "sum"] | tuple[Literal["sum"], int]
"""How h is pooled: not at all, over all positions, or over windows of the given size."""

Origin = Mapping[str, str | int | float]
"""All that determined a result, as plain values: model digest, layer, t, pool, condition ..."""
ORIGIN_NAMES = ("weights", "config", "layer", "pool", "t", "condition")
"""What tells the map of one network from every other; an origin may say more."""


@runtime_checkable
class FeatureMap(Protocol):
    """A differentiable map from latents to features, each sample on its own.

    Calling it twice gives the same bits; it leaves its input, its network and the random state as they were.
    A map may also have ``parameters()``: whatever of it requires grad is frozen while products are taken.
    """

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Shape of one latent, without the batch."""
        ...

    @property
    def h_shape(self) -> tuple[int, ...]:
        """Shape of one feature after pooling, without the batch; D is its product."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of x and h."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of x and h."""
        ...

    @property
    def origin(self) -> Origin:
        """All that determines the map: weights and config digest, layer, pool, t, condition digest ..."""
        ...

    def __call__(self, x: Tensor, /) -> Tensor:
        """Features of a batch: `(B, *x_shape)` to `(B, *h_shape)`."""
        ...

    def forward_mode(self) -> AbstractContextManager[object]:
        """Entered around forward derivatives only (fused attention has none)."""
        ...
