"""Pictures to clean samples and back, through a VAE where the model has one."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor, nn

from pullback.errors import ShapeError


def pixels_of(image: Image.Image | NDArray[np.uint8] | Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return `(B, C, H, W)` float32 in [-1, 1] of one picture or of a batch.

    A PIL image is cut to the aspect of ``shape`` `(C, H, W)` about its centre and resampled
    (Lanczos). Arrays are uint8 `(H, W, 3)` or `(B, H, W, 3)`, tensors float in [-1, 1]; both must
    have the size already.

    Raises:
        ShapeError: If the size is another.
    """
    if isinstance(image, Image.Image):
        mode = "L" if shape[0] == 1 else "RGB"
        image = np.asarray(ImageOps.fit(image.convert(mode), (shape[2], shape[1]), Image.Resampling.LANCZOS))
    if isinstance(image, np.ndarray):
        array = image.reshape(-1, *image.shape[-3:]) if image.ndim > 2 else image[None, ..., None]  # (B, H, W, C)
        image = torch.from_numpy(array.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    pixels = image[None] if image.ndim == 3 else image
    if tuple(pixels.shape[1:]) != shape:
        raise ShapeError(
            wanted=f"a picture of shape {shape}",
            got=f"{tuple(pixels.shape)}",
            hint="give a PIL image to have it cut and resized",
        )
    return pixels


def pictures_of(pixels: Tensor) -> NDArray[np.uint8]:
    """Return uint8 `(B, H, W, 3)` of `(B, C, H, W)` in [-1, 1]; one channel becomes grey."""
    levels = pixels.detach().float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    levels = levels.expand(-1, 3, -1, -1) if levels.shape[1] == 1 else levels[:, :3]
    return levels.permute(0, 2, 3, 1).cpu().numpy()


def picture_shape(vae: Any, x_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return `(C, H, W)` of the pictures whose latents (or pixels, without VAE) have ``x_shape``."""
    channels, height, width = x_shape
    if vae is None:
        return channels, height, width
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    return vae.config.in_channels, height * factor, width * factor


@torch.no_grad()
def vae_encode(vae: Any, pixels: Tensor) -> Tensor:
    """Return latents: the posterior's mode, shifted and scaled as the VAE's configuration says."""
    latents = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mode()
    return (latents - _shift(vae)) * vae.config.scaling_factor


@torch.no_grad()
def vae_decode(vae: Any, latents: Tensor, *, chunk: int = 8) -> Tensor:
    """Return pixels `(B, 3, H, W)` of latents, ``chunk`` at a time."""
    latents = latents.to(vae.device, vae.dtype) / vae.config.scaling_factor + _shift(vae)
    return torch.cat([vae.decode(part).sample for part in latents.split(chunk)])


def _shift(vae: nn.Module) -> float:
    return getattr(vae.config, "shift_factor", None) or 0.0  # pyright: ignore[reportAttributeAccessIssue]
