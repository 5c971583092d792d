"""Commands of the portrait world: ``python -m pullback.portraits COMMAND --help``."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import tyro
from tyro.conf import Positional

from pullback.portraits.factors import NAMES, World, sample
from pullback.portraits.siblings import NUM_STEPS
from pullback.portraits.train import Recipe


def grid(
    path: Positional[Path], *, num: int = 48, columns: int = 12, seed: int = 0, size: int = 64, world: World = "easy"
) -> None:
    """Write a picture of random portraits.

    Args:
        path: PNG file to write.
        num: Portraits.
        columns: Portraits in a row.
        seed: Of their factors.
        size: Pixels of each.
        world: Easy or hard.
    """
    import numpy as np
    from PIL import Image

    from pullback.portraits.renderer import render

    pictures = render(sample(num, seed=seed, world=world), size=size, world=world)
    rows = [
        np.concatenate(list(pictures[start : start + columns]), axis=1)
        for start in range(0, num - columns + 1, columns)
    ]
    Image.fromarray((np.concatenate(rows) * 255 + 0.5).astype(np.uint8)).save(path)


def shares(*, num: int = 64, seed: int = 0, world: World = "easy") -> None:
    """Print each factor's share of the picture's energy.

    Args:
        num: Portraits averaged over.
        seed: Of their factors.
        world: Easy or hard.
    """
    from pullback.portraits.derivatives import energy_shares

    for name, share in sorted(energy_shares(num, seed=seed, world=world).items(), key=lambda pair: -pair[1]):
        print(f"{name:20s} {share:7.2%}")


def train(folder: Positional[Path], recipe: Recipe, *, start: Path | None = None, minutes: float = math.inf) -> None:
    """Train or continue a denoiser.

    Args:
        folder: Working folder, with the checkpoint; the exported model is in its ``model``.
        recipe: What to train.
        start: Folder of an exported model to start from; the shipped one lies in the package.
        minutes: Stop after so long; call again to go on.
    """
    from pullback.portraits.train import train as run

    print(run(recipe, folder, start=start, minutes=minutes))


def siblings(folder: Positional[Path], *, num_steps: int = NUM_STEPS, minutes: float = math.inf) -> None:
    """Train four small denoisers, on few and on all factors, two seeds each: for the figure `complexity`.

    Args:
        folder: Gets few-0, few-1, many-0 and many-1; what is there is kept.
        num_steps: Optimiser steps of each.
        minutes: Stop each after so long.
    """
    from pullback.portraits.siblings import train_siblings

    print(train_siblings(folder, num_steps=num_steps, minutes=minutes))


def export(checkpoint: Positional[Path], folder: Positional[Path]) -> None:
    """Write the moving average of a checkpoint as a diffusers folder.

    Args:
        checkpoint: Of a run that may still go on.
        folder: Written in diffusers' layout, fp16 safetensors.
    """
    from pullback.portraits.network import export_checkpoint

    print(export_checkpoint(checkpoint, folder))


def train_oracle(path: Positional[Path], *, num_pictures: int = 12_000, num_steps: int = 2000, seed: int = 0) -> None:
    """Train the oracle.

    Args:
        path: Safetensors file to write.
        num_pictures: Different renders.
        num_steps: Optimiser steps.
        seed: Of renders, weights and order.
    """
    from pullback.portraits.train_oracle import train_oracle as run

    run(path, num_pictures=num_pictures, num_steps=num_steps, seed=seed)


def oracle(*, num: int = 1024) -> None:
    """Print how far the oracle can be trusted: R^2 (area under the curve for glasses), noise, the leakage matrix.

    Angles are measured by R^2 as well, and not by a circular measure: none of them comes near half a turn, so that
    nothing wraps round.

    Args:
        num: Fresh renders, half to fit its answers and half to test.
    """
    from pullback.portraits.factors import FACTORS
    from pullback.portraits.oracle import calibrate, load_oracle

    fit = calibrate(load_oracle()[0], num=num)
    for name, r2, noise in zip(NAMES, fit.r2, fit.noise, strict=True):
        print(f"{name:20s} R^2 {r2:.4f}   noise {noise:.3f} sd")
    widest = max(max(-factor.low, factor.high) for factor in FACTORS if "radians" in factor.meaning)
    print(f"angles stay within {widest:g} rad of 0 and never wrap round: R^2, not a circular measure, suits them")
    print("\nleakage: the answer for a row's factor per unit of a column's, relative to that of its own")
    print(f"{'':23s}" + "".join(f"{column:7d}" for column in range(len(NAMES))))
    for row, (name, slopes) in enumerate(zip(NAMES, fit.leakage_matrix, strict=True)):
        print(f"{row:2d} {name:20s}" + "".join(f"{slope:7.3f}" for slope in slopes))
    print(f"largest leakage between factors {fit.leakage:.3f}")


def quality(model: Positional[str] = "portraits", *, num: int = 256, seed: int = 0, num_steps: int = 50) -> None:
    """Print how good a denoiser of this world is, as JSON.

    Args:
        model: Folder, or the shipped one.
        num: Samples.
        seed: Training seed of the model, which determines its training pictures.
        num_steps: DDIM steps.
    """
    from pullback.models import load_denoiser
    from pullback.portraits.judge import load_judge
    from pullback.portraits.quality import quality as measure

    found = measure(load_denoiser(model), load_judge(), replace(Recipe(), seed=seed), num=num, num_steps=num_steps)
    ks = {name: round(float(value), 3) for name, value in zip(NAMES, found.ks, strict=True)}
    json.dump(
        {
            "share inside the 95 % of real renders": found.share_inside,
            "median residual": found.residual,
            "median residual of real renders": found.residual_real,
            "nearest training picture, relative to fresh renders": found.nearest,
            "KS distance": ks,
            "KS distance of two real sets (95 %)": found.ks_floor,
        },
        sys.stdout,
        indent=1,
    )
    print()


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {
            "grid": grid,
            "shares": shares,
            "train": train,
            "siblings": siblings,
            "export": export,
            "train-oracle": train_oracle,
            "oracle": oracle,
            "quality": quality,
        }
    )
