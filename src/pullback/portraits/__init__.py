"""The shipped world: portraits whose factors are known, a denoiser that learned them, an oracle that reads them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pullback.portraits.derivatives import energy_shares, tangents
    from pullback.portraits.factors import FACTORS, NAMES, NUM_FACTORS, Factor, index, sample
    from pullback.portraits.oracle import Calibration, Oracle, calibrate, load_oracle
    from pullback.portraits.regions import REGIONS, factor_masks, region_mask
    from pullback.portraits.renderer import render

__all__ = [
    "FACTORS",
    "NAMES",
    "NUM_FACTORS",
    "REGIONS",
    "Calibration",
    "Factor",
    "Oracle",
    "calibrate",
    "energy_shares",
    "factor_masks",
    "index",
    "load_oracle",
    "region_mask",
    "render",
    "sample",
    "tangents",
]

_HOMES = {
    "factors": ("FACTORS", "NAMES", "NUM_FACTORS", "Factor", "index", "sample"),
    "renderer": ("render",),
    "regions": ("REGIONS", "factor_masks", "region_mask"),
    "derivatives": ("energy_shares", "tangents"),
    "oracle": ("Calibration", "Oracle", "calibrate", "load_oracle"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:  # PEP 562: numba and torch are imported only when they are used
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
