"""Ctrl-C that always comes through.

Python loses an exception that is raised inside a finaliser, a callback of the collector or one of C code: it prints
"Exception ignored" and goes on, and so would a run of an hour after Ctrl-C. Here such a Ctrl-C is raised again.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

AGAIN_AFTER = 0.05
"""Seconds until a Ctrl-C that was lost is raised again: time to leave the callback that lost it."""


class _Presses:
    """Whether Ctrl-C was pressed since the command began."""

    is_pressed = False


@contextmanager
def heard() -> Generator[None]:
    """No Ctrl-C is lost inside this block.

    Python says what it has lost: a timer then raises it again, until it comes through. One that other code swallowed
    without a word is raised by `check`, which every step of progress calls. One that came through is left alone, so
    that cleaning up is not disturbed; a second Ctrl-C cuts that short, as it always does.
    """
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where it is ignored, as by nohup
    if not is_ours or threading.current_thread() is not threading.main_thread():
        yield
        return
    _Presses.is_pressed = False
    hook = sys.unraisablehook

    def lost(what: sys.UnraisableHookArgs) -> None:
        if issubclass(what.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, AGAIN_AFTER)
        else:
            hook(what)

    alarm = signal.signal(signal.SIGALRM, _raise)
    try:
        sys.unraisablehook = lost
        signal.signal(signal.SIGINT, _press)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGALRM, alarm)
        sys.unraisablehook = hook
        _Presses.is_pressed = False


def check() -> None:
    """Raises the Ctrl-C that someone swallowed, if there was one: work that goes on has not heard it.

    Raises:
        KeyboardInterrupt: If Ctrl-C was pressed inside `heard`.
    """
    if _Presses.is_pressed:
        raise KeyboardInterrupt


def _press(number: int, frame: FrameType | None) -> None:
    _Presses.is_pressed = True
    raise KeyboardInterrupt


def _raise(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
