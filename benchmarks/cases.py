"""What is measured: the shipped model, and a large published architecture with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

import pullback
from pullback.models import NetworkFeatureMap
from pullback.models.calls import call_diffusers
from pullback.types import FeatureMap, Pool


@dataclass(frozen=True)
class Case:
    """A feature map with latents at its timestep.

    Attributes:
        name: For tables.
        f: The map.
        x: Latents, shape `(B, *x_shape)`.
    """

    name: str
    f: FeatureMap
    x: Tensor


def portraits(
    *,
    t_fractions: Sequence[float] = (0.8, 0.5, 0.2),
    num: int = 8,
    first: int = 0,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> list[Case]:
    """The shipped model at several t; latents on DDIM trajectories, computed in float32 whatever the dtype."""
    source = pullback.load("portraits", device=device)
    model = source.to(dtype=dtype) if dtype != torch.float32 else source
    cases = []
    for t_fraction in t_fractions:
        x = source.sample_latent(t_fraction=t_fraction, seeds=range(first, first + num), num_steps=20)
        cases.append(Case(f"portraits, t/T {t_fraction:g}", model.feature_map(t_fraction=t_fraction), x.to(dtype)))
    return cases


def portraits_of_size(size: int, *, num: int) -> Case:
    """The network of the shipped model on pictures of another size: noise, which at t/T = .8 its latents nearly are."""
    network = pullback.load("portraits").network
    x = torch.randn(num, 3, size, size, generator=torch.Generator().manual_seed(1))
    x = torch.nn.functional.pixel_unshuffle(x, 2)  # as the model itself does
    return Case(f"portraits, {size} px", network_map(network, x_shape=tuple(x.shape[1:])), x)


def celebahq(
    *, size: int = 256, num: int = 1, t_fractions: Sequence[float] = (0.8,), device: str = "cpu"
) -> list[Case]:
    """The architecture of google/ddpm-celebahq-256 with random weights, on noise, at several t.

    The weights are drawn as its layers draw them: cost and memory are those of the trained network, spectra are not.
    """
    from diffusers.models.unets.unet_2d import UNet2DModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet2DModel(
            sample_size=size,
            layers_per_block=2,
            block_out_channels=(128, 128, 256, 256, 512, 512),
            attention_head_dim=None,  # pyright: ignore[reportArgumentType] - one head, as published
            down_block_types=("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4,
        )
    cases = []
    for i, t_fraction in enumerate(t_fractions):
        f = network_map(network, x_shape=(3, size, size), t=round(1000 * t_fraction), device=device)
        x = torch.randn(num, 3, size, size, generator=torch.Generator().manual_seed(1 + i)).to(device)
        cases.append(Case(celebahq_name(size), f, x))
    return cases


def wide_pooled(*, num: int) -> Case:
    """A small U-Net with random weights whose sum-pooled bottleneck has the 1,280 channels of Stable Diffusion's."""
    from diffusers.models.unets.unet_2d import UNet2DModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet2DModel(
            sample_size=16,
            in_channels=4,
            out_channels=4,
            layers_per_block=1,
            block_out_channels=(160, 320, 1280),
            down_block_types=("DownBlock2D",) * 3,
            up_block_types=("UpBlock2D",) * 3,
        )
    x = torch.randn(num, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    return Case("random weights, 1,280 channels", network_map(network, x_shape=(4, 16, 16), pool="sum"), x)


def celebahq_name(size: int) -> str:
    """What tables call the architecture."""
    return f"ddpm-celebahq-256 architecture, {size} px"


def network_map(
    network: torch.nn.Module, *, x_shape: tuple[int, ...], t: int = 800, device: str = "cpu", pool: Pool = "none"
) -> NetworkFeatureMap:
    """The mid block of a U-Net."""
    return pullback.feature_map(
        network.to(device),
        call=call_diffusers,
        t=t,
        cond=None,
        layer="mid_block",
        x_shape=x_shape,
        pool=pool,
    )
