"""Loading: from a name, folder, hub id, pipeline, or network and scheduler to a ``Denoiser``.

Only safetensors are read and no code of a model repository is ever run.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from pullback.models.assemble import assemble
from pullback.models.denoiser import Denoiser
from pullback.models.feature_map import Call
from pullback.models.folders import folder_of, from_folder, from_hub, settings_of, shipped_folders
from pullback.models.predictions import Prediction
from pullback.models.schedule import Schedule

Source = Any  # str | Path | DiffusionPipeline | tuple[nn.Module, scheduler] | Denoiser


def list_models() -> tuple[str, ...]:
    """Return the names of the models that come with the package."""
    return tuple(shipped_folders())


def load_denoiser(
    source: Source,
    *,
    scheduler: object = None,
    x_shape: tuple[int, ...] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    variant: str | None = None,
    name: str | None = None,
) -> Denoiser:
    """Return the denoiser of ``source``; its network is put in eval mode.

    Args:
        source: The name of a shipped model (``list_models()``); a folder in diffusers' layout (a
            pipeline, or one network with a ``scheduler`` folder or scheduler_config.json); a hub
            id; a diffusers pipeline; a pair (network, scheduler); a ``Denoiser``, which is returned
            moved.
        scheduler: Used instead of the one that comes with the source.
        x_shape: Shape of one latent, where the configuration does not say or another is wanted.
        device: Where it runs; the CPU for what is read from disk, where it is for objects.
        dtype: Its precision; float32 for what is read from disk, as it is for objects.
        variant: As in diffusers: "fp16" reads ``*.fp16.safetensors``.
        name: For people; the source's own by default.

    A folder's ``pullback.json`` may say ``{"space_to_depth": 2}``. Prompts are encoded for Stable
    Diffusion 1 and 2; other text models take a ``Condition`` with the inputs of their network.

    >>> from diffusers import DDIMScheduler, UNet2DModel
    >>> unet = UNet2DModel(sample_size=8, block_out_channels=(8,), norm_num_groups=4, attention_head_dim=8,
    ...                    down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",))
    >>> load_denoiser((unet, DDIMScheduler(prediction_type="v_prediction"))).x_shape
    (3, 8, 8)

    Raises:
        ModelError: If the source is unknown, lacks a part, is not safetensors, or holds NaN.
    """
    if isinstance(source, Denoiser):
        return source.to(device, dtype)
    settings = settings_of(None)
    if isinstance(source, (str, Path)):
        folder = folder_of(source)
        name, settings = name or Path(str(source)).name, settings_of(folder)
        source = from_hub(str(source), variant) if folder is None else from_folder(folder, scheduler, variant)
        device, dtype = device or "cpu", dtype or torch.float32
    return assemble(source, scheduler, x_shape, settings, name).to(device, dtype)


def wrap_module(
    network: nn.Module,
    *,
    schedule: Schedule,
    prediction: Prediction,
    x_shape: tuple[int, ...],
    call: Call | None = None,
    space_to_depth: int = 1,
    name: str = "",
) -> Denoiser:
    """Return the denoiser of any ``nn.Module``: ADM, EDM, home-made nets.

    Args:
        network: The network.
        schedule: ``VPSchedule.from_betas(betas)``, ``FlowSchedule()`` or ``KarrasSchedule()``.
        prediction: What it returns: "epsilon", "v_prediction", "sample" (EDM's D) or "flow".
        x_shape: Shape of one latent.
        call: ``call(network, x, t, cond)`` -> prediction; ``network(x, t)`` with t `(B,)` if None.
        space_to_depth: r, if it works on ``pixel_unshuffle(x, r)``.
        name: For people.

    >>> from pullback.models import FlowSchedule
    >>> net = nn.Conv2d(1, 1, 3, padding=1)
    >>> den = wrap_module(net, schedule=FlowSchedule(), prediction="flow", x_shape=(1, 8, 8),
    ...                   call=lambda net, x, t, cond: net(x))
    >>> den.x0(torch.zeros(2, 1, 8, 8), t=500).shape
    torch.Size([2, 1, 8, 8])

    Raises:
        ModelError: If weights are not finite.
        OptionError: If the prediction type is unknown.
    """
    return Denoiser(
        network,
        schedule,
        prediction,
        x_shape,
        call=call or _call_plain,
        space_to_depth=space_to_depth,
        name=name or type(network).__name__,
    )


def _call_plain(network: nn.Module, x: torch.Tensor, t: Any, cond: Any) -> torch.Tensor:
    return network(x, torch.full((x.shape[0],), t, device=x.device))
