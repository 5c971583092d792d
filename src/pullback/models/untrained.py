"""The control of no training: the same network with random weights."""

import copy

import torch
from torch import nn


def untrained_like(network: nn.Module, *, seed: int = 0) -> nn.Module:
    """Returns a copy of a network with fresh random weights, drawn as its layers draw them.

    Args:
        network: Stays as it is.
        seed: Of the weights; the global random state is left as it was.
    """
    fresh = copy.deepcopy(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in fresh.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    return fresh
