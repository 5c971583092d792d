"""When memory runs out: the same products, fewer at a time."""

from __future__ import annotations

import traceback
import warnings
from dataclasses import replace

import torch

from pullback.errors import MemoryWarning, NoMemoryError
from pullback.geometry.plan import Plan

SIGNS = ("can't allocate memory", "not enough memory", "MPS backend out of memory")
"""What torch says on a CPU and on MPS, where it has no error class of its own for it."""


def is_memory(error: Exception) -> bool:
    """Whether it says that memory ran out."""
    signs = any(sign in str(error) for sign in SIGNS)
    return isinstance(error, (torch.OutOfMemoryError, NoMemoryError)) or (isinstance(error, RuntimeError) and signs)


def smaller(plan: Plan, num: int, num_samples: int, error: Exception) -> Plan:
    """Returns the plan with half as many directions at a time, after a network call has run out of memory.

    Args:
        plan: That the call was made by.
        num: Directions of each sample in that call.
        num_samples: Samples in it, which are never split.
        error: What it raised; anything else than want of memory is raised again.

    Raises:
        NoMemoryError: If it was one direction of each sample already.
    """
    if not is_memory(error):
        raise error
    if num <= 1:
        raise NoMemoryError(
            wanted=f"memory for one product of {num_samples} samples",
            got=str(error).splitlines()[0],
            hint="compute fewer samples at a time, in lower precision, or at a smaller size",
        ) from error
    release(error)
    chunk = num // 2 * num_samples
    warnings.warn(f"out of memory with {num * num_samples} products at a time; going on with {chunk}", MemoryWarning, 4)
    return replace(plan, chunk=chunk)


def fewer(num_samples: int, error: Exception) -> int:
    """Returns half as many samples, after their bases together have run out of memory.

    Raises:
        NoMemoryError: If it was one already; anything else than want of memory is raised again.
    """
    if not is_memory(error) or (num_samples <= 1 and isinstance(error, NoMemoryError)):
        raise error
    if num_samples <= 1:
        raise NoMemoryError(
            wanted="memory for the basis of one sample",
            got=str(error).splitlines()[0],
            hint="take a lower rank, lower precision, or a smaller size",
        ) from error
    release(error)
    half = num_samples // 2
    warnings.warn(f"out of memory with {num_samples} samples together; going on with {half}", MemoryWarning, 3)
    return half


def release(error: BaseException | None) -> None:
    """Gives back what the failed call still holds: its frames keep the graph alive through the error's traceback.

    Only for an error that is not raised again, since a debugger would find its frames empty. Frames that still run,
    such as that of the ``except`` clause, are left alone; what led to it goes too, but not what was being handled when
    it came (``__context__``), which is the caller's.
    """
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        traceback.clear_frames(error.__traceback__)
        seen.append(error)
        error = error.__cause__
    torch.cuda.empty_cache()  # nothing where there is no GPU
