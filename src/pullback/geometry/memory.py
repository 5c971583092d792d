"""When memory runs out: the same products, fewer at a time."""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch

from pullback.errors import MemoryWarning, OptionError
from pullback.geometry.plan import Plan

CPU_SIGNS = ("can't allocate memory", "not enough memory")
"""What torch says on a CPU, where it has no error class of its own for it."""


def smaller(plan: Plan, num: int, num_samples: int, error: Exception) -> Plan:
    """Returns the plan with half as many directions at a time, after a network call has run out of memory.

    Args:
        plan: That the call was made by.
        num: Directions of each sample in that call.
        num_samples: Samples in it, which are never split.
        error: What it raised; anything else than want of memory is raised again.

    Raises:
        OptionError: If it was one direction of each sample already.
    """
    if not (isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in CPU_SIGNS)):
        raise error
    if num <= 1:
        raise OptionError(
            wanted=f"memory for one product of {num_samples} samples",
            got=str(error).splitlines()[0],
            hint="compute fewer samples at a time, in lower precision, or at a smaller size",
        ) from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    chunk = num // 2 * num_samples
    warnings.warn(f"out of memory with {num * num_samples} products at a time; going on with {chunk}", MemoryWarning, 4)
    return replace(plan, chunk=chunk)
