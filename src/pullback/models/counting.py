"""How many samples go through a network, by a count."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(eq=False)
class Passes:
    """Samples that went through a network so far.

    Attributes:
        started: All of them.
        finished: Those that went through the whole of it.
    """

    started: int = 0
    finished: int = 0

    @property
    def early(self) -> int:
        """Those that were taken out before the end, as a feature map does."""
        return self.started - self.finished


@contextmanager
def counted(network: nn.Module) -> Generator[Passes]:
    """Scope in which the samples that go through ``network`` are counted; the hooks are gone afterwards.

    Jacobian products are not passes: engines that batch directions hide them, and solvers count them themselves.

    >>> import torch
    >>> net = nn.Linear(2, 1)
    >>> with counted(net) as passes:
    ...     _ = net(torch.zeros(5, 2))
    >>> passes
    Passes(started=5, finished=5)
    """
    passes = Passes()

    def start(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        passes.started += _rows(args, kwargs)

    def finish(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> None:
        passes.finished += _rows(args, kwargs)

    hooks = (
        network.register_forward_pre_hook(start, with_kwargs=True),
        network.register_forward_hook(finish, with_kwargs=True),
    )
    try:
        yield passes
    finally:
        for hook in hooks:
            hook.remove()


def _rows(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    tensors = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor) and value.ndim > 1)
    return next((len(value) for value in tensors), 0)
