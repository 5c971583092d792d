"""Ways to multiply by J and by its transpose, on a batch of points at once.

A batch of samples is block-diagonal: sample b only meets its own directions. Every engine takes directions as
`(c, B, *x_shape)` or `(c, B, *h_shape)`, c of them for each of B samples, and returns the other shape.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import cache, cached_property
from typing import TypeAlias

import torch
from torch import Tensor

from pullback.errors import ModelError
from pullback.geometry.replay import Replays, is_recordable, replayable
from pullback.types import FeatureMap

Engine: TypeAlias = "Callable[[Point, Tensor], Tensor]"
"""Directions `(c, B, ...)` of one space to products of the other."""


def _parameters(f: FeatureMap) -> Iterable[Tensor]:
    """All weights; a map that is no network has none."""
    parameters: Callable[[], Iterable[Tensor]] = getattr(f, "parameters", tuple)
    return parameters()


@contextlib.contextmanager
def frozen_parameters(f: FeatureMap) -> Iterator[None]:
    """No parameter of f requires grad inside: with trainable weights one product took 3.4 GB instead of 0.5."""
    trainable = [parameter for parameter in _parameters(f) if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


def leads_to(h: Tensor, x: Tensor) -> bool:
    """Whether a graph leads from h back to the leaf x; trainable weights make graphs that do not."""
    nodes, met = [h.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in met:
            continue
        met.add(node)
        if getattr(node, "variable", None) is x:
            return True
        nodes.extend(parent for parent, _ in node.next_functions)
    return h is x


@cache
def prepare_forward_mode() -> None:
    """Let torch load its forward derivatives: the first use compiles some by a route that torch itself deprecates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.func.jvp(torch.sin, (torch.zeros(1),), (torch.zeros(1),))


class Point:
    """A batch of latents with the graph of f through them, which all reverse passes share."""

    def __init__(self, f: FeatureMap, x: Tensor) -> None:
        self.f = f
        self.x = x
        self._replays: dict[Engine, Replays] = {}
        self._weights: list[Tensor] = []

    def product(self, engine: Engine, rows: Tensor) -> Tensor:
        """``engine(self, rows)``, which a GPU replays."""
        if is_recordable(rows) and not self._weights:  # what a recording reads has to stay, if the network is moved too
            self._weights = [parameter.detach() for parameter in _parameters(self.f)]
        replays = self._replays.setdefault(engine, Replays())
        return replays(lambda given: engine(self, given), rows)

    @cached_property
    def graph(self) -> tuple[Tensor, Tensor]:
        """The latents as a leaf, and f of them: one forward pass, kept for every later ``vjp``."""
        with torch.enable_grad(), frozen_parameters(self.f), replayable(self.x.device):
            x = self.x.clone().requires_grad_(True)
            h = self.f(x)
        if not leads_to(h, x):
            raise ModelError(
                wanted="f must be differentiable in x",
                got="an output that is not attached to its input",
                hint="remove detach(), no_grad() or numpy() between x and h",
            )
        return x, h

    @cached_property
    def double_graph(self) -> tuple[Tensor, Tensor]:
        """``g(w) = J^T w`` as a graph in w: linear, so its own reverse pass is Jv."""
        with torch.enable_grad(), frozen_parameters(self.f), self.f.forward_mode(), replayable(self.x.device):
            x = self.x.clone().requires_grad_(True)
            h = self.f(x)
            w = torch.zeros_like(h).requires_grad_(True)
            (g,) = torch.autograd.grad(h, x, w, create_graph=True)
        return w, g


def jvp_vmap(point: Point, v: Tensor) -> Tensor:
    """Forward mode with the directions batched: the primal pass is shared by all of them."""
    prepare_forward_mode()

    def push(tangent: Tensor) -> Tensor:
        return torch.func.jvp(point.f, (point.x,), (tangent,))[1]

    with torch.no_grad(), frozen_parameters(point.f), point.f.forward_mode():
        return torch.func.vmap(push)(v)


def jvp_loop(point: Point, v: Tensor) -> Tensor:
    """Forward mode, one direction of every sample at a time."""
    prepare_forward_mode()
    with torch.no_grad(), frozen_parameters(point.f), point.f.forward_mode():
        return torch.stack([torch.func.jvp(point.f, (point.x,), (tangent,))[1] for tangent in v])


def jvp_double_backward(point: Point, v: Tensor) -> Tensor:
    """``Jv = d<J^T w, v>/dw``: reverse mode twice; no primal pass once the graph is there."""
    w, g = point.double_graph
    return torch.stack([torch.autograd.grad(g, w, tangent, retain_graph=True)[0] for tangent in v])


def jvp_finite_difference(point: Point, v: Tensor) -> Tensor:
    """``(f(x + e v) - f(x - e v)) / 2e`` with |e v| = eps^(1/3) |x|, so that truncation and rounding are alike."""
    sides = tuple(range(2, v.ndim))
    length = torch.linalg.vector_norm(v, dim=sides, keepdim=True).clamp_min(torch.finfo(v.dtype).tiny)
    size = torch.linalg.vector_norm(point.x, dim=tuple(range(1, v.ndim - 1)), keepdim=True)
    step = torch.finfo(v.dtype).eps ** (1 / 3) * torch.where(size > 0, size, 1.0) / length  # (c, B, 1, ...)
    with torch.no_grad():
        ends = [point.f((point.x + sign * step * v).flatten(0, 1)).unflatten(0, v.shape[:2]) for sign in (1, -1)]
    return (ends[0] - ends[1]) / (2 * step.reshape(*v.shape[:2], *[1] * (ends[0].ndim - 2)))


def vjp_vmap(point: Point, u: Tensor) -> Tensor:
    """Reverse mode with the directions batched."""
    x, h = point.graph
    with frozen_parameters(point.f):  # a checkpointed layer runs forward once more here
        return torch.autograd.grad(h, x, u, retain_graph=True, is_grads_batched=True)[0]


def vjp_loop(point: Point, u: Tensor) -> Tensor:
    """Reverse mode, one direction of every sample at a time."""
    x, h = point.graph
    with frozen_parameters(point.f):
        return torch.stack([torch.autograd.grad(h, x, covector, retain_graph=True)[0] for covector in u])


JVP_ENGINES: dict[str, Engine] = {
    "vmap": jvp_vmap,
    "loop": jvp_loop,
    "double_backward": jvp_double_backward,
    "finite_difference": jvp_finite_difference,
}
VJP_ENGINES: dict[str, Engine] = {"vmap": vjp_vmap, "loop": vjp_loop}
