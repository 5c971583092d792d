"""Borrowing a network: what a feature map changes in it for a moment, and puts back whatever happens."""

import threading
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

_locks: "weakref.WeakKeyDictionary[nn.Module, Any]" = weakref.WeakKeyDictionary()  # of threading.RLock
_locks_guard = threading.Lock()


class _ReachedError(Exception):
    """Raised by the hook to leave the forward pass; never seen outside ``run_until``."""


def _lock_of(network: nn.Module) -> Any:
    with _locks_guard:
        return _locks.setdefault(network, threading.RLock())


@contextmanager
def borrowed(network: nn.Module, modules: Sequence[nn.Module]) -> Generator[None]:
    """Hold ``network`` in eval mode, with frozen weights and without gradient checkpointing.

    Frozen, since trainable weights make autograd keep what no Jacobian of x needs (3.4 GB against
    .5 in one measurement); without checkpointing, since ``torch.func.vjp`` cannot pass it.
    Everything is restored on leaving, also by an exception.

    Threads: feature maps of one network take turns (one re-entrant lock per network). Another
    thread that calls the network itself meanwhile gets its own full pass, but sees eval mode.
    """
    with _lock_of(network):
        training = [module for module in modules if module.training]
        checkpointed = [module for module in modules if getattr(module, "gradient_checkpointing", False) is True]
        trainable = [p for module in modules for p in module._parameters.values() if p is not None and p.requires_grad]
        try:
            for module in training:
                module.training = False
            for module in checkpointed:
                module.gradient_checkpointing = False  # pyright: ignore[reportArgumentType]
            for parameter in trainable:
                parameter.requires_grad = False  # the method raises inside torch.func transforms
            yield
        finally:
            for module in training:
                module.training = True
            for module in checkpointed:
                module.gradient_checkpointing = True  # pyright: ignore[reportArgumentType]
            for parameter in trainable:
                parameter.requires_grad = True


def run_until(layer: nn.Module, run: Callable[[], object]) -> object | None:
    """Return what ``layer`` outputs the first time it runs inside ``run()``; None if it never does.

    A hook on the layer raises and this function catches, so nothing after the layer is computed.
    It works inside ``torch.func`` transforms, because the exception stays below them, and with
    offloading wrappers around the layer's forward, which have finished when the hook fires. The
    hook answers only to this thread and is removed whatever happens.
    """
    thread = threading.get_ident()
    outputs: list[object] = []  # not carried by the exception: its traceback would hold every activation

    def leave(module: nn.Module, args: object, output: object) -> None:
        if threading.get_ident() == thread:
            outputs.append(output)
            raise _ReachedError

    handle = layer.register_forward_hook(leave)
    try:
        run()
    except _ReachedError:
        pass
    finally:
        handle.remove()
    return outputs[0] if outputs else None


@contextmanager
def contiguous_group_norms(modules: Sequence[nn.Module]) -> Generator[None]:
    """Give every GroupNorm a contiguous input: else its forward, and batched reverse, derivatives raise."""

    def contiguous(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (args[0].contiguous(), *args[1:])

    handles = [m.register_forward_pre_hook(contiguous) for m in modules if isinstance(m, nn.GroupNorm)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
