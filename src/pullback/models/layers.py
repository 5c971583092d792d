"""Finding the feature layer of a network, reading its output, pooling it."""

import difflib
import inspect

from torch import Tensor, nn

from pullback.errors import LayerError, OptionError, ShapeError
from pullback.types import Pool


def find_layer(network: nn.Module, layer: str | None = None) -> tuple[str, nn.Module]:
    """Return the path and the module whose output is the feature h.

    A path the user gives comes first; else the mid block; else the last down block; else, for
    transformers, the middle of the longest list of blocks (the last double-stream block where
    single-stream ones follow, as in Flux).

    >>> find_layer(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), "0")[1]
    Linear(in_features=2, out_features=3, bias=True)

    Raises:
        LayerError: If there is no such layer (the nearest names are listed), or none to choose.
    """
    path = _default_path(network) if layer is None else layer
    modules = dict(network.named_modules())
    if path not in modules or not path:
        raise LayerError(
            wanted=f"a layer of {type(network).__name__}", got=f"layer={layer!r}", hint=_nearest(path, [*modules][1:])
        )
    return path, modules[path]


def _default_path(network: nn.Module) -> str:
    if isinstance(getattr(network, "mid_block", None), nn.Module):
        return "mid_block"
    if isinstance(blocks := getattr(network, "down_blocks", None), nn.ModuleList) and len(blocks):
        return _innermost("down_blocks", len(blocks) - 1, blocks)
    lists = {name: module for name, module in network.named_modules() if isinstance(module, nn.ModuleList)}
    if {"transformer_blocks", "single_transformer_blocks"} <= lists.keys():
        return f"transformer_blocks.{len(lists['transformer_blocks']) - 1}"
    longest = max(lists, key=lambda name: len(lists[name]), default=None)
    if longest is None or not len(lists[longest]):
        return ""
    return _innermost(longest, (len(lists[longest]) - 1) // 2, lists[longest])


def _innermost(path: str, index: int, blocks: nn.ModuleList) -> str:
    """Return the path of a block, and where it is a list itself, of the last block in it."""
    block = blocks[index]
    if isinstance(block, nn.ModuleList) and len(block):
        return _innermost(f"{path}.{index}", len(block) - 1, block)
    return f"{path}.{index}"


def _nearest(path: str, names: list[str]) -> str:
    near = difflib.get_close_matches(path, names, n=5, cutoff=0.3)
    shown = near or [name for name in names if "." not in name][:8]
    return f"pass layer= one of {', '.join(shown) or '(the network has no layers)'}"


def read_output(output: object, layer: nn.Module) -> Tensor:
    """Return the feature tensor among what a layer returned.

    A tensor is itself; of a tuple the first tensor counts (a down block returns its skips after
    it), but the second where a joint block returns a text and an image stream `(B, N, C)` each:
    **the feature of a transformer is its image tokens** (SD3, Flux).

    Raises:
        LayerError: If the layer returned no tensor.
    """
    if isinstance(output, Tensor):
        return output
    if hasattr(output, "to_tuple"):
        output = output.to_tuple()  # pyright: ignore[reportAttributeAccessIssue]
    parts = list(output) if isinstance(output, (tuple, list)) else []
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if not tensors:
        raise LayerError(
            wanted="a layer that returns a tensor",
            got=f"{type(output).__name__} from {type(layer).__name__}",
            hint="choose a layer whose output is one tensor per sample",
        )
    takes_text = "encoder_hidden_states" in inspect.signature(type(layer).forward).parameters
    is_joint = takes_text and len(tensors) == len(parts) == 2 and all(part.ndim == 3 for part in tensors)
    return tensors[1] if is_joint else tensors[0]


def pool_feature(h: Tensor, pool: Pool) -> Tensor:
    """Return h pooled: as it is, summed over all positions, or over windows of n x n.

    Positions are the last two axes of a map `(B, C, H, W)` and the middle axis of tokens
    `(B, N, C)`; ``"sum"`` gives `(B, C)`. [2302.12469, with our reading of the window]

    >>> import torch
    >>> pool_feature(torch.ones(1, 2, 4, 4), ("sum", 2)).shape
    torch.Size([1, 2, 2, 2])

    Raises:
        OptionError: If ``pool`` is unknown.
        ShapeError: If h has no positions to pool, or they do not divide into windows.
    """
    if pool == "none":
        return h
    if pool == "sum" and h.ndim in (3, 4):
        return h.sum(dim=(2, 3)) if h.ndim == 4 else h.sum(dim=1)
    if pool == "sum":
        raise ShapeError(
            wanted="a feature of shape (B, C, H, W) or (B, N, C) to sum",
            got=f"{tuple(h.shape)}",
            hint='use pool="none"',
        )
    size = pool_window(pool)
    if h.ndim != 4 or h.shape[2] % size or h.shape[3] % size:
        raise ShapeError(
            wanted=f"a feature map (B, C, H, W) with H and W divisible by {size}",
            got=f"{tuple(h.shape)}",
            hint='use pool="sum" or another window',
        )
    return h.unflatten(3, (-1, size)).unflatten(2, (-1, size)).sum(dim=(3, 5))  # (B, C, H/n, W/n)


def pool_window(pool: object) -> int:
    """Return the n of ``("sum", n)``.

    Raises:
        OptionError: If ``pool`` is anything else.
    """
    if (
        isinstance(pool, (tuple, list))
        and len(pool) == 2
        and pool[0] == "sum"
        and isinstance(pool[1], int)
        and pool[1] > 0
    ):
        return pool[1]
    raise OptionError(wanted='pool "none", "sum" or ("sum", n)', got=f"{pool!r}", hint='"none" keeps the whole feature')


def check_pool(pool: Pool) -> str:
    """Return the name of ``pool`` for records ("none", "sum", "sum2").

    Raises:
        OptionError: If it is unknown.
    """
    return pool if isinstance(pool, str) and pool in ("none", "sum") else f"sum{pool_window(pool)}"


def pool_of(name: str) -> Pool:
    """Return the pooling that records call ``name``, as `check_pool` does.

    Raises:
        OptionError: If there is none.

    Example:
        >>> pool_of("sum2")
        ('sum', 2)
    """
    if name == "none":
        return "none"
    if name == "sum":
        return "sum"
    size = name.removeprefix("sum")
    if name.startswith("sum") and size.isdecimal() and int(size) > 0:
        return ("sum", int(size))
    raise OptionError(wanted='pool "none", "sum" or "sum2"', got=repr(name), hint="none keeps the whole feature")
