"""The command line: thin, over `pullback.api`."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status.

    0; 1 if something is damaged, or was set aside; 2 for a wrong request, a full disk, Ctrl-C.
    """
    from pullback.cli.run import run

    return run(arguments)
