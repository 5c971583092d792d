"""The recipe of the shipped denoiser: renders, trains a small U-Net by v-prediction, keeps a moving average, resumes.

Recipe: diffusers ``UNet2DModel`` on space-to-depth by 2, linear betas, 1000 steps, v-prediction (Salimans and Ho,
2202.00512), Muon and AdamW with a trapezoid learning rate (so that a run can be continued and only the end decays),
half of the timesteps drawn uniformly and half from a logit-normal around the steps where eyes and mouths are decided,
pictures mirrored at random (the world is mirror symmetric), exponential moving average of the weights.
"""

from __future__ import annotations

import csv
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pullback.files import read_safetensors, write_json, write_safetensors
from pullback.portraits.factors import World, held, sample
from pullback.portraits.network import CHANNELS, NUM_TRAIN_TIMESTEPS, SPACE_TO_DEPTH, export, make_scheduler, weights_of
from pullback.portraits.renderer import render

if TYPE_CHECKING:
    import torch

    from pullback.portraits.training_state import TrainingState


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a training run.

    Attributes:
        seed: Determines pictures, initial weights, order, noise.
        world: Which world is learned; ``"easy"`` is shipped.
        num_pictures: Different portraits rendered, each also used mirrored.
        num_steps: Optimiser steps in all; raise it to continue a finished run.
        batch_size: Pictures a step.
        learning_rate: Of both optimisers, on the plateau.
        num_warmup: Steps of linear warm-up.
        cooldown: Share of the steps, at the end, in which the rate falls linearly to zero.
        ema_decay: Of the moving average, reached after a warm-up.
        fixed: Factors that do not vary in this run's pictures: in the middle of their range, glasses off.
        channels: Of the network's three levels; the last is a multiple of 88.
    """

    seed: int = 0
    world: World = "easy"
    num_pictures: int = 16_000
    num_steps: int = 4_000
    batch_size: int = 32
    learning_rate: float = 2e-3
    num_warmup: int = 200
    cooldown: float = 0.3
    ema_decay: float = 0.998
    fixed: tuple[str, ...] = ()
    channels: tuple[int, int, int] = CHANNELS


def rate(step: int, recipe: Recipe) -> float:
    """Returns the learning rate at ``step``: linear up, constant, linear down to zero at ``num_steps``.

    Example:
        >>> rate(200, Recipe()) == Recipe().learning_rate, rate(4000, Recipe())
        (True, 0.0)
    """
    left = (recipe.num_steps - step) / max(recipe.cooldown * recipe.num_steps, 1)
    return recipe.learning_rate * max(min(step / recipe.num_warmup, left, 1.0), 0.0)


def draw_timesteps(num: int, *, generator: torch.Generator) -> torch.Tensor:
    """Draws timesteps, half uniform, half logit-normal with median at t/T = .33; shape `(num,)`, int64."""
    import torch

    uniform = torch.rand(num, generator=generator)
    tilted = torch.sigmoid(torch.randn(num, generator=generator) * 0.9 - 0.7)
    fraction = torch.where(torch.rand(num, generator=generator) < 0.5, uniform, tilted)
    return (fraction * NUM_TRAIN_TIMESTEPS).long().clamp(0, NUM_TRAIN_TIMESTEPS - 1)


def loss_of(
    network: torch.nn.Module, pictures: torch.Tensor, abar: torch.Tensor, *, generator: torch.Generator
) -> torch.Tensor:
    """Returns the mean squared error of v = sqrt(abar) eps - sqrt(1-abar) x0, one random t and noise a picture.

    Args:
        network: The denoiser.
        pictures: Clean samples in [-1, 1], space-to-depth, shape `(B, 12, 32, 32)`.
        abar: ``alphas_cumprod``, shape `(1000,)`.
        generator: Draws t and noise.
    """
    import torch

    t = draw_timesteps(len(pictures), generator=generator)
    eps = torch.randn(pictures.shape, generator=generator).contiguous(memory_format=torch.channels_last)
    signal, noise = abar[t].sqrt()[:, None, None, None], (1 - abar[t]).sqrt()[:, None, None, None]
    v = network(signal * pictures + noise * eps, t).sample
    return torch.nn.functional.mse_loss(v, signal * eps - noise * pictures)


def pictures_of(recipe: Recipe, folder: Path) -> torch.Tensor:
    """Returns the training pictures, rendered once and kept in ``folder``; uint8, shape `(num, 12, 32, 32)`."""
    import torch
    from torch.nn.functional import pixel_unshuffle
    from tqdm import tqdm

    path = folder / "pictures.safetensors"
    if not path.exists():
        z = held(sample(recipe.num_pictures, seed=1_000_000 + recipe.seed, world=recipe.world), recipe.fixed)
        parts = [
            (render(part, world=recipe.world) * 255 + 0.5).astype(np.uint8)
            for part in tqdm(np.array_split(z, max(len(z) // 200, 1)), desc="rendering")
        ]
        write_safetensors(path, {"pictures": torch.from_numpy(np.concatenate(parts))}, {})
    rgb = read_safetensors(path)[0]["pictures"].permute(0, 3, 1, 2)
    return pixel_unshuffle(rgb, SPACE_TO_DEPTH)


def mirrored(pictures: torch.Tensor, flip: torch.Tensor) -> torch.Tensor:
    """Mirrors the chosen pictures left to right, in natural shape; both `(B, 12, 32, 32)`."""
    import torch
    from torch.nn.functional import pixel_shuffle, pixel_unshuffle

    flipped = pixel_unshuffle(pixel_shuffle(pictures, SPACE_TO_DEPTH).flip(-1), SPACE_TO_DEPTH)
    return torch.where(flip[:, None, None, None], flipped, pictures)


def train(
    recipe: Recipe,
    folder: Path,
    *,
    start: Path | None = None,
    minutes: float = math.inf,
    checkpoint_every: int = 100,
) -> Path:
    """Trains or continues a denoiser; writes ``checkpoint.safetensors``, ``log.csv``, ``recipe.json`` and ``model/``.

    Args:
        recipe: What to train. Raise ``num_steps`` to continue a finished run.
        folder: Working folder; a run found there is continued.
        start: Exported model whose weights a new run begins with; without it they are random.
        minutes: Stop after this wall-clock time, with a checkpoint and an exported model.
        checkpoint_every: Steps between checkpoints.

    Returns:
        The exported diffusers folder.
    """
    import torch
    from tqdm import tqdm

    from pullback.portraits.training_state import TrainingState

    first = None if start is None else weights_of(start, channels=recipe.channels)
    state = TrainingState(recipe.seed, channels=recipe.channels, start=first)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "recipe.json", asdict(recipe))
    pictures = pictures_of(recipe, folder)
    if (folder / "checkpoint.safetensors").exists():
        state.load(folder / "checkpoint.safetensors")
    abar, began = make_scheduler().alphas_cumprod, time.monotonic()
    bar = tqdm(total=recipe.num_steps, initial=state.step, desc="training", smoothing=0.05)
    losses: list[float] = []
    while state.step < recipe.num_steps and time.monotonic() - began < 60 * minutes:
        tick = time.monotonic()
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + state.step)
        rows = torch.randint(len(pictures), (recipe.batch_size,), generator=generator)
        batch = mirrored(pictures[rows], torch.rand(len(rows), generator=generator) < 0.5)
        batch = (batch.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        loss = loss_of(state.network, batch, abar, generator=generator)
        state.update(loss, rate=rate(state.step + 1, recipe), ema_decay=recipe.ema_decay)
        losses.append(loss.item())
        state.seconds += time.monotonic() - tick
        bar.update()
        if state.step % checkpoint_every == 0 or state.step == recipe.num_steps:
            _log(folder / "log.csv", state, float(np.mean(losses)))
            state.save(folder / "checkpoint.safetensors")
            losses.clear()
    bar.close()
    state.save(folder / "checkpoint.safetensors")
    return export(state.average, folder / "model", channels=recipe.channels)


def _log(path: Path, state: TrainingState, loss: float) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["step", "seconds", "loss"])
        writer.writerow([state.step, f"{state.seconds:.0f}", f"{loss:.5f}"])
