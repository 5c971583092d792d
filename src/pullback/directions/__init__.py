"""Semantic directions: at one sample, over many, and the controls to hold them against."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pullback.directions.controls import pca_of_h, random_h, random_x, rotated
    from pullback.directions.global_ import global_directions
    from pullback.directions.held_out import agreement, agreement_null, with_agreement
    from pullback.directions.local import local_basis
    from pullback.directions.reproducibility import Reproducibility, split_half
    from pullback.directions.store import load_directions, save_directions
    from pullback.directions.subspace import frechet_directions
    from pullback.directions.ties import canonical
    from pullback.directions.types import Direction

__all__ = [
    "Direction",
    "Reproducibility",
    "agreement",
    "agreement_null",
    "canonical",
    "frechet_directions",
    "global_directions",
    "load_directions",
    "local_basis",
    "pca_of_h",
    "random_h",
    "random_x",
    "rotated",
    "save_directions",
    "split_half",
    "with_agreement",
]

_HOMES = {
    "Direction": "types",
    "Reproducibility": "reproducibility",
    "agreement": "held_out",
    "agreement_null": "held_out",
    "canonical": "ties",
    "frechet_directions": "subspace",
    "global_directions": "global_",
    "load_directions": "store",
    "local_basis": "local",
    "pca_of_h": "controls",
    "random_h": "controls",
    "random_x": "controls",
    "rotated": "controls",
    "save_directions": "store",
    "split_half": "reproducibility",
    "with_agreement": "held_out",
}


def __getattr__(name: str) -> object:  # torch is imported only when something of it is used (PEP 562)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
