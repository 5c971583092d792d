"""From a network with its scheduler, or a pipeline, to a ``Denoiser``."""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.transformers.dit_transformer_2d import DiTTransformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from torch import nn

from pullback.errors import ModelError
from pullback.models.calls import call_diffusers, call_flux
from pullback.models.conditions import Condition, Inputs, stable_diffusion_prompts
from pullback.models.denoiser import Denoiser
from pullback.models.schedule import schedule_of


def assemble(
    source: Any, scheduler: object, x_shape: tuple[int, ...] | None, settings: Mapping[str, Any], name: str | None
) -> Denoiser:
    """Return the denoiser of a pipeline or a pair (network, scheduler).

    Args:
        source: The pipeline or pair.
        scheduler: Used instead of the source's own, if not None.
        x_shape: Shape of one latent, if not the configuration's.
        settings: What a ``pullback.json`` says.
        name: For people.

    Raises:
        ModelError: If a part is missing or unknown.
    """
    parts = _parts_of(source)
    network = parts["network"]
    schedule, prediction = schedule_of(scheduler or parts["scheduler"])
    ratio = int(settings.get("space_to_depth", 1))
    prompts = _prompts_of(parts)
    null_label = _null_label(network)
    return Denoiser(
        network,
        schedule,
        prediction,
        x_shape or _x_shape_of(network, ratio),
        call=call_flux if "Flux" in type(network).__name__ else call_diffusers,
        space_to_depth=ratio,
        vae=parts.get("vae"),
        encode_prompt=prompts,
        no_condition=_no_condition(prompts, null_label),
        name=name or type(source if not isinstance(source, tuple) else network).__name__,
    )


def _parts_of(source: Any) -> dict[str, Any]:
    if isinstance(source, DiffusionPipeline):
        parts = dict(source.components)
        network = parts.get("unet") or parts.get("transformer") or parts.get("prior")
        return {**parts, "network": _a_module(network, type(source).__name__), "scheduler": parts.get("scheduler")}
    if isinstance(source, tuple) and len(source) == 2:
        return {"network": _a_module(source[0], "the pair"), "scheduler": source[1]}
    raise ModelError(
        wanted="a shipped name, folder, hub id, diffusers pipeline, or (network, scheduler)",
        got=type(source).__name__,
        hint="for any nn.Module use wrap_module(net, schedule=..., prediction=..., x_shape=...)",
    )


def _a_module(network: Any, where: str) -> nn.Module:
    if isinstance(network, nn.Module):
        return network
    raise ModelError(
        wanted=f"a network (unet or transformer) in {where}",
        got=type(network).__name__,
        hint="pass (network, scheduler)",
    )


def _x_shape_of(network: Any, ratio: int) -> tuple[int, int, int]:
    config = getattr(network, "config", {})
    size, channels = config.get("sample_size"), config.get("in_channels")
    if size is None or channels is None:
        raise ModelError(
            wanted="in_channels and sample_size in the network's configuration",
            got=f"{channels} and {size}",
            hint="pass x_shape=(C, H, W)",
        )
    height, width = (size, size) if isinstance(size, int) else size
    return channels // ratio**2, height * ratio, width * ratio


def _prompts_of(parts: Mapping[str, Any]) -> Any:
    """Return the prompt encoder of Stable Diffusion 1 and 2; other text models take a Condition."""
    if parts.get("tokenizer") is None or parts.get("text_encoder") is None or parts.get("text_encoder_2") is not None:
        return None
    if not isinstance(parts["network"], UNet2DConditionModel):
        return None
    return stable_diffusion_prompts(parts["tokenizer"], parts["text_encoder"])


def _null_label(network: nn.Module) -> int | None:
    return network.config.num_embeds_ada_norm if isinstance(network, DiTTransformer2DModel) else None  # pyright: ignore[reportAttributeAccessIssue]


def _no_condition(prompts: Any, null_label: int | None) -> Condition | None:
    inputs: Inputs | None = None
    if prompts is not None:
        inputs = prompts("")
    elif null_label is not None:
        inputs = {"class_labels": torch.tensor([null_label])}
    return None if inputs is None else Condition(inputs)
