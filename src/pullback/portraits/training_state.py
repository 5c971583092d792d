"""What a training run needs to go on after a kill: network, moving average, optimisers, step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pullback.files import read_safetensors, write_safetensors
from pullback.portraits.muon import Muon
from pullback.portraits.network import CHANNELS, make_network

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d import UNet2DModel

MAX_GRADIENT = 1.0
ENDS = ("conv_in", "conv_out")
"""Layers whose weights meet pictures, not features: AdamW moves them, as it does biases and norms."""


class TrainingState:
    """Everything that changes while a run goes on.

    Args:
        seed: Of the initial weights.
        channels: Of the network's levels.
        start: Weights to start from instead; the moving average starts there too.
    """

    def __init__(
        self, seed: int, *, channels: tuple[int, ...] = CHANNELS, start: Mapping[str, Tensor] | None = None
    ) -> None:
        self.channels = channels
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = make_network(channels=channels)
        if start is not None:
            self.network.load_state_dict(start)
        _channels_last(self.network)
        self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        named = list(self.network.named_parameters())
        matrices = [p for name, p in named if p.ndim > 1 and not name.startswith(ENDS)]
        others = [p for name, p in named if p.ndim < 2 or name.startswith(ENDS)]
        self.optimisers = Muon(matrices), torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.99), weight_decay=0.01)
        self.step, self.seconds = 0, 0.0

    def save(self, path: Path) -> None:
        """Writes a checkpoint."""
        tensors = {f"net.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.average.items()}
        for place, optimiser in enumerate(self.optimisers):
            for i, moments in optimiser.state_dict()["state"].items():
                tensors |= {f"opt.{place}.{i}.{name}": torch.as_tensor(value) for name, value in moments.items()}
        tensors = {k: v.clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
        info = {"step": str(self.step), "seconds": str(self.seconds), "channels": " ".join(map(str, self.channels))}
        write_safetensors(path, tensors, info)

    def load(self, path: Path) -> None:
        """Takes everything from a checkpoint."""
        tensors, info = read_safetensors(path)
        self.network.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("net.")})
        self.average = {k[4:]: v for k, v in tensors.items() if k.startswith("ema.")}
        for place, optimiser in enumerate(self.optimisers):
            moments: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith(f"opt.{place}."):
                    _, _, i, name = key.split(".")
                    moments.setdefault(int(i), {})[name] = value
            optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
        self.step, self.seconds = int(info["step"]), float(info["seconds"])

    def update(self, loss: Tensor, *, rate: float, ema_decay: float) -> None:
        """Takes one step at a learning rate, and lets the moving average follow."""
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
        self.network.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT)
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        decay = min(ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)


def _channels_last(network: UNet2DModel) -> None:
    """Lays the weights out as convolutions on a CPU like them."""
    for weight in network.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
