"""``pullback models``."""

from __future__ import annotations

from pullback.cli.terminal import hint, out
from pullback.models import list_models


def run_models() -> None:
    """Prints the names of the shipped models, one a line."""
    for name in list_models():
        out(name)
    hint("a folder in diffusers' layout or a hub id works in their place: `pullback discover FOLDER --out DIR`")
