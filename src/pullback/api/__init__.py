"""The front door: load a model, discover its directions, edit pictures, write the report."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pullback.api.cost import Forecast, forecast
    from pullback.api.discovery import Discovery, load_discovery
    from pullback.api.finder import discover
    from pullback.api.model import Model, load
    from pullback.api.page import make_report
    from pullback.api.settings import PageSettings, Settings

__all__ = [
    "Discovery",
    "Forecast",
    "Model",
    "PageSettings",
    "Settings",
    "discover",
    "forecast",
    "load",
    "load_discovery",
    "make_report",
]

_HOMES = {
    "Discovery": "discovery",
    "Forecast": "cost",
    "Model": "model",
    "PageSettings": "settings",
    "Settings": "settings",
    "discover": "finder",
    "forecast": "cost",
    "load": "model",
    "load_discovery": "discovery",
    "make_report": "page",
}


def __getattr__(name: str) -> object:  # PEP 562: torch is imported only when something of it is used
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
