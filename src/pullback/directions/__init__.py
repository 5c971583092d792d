"""Semantic directions: at one sample, over many, and the controls to hold them against."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pullback.directions.controls import pca_of_h, random_h, random_x, rotated
    from pullback.directions.estimators import directions_of, estimate
    from pullback.directions.global_ import global_directions
    from pullback.directions.held_out import agreement, agreement_null, with_agreement
    from pullback.directions.local import local_basis
    from pullback.directions.masked_maps import MaskedInput, MaskedOutput
    from pullback.directions.masks import Rectangle, mask_at, outside_share, shrink_mask
    from pullback.directions.pca import incremental_pca_of_h, pca_of_perturbed
    from pullback.directions.regional import (
        cleared,
        first_order_outside,
        loco_directions,
        outside_vectors,
        regional_bases,
        regional_directions,
        restricted,
    )
    from pullback.directions.reproducibility import Reproducibility, split_half
    from pullback.directions.store import load_directions, save_directions
    from pullback.directions.subspace import frechet_directions
    from pullback.directions.tasks import Estimate, Task
    from pullback.directions.ties import canonical
    from pullback.directions.types import Direction

__all__ = [
    "Direction",
    "Estimate",
    "MaskedInput",
    "MaskedOutput",
    "Rectangle",
    "Reproducibility",
    "Task",
    "agreement",
    "agreement_null",
    "canonical",
    "cleared",
    "directions_of",
    "estimate",
    "first_order_outside",
    "frechet_directions",
    "global_directions",
    "incremental_pca_of_h",
    "load_directions",
    "local_basis",
    "loco_directions",
    "mask_at",
    "outside_share",
    "outside_vectors",
    "pca_of_h",
    "pca_of_perturbed",
    "random_h",
    "random_x",
    "regional_bases",
    "regional_directions",
    "restricted",
    "rotated",
    "save_directions",
    "shrink_mask",
    "split_half",
    "with_agreement",
]

_HOMES = {
    "Direction": "types",
    "Estimate": "tasks",
    "MaskedInput": "masked_maps",
    "MaskedOutput": "masked_maps",
    "Rectangle": "masks",
    "Reproducibility": "reproducibility",
    "Task": "tasks",
    "agreement": "held_out",
    "agreement_null": "held_out",
    "canonical": "ties",
    "cleared": "regional",
    "directions_of": "estimators",
    "estimate": "estimators",
    "first_order_outside": "regional",
    "frechet_directions": "subspace",
    "global_directions": "global_",
    "incremental_pca_of_h": "pca",
    "load_directions": "store",
    "local_basis": "local",
    "loco_directions": "regional",
    "mask_at": "masks",
    "outside_share": "masks",
    "outside_vectors": "regional",
    "pca_of_h": "controls",
    "pca_of_perturbed": "pca",
    "random_h": "controls",
    "random_x": "controls",
    "regional_bases": "regional",
    "regional_directions": "regional",
    "restricted": "regional",
    "rotated": "controls",
    "save_directions": "store",
    "shrink_mask": "masks",
    "split_half": "reproducibility",
    "with_agreement": "held_out",
}


def __getattr__(name: str) -> object:  # torch is imported only when something of it is used (PEP 562)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
