"""The bank: local bases of many samples on disk, computed once, on one machine or many."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pullback.bank.driver import Part, Tally, run_here
    from pullback.bank.settings import RunSettings
    from pullback.bank.storage import Storage
    from pullback.bank.store import Bank, Reader, Writer
    from pullback.bank.unit import Unit
    from pullback.bank.work import Answer, MakesWork, Work

__all__ = [
    "Answer",
    "Bank",
    "MakesWork",
    "Part",
    "Reader",
    "RunSettings",
    "Storage",
    "Tally",
    "Unit",
    "Work",
    "Writer",
    "run_here",
]

_HOMES = {
    "Answer": "work",
    "Bank": "store",
    "MakesWork": "work",
    "Part": "driver",
    "Reader": "store",
    "RunSettings": "settings",
    "Storage": "storage",
    "Tally": "driver",
    "Unit": "unit",
    "Work": "work",
    "Writer": "store",
    "run_here": "driver",
}


def __getattr__(name: str) -> object:  # torch is imported only when something of it is used (PEP 562)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
