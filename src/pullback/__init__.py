"""Semantic directions of diffusion models, by pullback geometry, without labels.

The ten lines that most people need:

    import pullback

    model = pullback.load("portraits")
    found = pullback.discover(model, num_samples=32)
    images = model.edit(seed=7, direction=found[3], scale=[-2, -1, 0, 1, 2])

Importing the package is cheap: torch and diffusers are loaded when something that needs them is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pullback.api import Discovery, Model, discover, load, load_discovery
    from pullback.directions import Direction, global_directions, load_directions, local_basis, save_directions
    from pullback.errors import PullbackError
    from pullback.geometry import JacobianAt, TangentBasis
    from pullback.models import Denoiser, wrap_module
    from pullback.models.feature_map import feature_map

__version__ = "0.1.0"

__all__ = [
    "Denoiser",
    "Direction",
    "Discovery",
    "JacobianAt",
    "Model",
    "PullbackError",
    "TangentBasis",
    "discover",
    "feature_map",
    "global_directions",
    "load",
    "load_directions",
    "load_discovery",
    "local_basis",
    "save_directions",
    "wrap_module",
]

_HOMES = {
    "api": ("Discovery", "Model", "discover", "load", "load_discovery"),
    "directions": ("Direction", "global_directions", "load_directions", "local_basis", "save_directions"),
    "errors": ("PullbackError",),
    "geometry": ("JacobianAt", "TangentBasis"),
    "models": ("Denoiser", "wrap_module"),
    "models.feature_map": ("feature_map",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:  # PEP 562: torch is imported only when something of it is used
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
