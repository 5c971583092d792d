"""Products that a GPU replays: recorded once, launched as one, where Python and autograd launch hundreds of kernels."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import cache

import torch
from torch import Tensor

from pullback.geometry.memory import release

MOST_ERROR = 1e-2
"""Relative; a recording that differs by more from the product it was made of is not used. TF32 differs by 1e-3."""


def is_recordable(given: Tensor) -> bool:
    """Whether it lies where calls can be recorded."""
    return given.device.type == "cuda"


class Replays:
    """Recordings of one function of tensors, for each shape that it meets twice.

    The first call of a shape runs as it is, which also lets libraries allocate and choose what they need. The second
    is recorded, and the recording has to reproduce the first. Where the function cannot be recorded, since it waits for
    the device or reads from the host, every call runs as it is. On other devices than a GPU nothing is recorded.

    Example:
        >>> replays = Replays()
        >>> replays(lambda x: 2 * x, torch.ones(2)), replays(lambda x: 2 * x, torch.ones(2))
        (tensor([2., 2.]), tensor([2., 2.]))
    """

    def __init__(self) -> None:
        self._first: dict[torch.Size, tuple[Tensor, Tensor]] = {}
        self._recordings: dict[torch.Size, _Recording | None] = {}

    def __call__(self, call: Callable[[Tensor], Tensor], given: Tensor) -> Tensor:
        """Returns ``call(given)``.

        Args:
            call: Always the same function: of its argument, and of tensors that stay where they are.
            given: Its argument.
        """
        if not is_recordable(given):
            return call(given)
        shape = given.shape
        if shape not in self._first and shape not in self._recordings:
            made = call(given)
            self._first[shape] = given.detach().clone(), made.detach().clone()
            return made
        if shape not in self._recordings:
            self._recordings[shape] = _recorded(call, *self._first.pop(shape))
        recording = self._recordings[shape]
        return call(given) if recording is None else recording(given)


class _Recording:
    """A function at one shape, as a graph of kernels that read and write fixed places."""

    def __init__(self, call: Callable[[Tensor], Tensor], given: Tensor) -> None:
        self._given = given.clone()
        self._graph = torch.cuda.CUDAGraph()
        device = given.device
        with torch.cuda.device(device), torch.cuda.graph(self._graph, stream=_stream(device, "recordings")):
            self._made = call(self._given).detach()

    def __call__(self, given: Tensor) -> Tensor:
        self._given.copy_(given)
        self._graph.replay()
        return self._made.clone()


def _recorded(call: Callable[[Tensor], Tensor], given: Tensor, made: Tensor) -> _Recording | None:
    """None where it cannot be recorded, or would be something else."""
    try:
        recording = _Recording(call, given)
        again = recording(given)
    except RuntimeError as error:  # want of memory too: the call as it is will say so, if it has no room either
        release(error)
        return None
    error = torch.linalg.vector_norm((again - made).flatten())
    return recording if bool(error <= MOST_ERROR * torch.linalg.vector_norm(made.flatten())) else None


@contextlib.contextmanager
def replayable(device: torch.device) -> Iterator[None]:
    """Scope in which a graph of autograd is made whose reverse pass can be recorded.

    Reverse passes run where the forward pass ran, and a GPU records no work of its default stream.
    """
    if device.type != "cuda":
        yield
        return
    aside, current = _stream(device, "graphs"), torch.cuda.current_stream(device)
    aside.wait_stream(current)
    with torch.cuda.stream(aside):
        yield
    current.wait_stream(aside)


@cache
def _stream(device: torch.device, _purpose: str) -> torch.cuda.Stream:
    """One for each device and purpose."""
    return torch.cuda.Stream(device)
