"""A real diffusers U-Net at toy size with random weights, for examples and tests."""

from typing import Literal

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from pullback.models.denoiser import Denoiser
from pullback.models.load import load_denoiser


def toy_denoiser(
    *,
    seed: int = 0,
    prediction: Literal["epsilon", "v_prediction", "sample"] = "v_prediction",
    dtype: torch.dtype = torch.float32,
) -> Denoiser:
    """Return an untrained denoiser of latents `(3, 8, 8)` with attention in its mid block.

    >>> toy_denoiser().sample_latent(t_fraction=0.8, seeds=[1, 2]).shape
    torch.Size([2, 3, 8, 8])
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = UNet2DModel(
            sample_size=8,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
            norm_num_groups=4,
            attention_head_dim=8,
        )
    scheduler = DDIMScheduler(prediction_type=prediction)
    return load_denoiser((network, scheduler), dtype=dtype, name="toy")
