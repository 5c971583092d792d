"""An accelerator that is not there: tensors that are elsewhere, compute on the CPU, and refuse what a device refuses.

torch keeps a place for backends that are written in Python (`PrivateUse1`). What raises on a real device raises here:
an operation on tensors of both places, `numpy()`, a CPU generator for a draw on the device. Forward mode does not run
here: products go by ``Plan.fixed("double_backward", "vmap")``.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "simulated"
aten = torch.ops.aten
COPIES = {aten.copy_.default, aten._to_copy.default}
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
"""Index tensors may stay on the CPU (torch moves them); values and what is indexed may not."""


@functools.cache
def simulated_device() -> torch.device:
    """Sets the backend up, once a process, and returns its device."""
    _setup_privateuseone_for_python_backend(NAME)
    _LIBRARY.impl("_copy_from", _copied, "PrivateUse1")  # this and empty: what torch.tensor(list, device=) is made of
    for func in (aten.empty_strided.default, aten.empty.memory_format):
        _LIBRARY.impl(func, functools.partial(_made_there, func), "PrivateUse1")
    return torch.device(NAME, 0)


class DeviceTensor(Tensor):
    """A tensor of the device, around the CPU tensor that holds its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> DeviceTensor:
        places = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made = Tensor._make_wrapper_subclass(cls, held.shape, device=simulated_device(), **places)
        made.held = held
        return made

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"DeviceTensor({self.held!r})"

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise TypeError(f"can't convert {NAME} device type tensor to numpy. Use Tensor.cpu() first.")
        return self.detach().cpu().numpy()

    def __array__(self, dtype: object = None) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        return self.detach().cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


def run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """One operation, on the CPU, with the answer where the device would leave it."""
    inputs = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, Tensor)]
    asked, is_there = kwargs.get("device"), any(isinstance(each, DeviceTensor) for each in inputs)
    goes_there = is_there if asked is None else torch.device(asked).type == NAME
    if func not in COPIES:
        _refuse_mixed(func, args, inputs, is_there)
        if goes_there and isinstance(kwargs.get("generator"), torch.Generator):
            raise RuntimeError(f"Expected a '{NAME}' device type for generator but found 'cpu'")
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if is_there and torch.Tag.inplace_view in func.tags:
        with no_dispatch():
            func(*args, **kwargs)  # the shape of the outer tensor; below, that of the one inside
    out = func(*tree_map(_held, args), **tree_map(_held, kwargs))
    written = {} if func is aten._to_copy.default else {id(_held(each)): each for each in inputs}

    def placed(each: Any) -> Any:
        if not isinstance(each, Tensor):
            return each
        return written.get(id(each), DeviceTensor(each) if goes_there else each)  # in place: its own tensor again

    return tree_map(placed, out)


def _refuse_mixed(func: Any, args: tuple[Any, ...], inputs: list[Tensor], is_there: bool) -> None:
    """Raise as a device does if the operation mixes places; CPU scalars may come along."""
    strangers = [each for each in inputs if not isinstance(each, DeviceTensor) and each.ndim > 0]
    if func in INDEXED:
        indices = [each for each in args[1] if each is not None]
        if not isinstance(args[0], DeviceTensor) and any(isinstance(each, DeviceTensor) for each in indices):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        strangers = [each for each in strangers if not any(each is index for index in indices)]
    if is_there and strangers:
        raise RuntimeError(f"Expected all tensors to be on the same device, but found {NAME}:0 and cpu, in {func}")


def _held(value: Any) -> Any:
    return value.held if isinstance(value, DeviceTensor) else value


def _copied(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    _held(target).copy_(_held(source))
    return target


def _made_there(func: Any, *args: Any, **kwargs: Any) -> Any:
    return run(func, args, {**kwargs, "device": simulated_device()})


_LIBRARY = torch.library.Library("aten", "IMPL")  # kept: what it registers lives as long as it does
