"""How many samples' bases are computed together: as many as fill the device, and as fit into its memory."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from pullback.errors import ModelError, NoMemoryError, ShapeError
from pullback.geometry.autotune import measure_plan
from pullback.geometry.cost import GUARD, expected_krylov_bytes
from pullback.geometry.engines import Point
from pullback.geometry.maps import as_feature_map
from pullback.geometry.memory import fewer, is_memory
from pullback.geometry.plan import Plan
from pullback.types import FeatureMap

MOST, MOST_ACCELERATOR = 8, 128
"""Eight samples fill two cores, a GPU takes more."""
_GRAPHS: weakref.WeakKeyDictionary[FeatureMap, dict[torch.Size, int]] = weakref.WeakKeyDictionary()
SHARE = 0.5
"""Of the free memory, for graphs and Krylov bases; what one call needs on its way comes on top."""


def fitting_batch(f: FeatureMap | Callable[[Tensor], Tensor], x: Tensor, *, rank: int, most: int | None = None) -> int:
    """As many samples together as fill the device; half as many, and half again, until half of what is free holds them.

    Graphs are counted, not estimated: two forward passes and their reverse passes, without a product.

    Args:
        f: A feature map, or a plain batched callable.
        x: One latent or more, `(B, *x_shape)`.
        rank: Of the bases.
        most: Samples that fill the device; 8 on a CPU and 128 elsewhere by default.

    Returns:
        A number of samples, at least 1.

    Example:
        >>> from pullback.testing import ConvMap
        >>> fitting_batch(ConvMap(), torch.zeros(1, 3, 8, 8), rank=2), fitting_batch(ConvMap(), torch.zeros(1, 3, 8, 8),
        ...     rank=2, most=3)
        (8, 3)
    """
    f = as_feature_map(f, x)
    num = most or most_on(f.device)
    dims = torch.Size(f.x_shape).numel(), torch.Size(f.h_shape).numel()
    guarded = min(rank + GUARD, *dims)
    try:
        each = graph_bytes(f, x) + expected_krylov_bytes(1, dims, guarded=guarded, block=1, like=x)
    except NoMemoryError:
        return 1
    room = SHARE * free_bytes(f.device)
    while num > 1 and num * each > room:
        num //= 2
    return num


def plan_and_batch(
    f: FeatureMap | Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    rank: int,
    most: int | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Plan, int]:
    """How bases of many samples are computed: `measure_plan` at a batch of x, and how many samples a batch has.

    Args:
        f: A feature map, or a plain batched callable.
        x: Latents as the products will meet them, `(B, *x_shape)`.
        rank: Of the bases.
        most: As for `fitting_batch`.
        generator: For the directions that are timed.

    Returns:
        The plan, and as many samples as `fitting_batch` says, or fewer if memory ran out in spite of it.

    Raises:
        ModelError: If no engine can differentiate the map.
        NoMemoryError: If one sample alone is too much.
    """
    num = fitting_batch(f, x, rank=rank, most=most)
    while True:
        try:
            return measure_plan(f, x[:num], rank=rank, generator=generator), num
        except NoMemoryError as error:
            num = fewer(min(num, len(x)), error)


def most_on(device: torch.device) -> int:
    """Samples that fill a device.

    Example:
        >>> most_on(torch.device("cpu"))
        8
    """
    return MOST if device.type == "cpu" else MOST_ACCELERATOR


def graph_bytes(f: FeatureMap, x: Tensor) -> int:
    """What the graphs of one sample hold that products at it share: for J^T u, and for Jv by reverse mode twice.

    It is what two samples hold more than one, so that weights do not count. Zero where no graph can be made; the first
    product will say why.

    Args:
        f: The map.
        x: One latent or more, `(B, *x_shape)`.

    Raises:
        NoMemoryError: If the graphs of two samples are too much.
    """
    known = _GRAPHS.setdefault(f, {})  # they depend on the shape of x alone, and counting takes nine passes
    if x.shape[1:] in known:
        return known[x.shape[1:]]
    x = x[:1].detach().to(f.device, f.dtype)
    try:
        one, two = (_held(f, x.expand(num, *x.shape[1:])) for num in (1, 2))
    except (RuntimeError, NotImplementedError, ModelError, ShapeError, NoMemoryError) as error:
        if not is_memory(error):
            return 0
        raise NoMemoryError(
            wanted="memory for the graphs of two samples",
            got=str(error).splitlines()[0],
            hint="compute one sample at a time, in lower precision, or at a smaller size",
        ) from error
    known[x.shape[1:]] = max(two - one, 0)
    return known[x.shape[1:]]


def held_bytes(f: FeatureMap, x: Tensor, *, num: int) -> int | None:
    """`graph_bytes` of so many samples together, or None where not even those of two fit.

    Args:
        f: The map.
        x: One latent or more, `(B, *x_shape)`.
        num: Samples together.

    Example:
        >>> from pullback.testing import ConvMap
        >>> f, x = ConvMap(), torch.zeros(1, 3, 8, 8).double()
        >>> held_bytes(f, x, num=3) == 3 * graph_bytes(f, x)
        True
    """
    try:
        return num * graph_bytes(f, x)
    except NoMemoryError:
        return None


def free_bytes(device: torch.device) -> int:
    """Memory that is free on a device; on a CPU, of the machine and of the group of processes that it is limited to."""
    if device.type == "cuda":  # what torch holds without using it is free as well
        own = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + own
    return min(filter(None, (_of_machine(), _of_group())))


def _held(f: FeatureMap, x: Tensor) -> int:
    """Bytes of all that autograd keeps for both graphs at x, each storage once."""
    held: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        return tensor

    point = Point(f, x)
    with torch.inference_mode(False), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        graphs = [point.graph]
        try:
            graphs.append(point.double_graph)
        except (RuntimeError, NotImplementedError) as error:
            if is_memory(error):
                raise
    return sum(held.values())  # both graphs are alive until here, so that no address was used twice


def _of_machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):  # not Linux: half of all that there is
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _of_group() -> int | None:
    """None where there is no limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        names = ("memory.max", "memory.current", "memory.stat")
        limit, used, stat = ((folder / name).read_text(encoding="ascii") for name in names)
        files = dict(line.split() for line in stat.splitlines()).get("inactive_file", "0")  # given back on demand
        return max(int(limit) - int(used) + int(files), 1)
    except (OSError, ValueError):
        return None
