"""Maps whose Jacobian is known, and a suite of checks for your own map."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pullback.testing.check import CheckReport, FeatureMapError, check_feature_map
    from pullback.testing.toys import ConvMap, LinearMap, UnitMap, planted_null, planted_spectrum

__all__ = [
    "CheckReport",
    "ConvMap",
    "FeatureMapError",
    "LinearMap",
    "UnitMap",
    "check_feature_map",
    "planted_null",
    "planted_spectrum",
]

_HOMES = {"CheckReport": "check", "FeatureMapError": "check", "check_feature_map": "check"}


def __getattr__(name: str) -> object:  # torch is imported only when something of it is used (PEP 562)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'toys')}"), name)
