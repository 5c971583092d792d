"""What people see: data on standard output; plan, progress and complaints on standard error."""

from __future__ import annotations

import sys
from types import TracebackType

from tqdm import tqdm

from pullback.cli.interrupt import check
from pullback.errors import PullbackError


def out(text: str) -> None:
    """Prints data; a file name that is no text comes out escaped, as on standard error."""
    print(text.encode(errors="backslashreplace").decode())


def log(text: str) -> None:
    """Prints anything else."""
    print(text, file=sys.stderr, flush=True)


def hint(text: str) -> None:
    """Prints what to do next."""
    log(f"hint: {text}")


def complain(error: PullbackError) -> None:
    """Prints the three parts of an error on lines of their own."""
    log(f"error: wanted {error.wanted}\n       got {error.got}")
    hint(error.hint)


class Bar(tqdm):
    """A bar without tqdm's thread that watches it.

    A Ctrl-C that comes while the bar is drawn may leave its lock taken; at its end the program waits for that thread,
    and the thread for the lock.
    """

    monitor_interval = 0


class Bars:
    """Progress bars with time left, one a stage; a context manager, and a callback ``(stage, done, total)``."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._stage = ""

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Shows how far a stage is; ends it where a Ctrl-C was swallowed."""
        check()
        if stage != self._stage or self._bar is None:
            self._close()
            self._stage = stage
            self._bar = Bar(total=total, initial=done, desc=f"{stage:16}", file=sys.stderr, leave=True, bar_format=BAR)
        self._bar.update(done - self._bar.n)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


BAR = "{desc} {percentage:3.0f}% |{bar:30}| {n_fmt}/{total_fmt}  {elapsed} gone, {remaining} left"
