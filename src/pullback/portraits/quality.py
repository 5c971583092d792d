"""How good the shipped denoiser is: figures for the model card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import ks_2samp

from pullback.portraits.factors import Array, held, sample
from pullback.portraits.judge import Judge, nearest, real_residuals
from pullback.portraits.oracle import to_clean
from pullback.portraits.renderer import render
from pullback.portraits.train import Recipe

if TYPE_CHECKING:
    from pullback.models.denoiser import Denoiser

BLOCK = 1000
"""Training pictures held in memory at a time: 50 MB, and as much for their mirror images."""


@dataclass(frozen=True)
class Quality:
    """Figures of a denoiser against its world.

    Attributes:
        share_inside: Share of samples whose residual |x - render(o(x))| is below the 95 % of real renders.
        residual: Median residual of samples, root mean square in [-1, 1].
        residual_real: Median residual of real renders.
        ks: Kolmogorov-Smirnov distance of each factor's marginal, samples against real renders, `(F,)`.
        ks_floor: 95 % of that distance between two sets of real renders of the same size.
        nearest: Median distance of a sample to the nearest training picture or mirror image of one, in that of a
            fresh render.
    """

    share_inside: float
    residual: float
    residual_real: float
    ks: Array
    ks_floor: float
    nearest: float


def quality(
    denoiser: Denoiser,
    judge: Judge,
    recipe: Recipe,
    *,
    num: int = 256,
    seed: int = 40_000,
    num_steps: int = 50,
) -> Quality:
    """Measures a denoiser.

    Args:
        denoiser: The model.
        judge: Reads factors.
        recipe: Determines the training pictures; all of them are rendered again and searched, as are their mirror
            images, on which the network is trained as well.
        num: Samples.
        seed: First of their seeds.
        num_steps: DDIM steps.

    Returns:
        The figures.
    """
    seeds = range(seed, seed + num)
    x0 = denoiser.sample_latent(t_fraction=0.0, seeds=seeds, num_steps=num_steps, chunk=64).clamp(-1, 1)
    real = to_clean(render(sample(num, seed=9_500_000 + seed, world=judge.world), world=judge.world))
    q, q_real = judge.residual(x0), real_residuals(judge, num=num)
    read, read_real = judge.factors(x0), judge.factors(real)
    half = num // 2
    near, near_real = _to_training(torch.cat([x0.float().cpu(), real]), recipe).split([len(x0), len(real)])
    return Quality(
        share_inside=float((q <= np.quantile(q_real, 0.95)).mean()),
        residual=float(np.median(q)),
        residual_real=float(np.median(q_real)),
        ks=_ks(read, read_real),
        ks_floor=float(np.quantile(_ks(read_real[:half], read_real[half:]), 0.95)),
        nearest=float(near.median() / near_real.median()),
    )


def _to_training(x0: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """Distance of each picture to the nearest that the network was trained on, `(B,)`."""
    found = torch.full((len(x0),), torch.inf)
    for pictures in _training_pictures(recipe):
        found = torch.minimum(found, nearest(x0, pictures)[0])
    return found


def _training_pictures(recipe: Recipe) -> Iterator[torch.Tensor]:
    """Yields what was trained on, block by block, each block followed by its mirror image."""
    z = held(sample(recipe.num_pictures, seed=1_000_000 + recipe.seed, world=recipe.world), recipe.fixed)
    for start in range(0, len(z), BLOCK):
        pictures = to_clean(render(z[start : start + BLOCK], world=recipe.world))
        yield pictures
        yield pictures.flip(-1)


def _ks(a: Array, b: Array) -> Array:
    """Largest distance of the two empirical distributions, column by column."""
    return np.array([np.asarray(ks_2samp(a[:, j], b[:, j]))[0] for j in range(a.shape[1])], dtype=np.float64)
