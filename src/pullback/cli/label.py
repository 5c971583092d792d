"""``pullback label``."""

from __future__ import annotations

from pullback.api.discovery import PAGE, label_direction
from pullback.cli.options import Label
from pullback.cli.terminal import log, out


def run_label(options: Label) -> None:
    """Labels one direction, prints where the page is."""
    name = options.name.strip()
    before = label_direction(options.folder, options.direction, name)
    now = f"direction {options.direction} is called {name!r}" if name else f"direction {options.direction} has no label"
    log(now + (f"; it was {before!r}" if before and before != name else ""))
    out(str(options.folder / PAGE))
