"""Siblings of the shipped denoiser: small networks trained on portraits of few and of all factors, two seeds each."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from pullback.portraits.factors import NAMES
from pullback.portraits.train import Recipe, train

VARYING = ("yaw", "light", "skin", "hair tone")
"""What varies in the pictures of few factors."""
CHANNELS = (24, 48, 88)
"""Half of the shipped network's width: 2.7 MB in half precision."""
SEEDS = (10, 11)
NUM_STEPS = 900
"""Of the siblings that the package ships: 28,800 pictures each."""
SHIPPED = Path(str(files("pullback.portraits").joinpath("weights/siblings")))
"""Where they are."""
NUM_PICTURES = 4_000
"""Different portraits of each: a fourth of the shipped model's, which takes a fourth of the rendering."""


def recipes(*, num_steps: int = NUM_STEPS) -> Mapping[str, Recipe]:
    """The recipe of each sibling by name; of one seed, few and many differ in their pictures alone.

    Example:
        >>> list(recipes())
        ['few-0', 'few-1', 'many-0', 'many-1']
    """
    held = {"few": tuple(name for name in NAMES if name not in VARYING), "many": ()}
    base = Recipe(num_steps=num_steps, num_pictures=NUM_PICTURES, channels=CHANNELS)
    return {
        f"{level}-{place}": replace(base, seed=seed, fixed=fixed)
        for level, fixed in held.items()
        for place, seed in enumerate(SEEDS)
    }


def train_siblings(folder: Path, *, num_steps: int = NUM_STEPS, minutes: float = math.inf) -> Path:
    """Trains those that are not there yet, one after the other; what was interrupted goes on.

    Args:
        folder: Gets ``few-0``, ``few-1``, ``many-0`` and ``many-1``; checkpoints are kept in its ``work``.
        num_steps: Optimiser steps of each.
        minutes: Stop each of them after so long, finished or not.

    Returns:
        The folder.
    """
    for name, recipe in recipes(num_steps=num_steps).items():
        if not (folder / name).exists():
            model = train(recipe, folder / "work" / name, minutes=minutes)
            shutil.copytree(model, folder / f"{name}.partial", dirs_exist_ok=True)
            (folder / f"{name}.partial").rename(folder / name)
    return folder
