"""Large batches cut into pieces that fit, and the precision in which pictures may be made."""

from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from pullback.errors import OptionError
from pullback.models import Denoiser


def in_chunks(run: Callable[..., Tensor], *rows: Tensor, chunk: int) -> Tensor:
    """Return ``run(*rows)`` computed on at most ``chunk`` rows at a time.

    >>> in_chunks(lambda a, b: a + b, torch.arange(5), torch.ones(5, dtype=torch.long), chunk=2)
    tensor([1, 2, 3, 4, 5])

    Raises:
        OptionError: If ``chunk < 1``.
    """
    if chunk < 1:
        raise OptionError(wanted="chunk >= 1", got=f"{chunk}", hint="64 rows suit small models")
    return torch.cat([run(*parts) for parts in zip(*(row.split(chunk) for row in rows), strict=True)])


@contextmanager
def picture_precision(
    den: Denoiser, *, autocast: torch.dtype | None = None, channels_last: bool = False
) -> Generator[None]:
    """Scope in which the network runs faster and less exactly: for pictures, never for Jacobians.

    Args:
        den: The model; its weights come back in the layout they had.
        autocast: ``torch.bfloat16``, say; None keeps the network's own precision.
        channels_last: Whether convolutions run in channels-last layout.
    """
    last = torch.channels_last
    kernels = [p for p in den.network.parameters() if p.ndim == 4 and not p.is_contiguous(memory_format=last)]
    kernels = kernels if channels_last else []
    try:
        for kernel in kernels:
            kernel.data = kernel.data.contiguous(memory_format=last)
        with torch.autocast(den.device.type, dtype=autocast) if autocast else nullcontext():
            yield
    finally:
        for kernel in kernels:
            kernel.data = kernel.data.contiguous()
