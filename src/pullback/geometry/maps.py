"""Any batched callable as a feature map."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TypeGuard

import torch
from torch import Tensor

from pullback.errors import ShapeError
from pullback.types import FeatureMap, Origin


@dataclass(frozen=True, eq=False)
class CallableMap:
    """Any batched callable as a `FeatureMap`."""

    call: Callable[[Tensor], Tensor]
    x_shape: tuple[int, ...]
    h_shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    origin: Origin = field(default_factory=dict)

    def __call__(self, x: Tensor, /) -> Tensor:
        """Features of a batch."""
        return self.call(x)

    def forward_mode(self) -> AbstractContextManager[object]:
        """Nothing to prepare."""
        return nullcontext()

    def parameters(self) -> list[Tensor]:
        """Those of the callable, when it is a module."""
        return list(self.call.parameters()) if isinstance(self.call, torch.nn.Module) else []


def as_feature_map(f: FeatureMap | Callable[[Tensor], Tensor], x: Tensor) -> FeatureMap:
    """Wrap a plain callable; a feature map comes back as it is.

    Args:
        f: Takes `(B, *x_shape)` and returns `(B, *h_shape)`, each sample on its own.
        x: An example batch, shape `(B, *x_shape)`; one forward pass finds the shape of h.

    Raises:
        ShapeError: If the output has not one row per sample.

    Example:
        >>> as_feature_map(lambda x: x[:, :2] ** 2, torch.ones(1, 3)).h_shape
        (2,)
    """
    if _is_feature_map(f):
        return f
    with torch.no_grad():
        h = f(x)
    if x.ndim < 2 or h.ndim < 1 or len(h) != len(x):
        raise ShapeError(
            wanted="a plain callable must take (B, *x_shape) and return (B, *h_shape)",
            got=f"{tuple(x.shape)} -> {tuple(h.shape)}",
            hint="add the batch axis to x, and keep it in f",
        )
    return CallableMap(f, tuple(x.shape[1:]), tuple(h.shape[1:]), x.dtype, x.device)


def _is_feature_map(f: object) -> TypeGuard[FeatureMap]:
    """By the names alone: asking a map that has met no latent yet for its shape may raise."""
    names = ("x_shape", "h_shape", "dtype", "device", "origin", "forward_mode")
    return all(name in vars(f) or hasattr(type(f), name) for name in names) if hasattr(f, "__dict__") else False
