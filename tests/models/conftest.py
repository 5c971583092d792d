"""Tiny models of real diffusers classes, with random weights; each a loaded `Denoiser`."""

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiTTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pullback.models import Condition, load_denoiser


def ddim(prediction="v_prediction"):
    return DDIMScheduler(prediction_type=prediction, clip_sample=False, steps_offset=1)


def unet(**changes):
    settings = {
        "sample_size": 8,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "norm_num_groups": 4,
        "attention_head_dim": 8,
    }
    return UNet2DModel(**(settings | changes))


def unet_condition():
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=12,
        attention_head_dim=4,
        norm_num_groups=4,
    )


def stable_diffusion():
    tokens = [chr(code) + end for end in ("", "</w>") for code in range(97, 123)] + ["<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=8)
    config = CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=12,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8,
        bos_token_id=52,
        eos_token_id=53,
        pad_token_id=53,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8),
        norm_num_groups=2,
        sample_size=16,
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(config),
        tokenizer=tokenizer,
        unet=unet_condition(),
        scheduler=ddim("epsilon"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def dit():
    return DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=4,
        in_channels=4,
        out_channels=8,
        num_layers=3,
        sample_size=8,
        num_embeds_ada_norm=10,
        norm_num_groups=4,
    )


def sd3():
    return SD3Transformer2DModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        num_layers=4,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=12,
        caption_projection_dim=16,
        pooled_projection_dim=10,
        pos_embed_max_size=8,
    )


def flux():
    return FluxTransformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=3,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=12,
        pooled_projection_dim=10,
        axes_dims_rope=(4, 4, 8),
    )


KINDS = ("unet", "unet_without_mid", "stable_diffusion", "dit", "sd3", "flux")


def make(kind, dtype=torch.float64, seed=0):
    """Return (denoiser, condition) of a kind."""
    torch.manual_seed(seed)
    if kind == "unet":
        return load_denoiser((unet(), ddim()), dtype=dtype), None
    if kind == "unet_without_mid":
        return load_denoiser((unet(mid_block_type=None), ddim()), dtype=dtype), None
    if kind == "stable_diffusion":
        model = load_denoiser(stable_diffusion(), dtype=dtype)
        return model, model.cond(prompt="a b")
    if kind == "dit":
        model = load_denoiser((dit(), ddim("epsilon")), dtype=dtype)
        return model, model.cond(label=3)
    text = {"encoder_hidden_states": torch.randn(1, 5, 12), "pooled_projections": torch.randn(1, 10)}
    network, shape = (sd3(), None) if kind == "sd3" else (flux(), (4, 8, 8))
    model = load_denoiser((network, FlowMatchEulerDiscreteScheduler()), dtype=dtype, x_shape=shape)
    return model, Condition(text)


@pytest.fixture
def build():
    """Return the maker of tiny models."""
    return make


@pytest.fixture(scope="session")
def parts():
    """Return the makers of bare networks, the scheduler and the pipeline, by name."""
    return {
        "unet": unet,
        "unet_condition": unet_condition,
        "stable_diffusion": stable_diffusion,
        "dit": dit,
        "ddim": ddim,
    }


@pytest.fixture(params=KINDS)
def model_and_cond(request):
    """Return (denoiser, condition) of each kind in float64."""
    return make(request.param)
