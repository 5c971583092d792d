"""The recipe of the oracle: read factors off renders, slightly blurred and noised as a denoiser's pictures are."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from pullback.portraits.factors import World, sample
from pullback.portraits.oracle import SWITCHES, Oracle, calibrate, save_oracle, to_clean
from pullback.portraits.renderer import render

FACTOR_SEED = 5_000_000
RENDERED_TOGETHER = 200


def worn(x0: Tensor, *, generator: torch.Generator) -> Tensor:
    """Blurs and noises pictures by a random amount each: denoised pictures are a little soft; shape kept."""
    blur = torch.rand(len(x0), 1, 1, 1, generator=generator) * 0.8
    soft = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(x0, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    noise = torch.rand(len(x0), 1, 1, 1, generator=generator) ** 2 * 0.12
    return x0 + blur * (soft - x0) + noise * torch.randn(x0.shape, generator=generator)


def train_oracle(
    path: Path,
    *,
    num_pictures: int = 12_000,
    num_steps: int = 2000,
    batch_size: int = 64,
    seed: int = 0,
    world: World = "easy",
    learning_rate: float = 2e-3,
    num_calibration: int = 2048,
) -> Oracle:
    """Trains the oracle and writes it in fp16 safetensors, with its calibration.

    Args:
        path: Target file.
        num_pictures: Different renders.
        num_steps: Optimiser steps, one cosine from ``learning_rate`` to 0.
        batch_size: Renders a step.
        seed: Of renders, weights and order.
        world: Which world.
        learning_rate: Of AdamW.
        num_calibration: Fresh renders that its answers are fitted and tested on.

    Returns:
        The trained oracle.
    """
    from tqdm import tqdm

    torch.manual_seed(seed)
    z = sample(num_pictures, seed=FACTOR_SEED + seed, world=world)
    parts = [z[start : start + RENDERED_TOGETHER] for start in range(0, len(z), RENDERED_TOGETHER)]
    pictures = (torch.cat([to_clean(render(part, world=world)) for part in tqdm(parts, desc="rendering")]) * 127).to(
        torch.int8
    )
    target, oracle = torch.from_numpy(z).float(), Oracle()
    optimiser = torch.optim.AdamW(oracle.parameters(), lr=learning_rate, weight_decay=0.02)
    generator = torch.Generator().manual_seed(seed)
    for step in (bar := tqdm(range(num_steps), desc="oracle")):
        optimiser.param_groups[0]["lr"] = (
            learning_rate * 0.5 * (1 + math.cos(math.pi * step / num_steps)) * min(1, step / 100)
        )
        rows = torch.randint(len(z), (batch_size,), generator=generator)
        loss = loss_of(oracle(worn(pictures[rows].float() / 127, generator=generator)), target[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 50 == 0:
            bar.set_postfix(loss=f"{loss.item():.4f}")
    oracle.load_state_dict({name: value.half().float() for name, value in oracle.state_dict().items()})
    save_oracle(path, oracle, calibrate(oracle, num=num_calibration, world=world))
    return oracle


def loss_of(answer: Tensor, z: Tensor) -> Tensor:
    """Squared error of the linear factors plus a tenth of the cross-entropy of the switches; both `(B, 16)`."""
    linear = [j for j in range(z.shape[1]) if j not in SWITCHES]
    on = torch.nn.functional.binary_cross_entropy_with_logits(
        answer[:, list(SWITCHES)], (z[:, list(SWITCHES)] > 0).float()
    )
    return torch.nn.functional.mse_loss(answer[:, linear], z[:, linear]) + 0.1 * on
