"""The network and the noise schedule of the shipped denoiser, and its files in diffusers' layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pullback.errors import ModelError
from pullback.files import read_safetensors, write_json

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d import UNet2DModel
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from torch import Tensor

SPACE_TO_DEPTH = 2
NUM_TRAIN_TIMESTEPS = 1000
CHANNELS = (48, 96, 176)
WEIGHTS = Path("unet") / "diffusion_pytorch_model.safetensors"


def make_network(*, channels: tuple[int, ...] = CHANNELS) -> UNet2DModel:
    """Returns the untrained denoiser, a diffusers ``UNet2DModel`` on `(12, 32, 32)`."""
    from diffusers.models.unets.unet_2d import UNet2DModel

    return UNet2DModel(
        sample_size=32,
        in_channels=3 * SPACE_TO_DEPTH**2,
        out_channels=3 * SPACE_TO_DEPTH**2,
        layers_per_block=1,
        block_out_channels=channels,
        norm_num_groups=8,
        attention_head_dim=88,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )


def make_scheduler() -> DDIMScheduler:
    """Returns the noise schedule: linear betas from 1e-4 to .02 in 1000 steps, v-prediction."""
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=NUM_TRAIN_TIMESTEPS,
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=True,
    )


def weights_of(folder: Path, *, channels: tuple[int, ...] = CHANNELS) -> dict[str, Tensor]:
    """Reads the weights of an exported model in float32, to start another run from.

    Args:
        folder: Of the model.
        channels: Of its levels.

    Raises:
        ModelError: If the folder holds no such network.
    """
    path = folder / WEIGHTS
    wanted = make_network(channels=channels).state_dict()
    found = read_safetensors(path)[0] if path.exists() else {}
    if {name: value.shape for name, value in found.items()} != {name: value.shape for name, value in wanted.items()}:
        raise ModelError(
            wanted=f"an exported portrait denoiser of {'-'.join(map(str, channels))} channels in {folder}",
            got="other weights" if found else f"no {WEIGHTS}",
            hint="give a folder that `python -m pullback.portraits train` or `export` wrote",
        )
    return {name: value.float() for name, value in found.items()}


def export_checkpoint(checkpoint: Path, folder: Path) -> Path:
    """Writes the moving average of a checkpoint, also of a run that goes on, as a diffusers folder."""
    tensors, info = read_safetensors(checkpoint)
    average = {name[4:]: value for name, value in tensors.items() if name.startswith("ema.")}
    return export(average, folder, channels=tuple(map(int, info["channels"].split())))


def export(weights: dict[str, Tensor], folder: Path, *, channels: tuple[int, ...] = CHANNELS) -> Path:
    """Writes ``weights`` as a diffusers pipeline folder in fp16 safetensors; returns the folder."""
    from diffusers.pipelines.ddim.pipeline_ddim import DDIMPipeline

    network = make_network(channels=channels)
    network.load_state_dict(weights)
    DDIMPipeline(unet=network.half(), scheduler=make_scheduler()).save_pretrained(folder, safe_serialization=True)
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)  # safetensors makes files that only their owner can read
    write_json(folder / "pullback.json", {"space_to_depth": SPACE_TO_DEPTH})
    return folder
