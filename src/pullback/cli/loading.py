"""Models, devices and threads, as options name them."""

from __future__ import annotations

from typing import Any

from pullback.cli.terminal import log
from pullback.errors import OptionError


def loaded(source: str, *, device: str, dtype: str = "float32", threads: int = 0) -> Any:
    """Says that a model is being loaded, and returns it.

    Raises:
        OptionError: If there is no such device here, or the number of threads is negative.
        ModelError: If the model cannot be loaded.
    """
    import torch

    from pullback.api import load

    use_threads(threads)
    place = device_of(device)
    log(f"loading {source}")
    return load(source, device=place, dtype=getattr(torch, dtype))


def device_of(name: str) -> Any:
    """Returns the torch device called ``name``.

    Raises:
        OptionError: If there is no such device here.
    """
    import torch

    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise OptionError(
            wanted="a device of this machine", got=f"{name!r}: {str(error).splitlines()[0]}", hint="cpu is always there"
        ) from error
    return device


def release_memory() -> None:
    """Gives back what dropped models held, on a GPU too."""
    import gc

    import torch

    gc.collect()
    torch.cuda.empty_cache()  # nothing where there is no GPU


def use_threads(num: int) -> None:
    """Has torch use so many processor threads; 0 leaves the choice to it.

    Raises:
        OptionError: If the number is negative.
    """
    import torch

    if num < 0:
        raise OptionError(wanted="threads of at least 0", got=str(num), hint="0 leaves the choice to torch")
    if num:
        torch.set_num_threads(num)
