"""The feature map x -> h of a network at fixed t and condition."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from pullback.errors import LayerError, ModelError, ShapeError
from pullback.models.conditions import digest_of
from pullback.models.digest import config_digest, weights_digest
from pullback.models.layers import check_pool, find_layer, pool_feature, read_output
from pullback.models.schedule import Time
from pullback.models.scope import borrowed, contiguous_group_norms, run_until
from pullback.types import Pool

Call = Callable[[nn.Module, Tensor, Any, Any], Any]  # (network, x, t, cond) -> prediction


class NetworkFeatureMap:
    """``f: x -> h``, the output of one layer at fixed t and condition; rows of a batch are independent.

    Calling it costs the network up to that layer: a hook takes h and leaves the forward pass, so
    the decoder never runs. During a call, and only then, the network is in eval mode with frozen
    weights, and its GroupNorms get contiguous inputs where autograd follows x; ``forward_mode()``
    mends, in its own scope, what forward derivatives stumble on. The network is left as it was: no
    hook, flag or mode of it stays changed, whatever happens.

    The map belongs to the network as it is when the map is made: its modules may not be exchanged
    afterwards. New weights are noticed, and change ``origin``.

    Attributes:
        network: The network.
        layer: Path of the layer.
        t: Timestep.
        cond: Condition.
        pool: Pooling of h.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        call: Call,
        t: Time | None,
        layer: str | None = None,
        cond: object = None,
        pool: Pool = "none",
        x_shape: tuple[int, ...] | None = None,
        details: Mapping[str, str | int | float] | None = None,
    ) -> None:
        self.network, self.t, self.cond = network, t, cond
        self.pool: Pool = pool
        self.layer, self._layer = find_layer(network, layer)
        self._call, self._details = call, dict(details or {})
        self._modules = tuple(network.modules())
        self._pool_name, self._condition = check_pool(pool), digest_of(cond)
        self._x_shape = None if x_shape is None else tuple(x_shape)
        self._h_shape = None if x_shape is None else self._probe(self._x_shape or ())

    def __call__(self, x: Tensor) -> Tensor:
        """Return h of shape `(B, *h_shape)` for x of shape `(B, *x_shape)`.

        Raises:
            ShapeError: If x has another shape.
            ModelError: If x has another dtype than the network.
            LayerError: If the layer does not run, or returns no tensor with a row per sample.
        """
        self._check(x)
        is_traced = torch.is_grad_enabled() and x.requires_grad
        mended = contiguous_group_norms(self._modules) if is_traced else nullcontext()
        with borrowed(self.network, self._modules), mended:
            output = run_until(self._layer, lambda: self._call(self.network, x, self.t, self.cond))
        if output is None:
            raise LayerError(
                wanted=f"{self.layer} to run during a forward pass",
                got="a pass that never reached it",
                hint="choose a layer the call uses",
            )
        h = read_output(output, self._layer)
        if h.ndim == 0 or h.shape[0] != x.shape[0]:
            raise LayerError(
                wanted=f"a feature with one row per sample, ({x.shape[0]}, ...)",
                got=f"{tuple(h.shape)} from {self.layer}",
                hint="choose a layer that keeps the batch first",
            )
        return pool_feature(h, self.pool)

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Shape of one latent, without batch."""
        return self._x_shape or _unknown("x_shape")

    @property
    def h_shape(self) -> tuple[int, ...]:
        """Shape of one feature after pooling, without batch."""
        return self._h_shape or _unknown("h_shape")

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return example_tensor(self.network).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the network, and so of x and h."""
        return example_tensor(self.network).dtype

    @property
    def origin(self) -> Mapping[str, str | int | float]:
        """All that determines the map, as plain values."""
        return {
            "weights": weights_digest(self.network),
            "config": config_digest(self.network),
            "layer": self.layer,
            "pool": self._pool_name,
            "t": "none" if self.t is None else self.t,
            "condition": self._condition,
            "x_shape": "x".join(map(str, self.x_shape)),
            **self._details,
        }

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield the weights, which have to stay frozen until a reverse product is through."""
        return self.network.parameters()

    @contextmanager
    def forward_mode(self) -> Generator[None]:
        """Scope in which forward derivatives of this map exist: put it around jvp, and only there.

        Fused attention has no forward derivative, so attention runs on its mathematical backend
        (a setting of torch as a whole: it holds for every thread until the scope ends); GroupNorm
        gets contiguous inputs. Reverse products work outside of it.
        """
        with sdpa_kernel(SDPBackend.MATH), contiguous_group_norms(self._modules):
            yield

    def _probe(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        with torch.no_grad():
            return tuple(self(torch.zeros(2, *x_shape, device=self.device, dtype=self.dtype)).shape[1:])

    def _check(self, x: Tensor) -> None:
        if self._x_shape is None and x.ndim > 1:
            self._x_shape = tuple(x.shape[1:])
            self._h_shape = self._probe(self._x_shape)
        if x.ndim == 0 or tuple(x.shape[1:]) != self._x_shape:
            raise ShapeError(
                wanted=f"x of shape (B, {', '.join(map(str, self._x_shape or ('...',)))})",
                got=f"{tuple(x.shape)}",
                hint="stack latents along the first axis, in their natural shape (C, H, W)",
            )
        if x.dtype != self.dtype and not torch.is_autocast_enabled(x.device.type):
            raise ModelError(
                wanted=f"x in the network's dtype {self.dtype}",
                got=f"{x.dtype}",
                hint=f"x.to({self.dtype}), or move the network",
            )


def feature_map(
    network: nn.Module,
    *,
    layer: str | None = None,
    call: Call,
    t: Time | None,
    cond: object = None,
    pool: Pool = "none",
    x_shape: tuple[int, ...] | None = None,
) -> NetworkFeatureMap:
    """Return the feature map of any ``nn.Module``.

    Args:
        network: Anything with a named layer.
        layer: Path of the layer, as in ``network.named_modules()``; found by itself if None.
        call: ``call(network, x, t, cond)`` runs the network; what it returns is not used.
        t: Handed to ``call`` as it is.
        cond: Handed to ``call`` as it is; tensors, numbers, strings, or nestings of them.
        pool: ``"none"``, ``"sum"`` or ``("sum", n)``.
        x_shape: Shape of one latent without batch; read off the first batch if None.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.SiLU(), nn.Conv2d(2, 1, 1))
    >>> f = feature_map(net, layer="1", call=lambda net, x, t, cond: net(x), t=None, x_shape=(1, 8, 8))
    >>> f(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 2, 6, 6])

    Raises:
        LayerError: If the layer does not exist, does not run, or returns no tensor.
        OptionError: If ``pool`` is unknown.
    """
    return NetworkFeatureMap(network, layer=layer, call=call, t=t, cond=cond, pool=pool, x_shape=x_shape)


def example_tensor(network: nn.Module) -> Tensor:
    """Return a floating parameter or buffer, whose device and dtype stand for the network's."""
    tensors = chain(network.parameters(), network.buffers())
    return next((tensor for tensor in tensors if tensor.is_floating_point()), torch.zeros(()))


def _unknown(name: str) -> tuple[int, ...]:
    raise ModelError(
        wanted=f"{name} of a feature map",
        got="a map that has seen no latent yet",
        hint="pass x_shape=, or call f(x) once",
    )
