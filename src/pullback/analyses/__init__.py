"""The analyses and figures of both papers on any model, each with its interval and its matched null.

Two halves: `run` computes numbers and writes CSV files; `page` draws every figure out of those files alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pullback.analyses.catalogue import FIGURES
    from pullback.analyses.page import write_page
    from pullback.analyses.run import analyze
    from pullback.analyses.sizes import SIZES, Size

__all__ = ["FIGURES", "SIZES", "Size", "analyze", "write_page"]

_HOMES = {"FIGURES": "catalogue", "SIZES": "sizes", "Size": "sizes", "analyze": "run", "write_page": "page"}


def __getattr__(name: str) -> object:  # torch is imported only when something of it is used (PEP 562)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
