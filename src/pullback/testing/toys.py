"""Feature maps with a Jacobian that is known, for tests of whatever stands on one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import final

import torch
from torch import Tensor, nn

from pullback.types import Origin


class ToyMap(ABC):
    """A `FeatureMap` that also knows its Jacobian."""

    def __init__(self, x_shape: Sequence[int], h_shape: Sequence[int], dtype: torch.dtype) -> None:
        self.x_shape = tuple(x_shape)
        self.h_shape = tuple(h_shape)
        self.dtype = dtype
        self.device = torch.device("cpu")
        self.origin: Origin = {"model": type(self).__name__, "layer": "toy", "t": 0, "pool": "none"}

    @abstractmethod
    def __call__(self, x: Tensor, /) -> Tensor:
        """Features of a batch: `(B, *x_shape)` to `(B, *h_shape)`."""

    @abstractmethod
    def jacobian(self, x: Tensor) -> Tensor:
        """The exact Jacobian at one latent, shape `(D, N)`."""

    def forward_mode(self) -> AbstractContextManager[object]:
        """Nothing to prepare."""
        return nullcontext()


@final
class LinearMap(ToyMap):
    """``h = J x``.

    Example:
        >>> LinearMap(torch.eye(2))(torch.tensor([[1.0, 2.0]]))
        tensor([[1., 2.]])
    """

    def __init__(self, matrix: Tensor, *, x_shape: Sequence[int] | None = None) -> None:
        super().__init__(x_shape or (matrix.shape[1],), (matrix.shape[0],), matrix.dtype)
        self.matrix = matrix

    def __call__(self, x: Tensor, /) -> Tensor:
        """J x."""
        return x.flatten(1) @ self.matrix.mT

    def jacobian(self, x: Tensor) -> Tensor:
        """J, everywhere."""
        return self.matrix


@final
class UnitMap(ToyMap):
    """``h = x / |x|``, whose J is ``(I - h h^T) / |x|``: flat to no order, and blind to the length of x.

    Example:
        >>> UnitMap(2)(torch.tensor([[3.0, 4.0]], dtype=torch.float64))
        tensor([[0.6000, 0.8000]], dtype=torch.float64)
    """

    def __init__(self, dim: int, *, dtype: torch.dtype = torch.float64) -> None:
        super().__init__((dim,), (dim,), dtype)

    def __call__(self, x: Tensor, /) -> Tensor:
        """The direction of x."""
        return x / torch.linalg.vector_norm(x, dim=1, keepdim=True)

    def jacobian(self, x: Tensor) -> Tensor:
        """A projection, over the length."""
        h = self(x[None])[0]
        return (torch.eye(len(x), dtype=self.dtype) - torch.outer(h, h)) / torch.linalg.vector_norm(x)


@final
class ConvMap(ToyMap):
    """A small encoder: two convolutions with group norm and SiLU, halving the picture.

    Example:
        >>> ConvMap()(torch.zeros(1, 3, 8, 8, dtype=torch.float64)).shape
        torch.Size([1, 4, 4, 4])
    """

    def __init__(self, *, seed: int = 0, size: int = 8, pool: bool = False, dtype: torch.dtype = torch.float64) -> None:
        super().__init__((3, size, size), (4,) if pool else (4, size // 2, size // 2), dtype)
        layers = [nn.Conv2d(3, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.SiLU(), nn.Conv2d(4, 4, 3, 2, padding=1)]
        self.net = nn.Sequential(*layers).to(dtype)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.net.parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.copy_(noise / math.sqrt(parameter[0].numel()))
        self.is_pooled = pool

    def __call__(self, x: Tensor, /) -> Tensor:
        """Features, summed over positions if pooled."""
        h = self.net(x)
        return h.sum((2, 3)) if self.is_pooled else h

    def parameters(self) -> list[nn.Parameter]:
        """The weights, which require grad as any user's do."""
        return list(self.net.parameters())

    def jacobian(self, x: Tensor) -> Tensor:
        """By reverse mode, one output at a time."""
        dense = torch.autograd.functional.jacobian(lambda point: self(point[None])[0].flatten(), x)
        assert isinstance(dense, Tensor)
        return dense.flatten(1)


def planted_spectrum(
    s: Sequence[float],
    *,
    dim_x: int,
    dim_h: int,
    seed: int = 0,
    x_shape: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float64,
) -> LinearMap:
    """A linear map with the given singular values, and zeros after them, between random bases.

    Example:
        >>> torch.linalg.svdvals(planted_spectrum([2.0, 1.0], dim_x=4, dim_h=3).matrix)
        tensor([2.0000e+00, 1.0000e+00, ...], dtype=torch.float64)
    """
    generator = torch.Generator().manual_seed(seed)
    left, right = (
        torch.linalg.qr(torch.randn(dim, len(s), generator=generator, dtype=torch.float64))[0] for dim in (dim_h, dim_x)
    )
    return LinearMap(((left * torch.tensor(s, dtype=torch.float64)) @ right.mT).to(dtype), x_shape=x_shape)


@final
class NullMap(ToyMap):
    """``h = tanh(W (x - n <n, x>))``: nothing along the unit vector n is ever seen."""

    def __init__(self, weight: Tensor, null: Tensor) -> None:
        super().__init__((weight.shape[1],), (weight.shape[0],), weight.dtype)
        self.null = null / torch.linalg.vector_norm(null)
        self.weight = weight - torch.outer(weight @ self.null, self.null)

    def __call__(self, x: Tensor, /) -> Tensor:
        """Features that n does not change."""
        return torch.tanh(x @ self.weight.mT)

    def jacobian(self, x: Tensor) -> Tensor:
        """``diag(1 - h^2) W (I - n n^T)``."""
        return (1 - self(x[None])[0] ** 2)[:, None] * self.weight


def planted_null(dim_x: int, dim_h: int, *, seed: int = 0) -> NullMap:
    """A curved map with one null direction, ``.null``.

    Example:
        >>> f = planted_null(4, 3)
        >>> float((f.jacobian(torch.ones(4, dtype=torch.float64)) @ f.null).abs().max()) < 1e-12
        True
    """
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(dim_h, dim_x, generator=generator, dtype=torch.float64) / math.sqrt(dim_x)
    return NullMap(weight, torch.randn(dim_x, generator=generator, dtype=torch.float64))
