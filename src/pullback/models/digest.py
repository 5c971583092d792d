"""What tells one network from another: a digest of its weights and one of its configuration."""

import json
import weakref

from torch import Tensor, nn

from pullback.errors import ModelError
from pullback.models.conditions import digest_of

_Version = tuple["weakref.ref[Tensor]", int, int]
_cache: "weakref.WeakKeyDictionary[nn.Module, tuple[list[_Version], str]]" = weakref.WeakKeyDictionary()


def weights_digest(network: nn.Module) -> str:
    """Return the sha256 of all weights and buffers by name, shape and float32 value.

    fp16 weights, and the same ones loaded as float32 or float64, share a digest; a lossy cast, a
    fine-tuning step or another decoder gives another. It is computed once (about a second per GB)
    and again when a tensor was replaced or changed in place.

    Raises:
        ModelError: If weights are not in memory (offloaded to "meta").
    """
    state = network.state_dict(keep_vars=True)
    tensors = list(state.values())
    if network in _cache and _is_unchanged(tensors, _cache[network][0]):
        return _cache[network][1]
    away = [name for name, value in state.items() if value.is_meta]
    if away:
        raise ModelError(
            wanted="weights in memory",
            got=f"{len(away)} offloaded tensors, such as {away[0]}",
            hint="results are kept by the weights' digest; move the network to a device first",
        )
    digest = digest_of(state)
    _cache[network] = ([(weakref.ref(t), _version(t), t.data_ptr()) for t in tensors], digest)
    return digest


def _is_unchanged(tensors: list[Tensor], versions: list[_Version]) -> bool:
    return len(tensors) == len(versions) and all(
        ref() is tensor and version == _version(tensor) and address == tensor.data_ptr()
        for tensor, (ref, version, address) in zip(tensors, versions, strict=True)
    )


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version  # inference tensors do not count their changes


def config_digest(network: nn.Module) -> str:
    """Return the sha256 of a diffusers configuration, else of the module tree's names and classes."""
    config = getattr(network, "config", None)
    if hasattr(config, "items"):
        public = {key: value for key, value in dict(config).items() if not key.startswith("_")}  # pyright: ignore[reportArgumentType, reportCallIssue]
        return digest_of(json.dumps({"class": type(network).__name__, **public}, sort_keys=True, default=str))
    return digest_of([f"{name}:{type(module).__name__}" for name, module in network.named_modules()])
