"""Ctrl-C comes through, wherever it falls, and is not raised again once it did."""

from __future__ import annotations

import ctypes
import gc
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import suppress

import pytest

from pullback.cli import interrupt, main
from pullback.cli.interrupt import AGAIN_AFTER, check, heard
from pullback.cli.terminal import Bars

LONG = 20.0
"""Seconds of work that nobody waits for."""


@pytest.fixture(autouse=True)
def usual_handler() -> Generator[None]:
    """Tests that run in the background of a shell are started with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def press(*_: object) -> None:
    signal.raise_signal(signal.SIGINT)


class Finalised:
    def __del__(self) -> None:
        press()


class Thing:
    pass


def in_a_finaliser() -> None:
    Finalised()


def in_a_weak_reference() -> None:
    thing = Thing()
    reference = weakref.ref(thing, press)
    del thing
    assert reference() is None


def in_the_collector() -> None:
    def once(phase: str, _: object) -> None:
        gc.callbacks.remove(once)
        press()

    gc.callbacks.append(once)
    gc.collect()


def in_c_code() -> None:
    ctypes.CFUNCTYPE(None)(press)()


PLACES = [in_a_finaliser, in_a_weak_reference, in_the_collector, in_c_code]


@pytest.mark.parametrize("lose", PLACES)
def test_an_interrupt_that_python_loses_is_raised_again(
    lose: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alarms = []

    def alarm(*_: object) -> None:
        alarms.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(interrupt, "_raise", alarm)
    with pytest.raises(KeyboardInterrupt), heard():
        lose()
        time.sleep(LONG)
    assert alarms  # the first was lost indeed
    assert capsys.readouterr().err == ""


def test_one_that_is_lost_again_and_again_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "AGAIN_AFTER", 1.0)  # so that each falls into the next finaliser, not between two
    lost = []

    class Again:
        def __del__(self) -> None:
            lost.append(self)
            time.sleep(LONG)

    with pytest.raises(KeyboardInterrupt), heard():
        in_a_finaliser()
        Again()
        Again()
        time.sleep(LONG)
    assert len(lost) == 2


def test_one_that_was_swallowed_without_a_word_ends_the_next_step() -> None:
    with heard(), Bars() as progress:
        with suppress(KeyboardInterrupt):
            press()
        with pytest.raises(KeyboardInterrupt):
            progress("work", 0, 2)
    check()  # the next command knows nothing of it


def test_one_that_came_through_leaves_cleaning_up_alone() -> None:
    cleaned = False
    with pytest.raises(KeyboardInterrupt), heard():
        try:
            press()
        finally:
            time.sleep(4 * AGAIN_AFTER)
            cleaned = True
    assert cleaned


def test_a_second_one_cuts_cleaning_up_short() -> None:
    cleaned = False
    with pytest.raises(KeyboardInterrupt), heard():
        try:
            press()
        finally:
            press()
            cleaned = True
    assert not cleaned


def test_other_exceptions_of_finalisers_are_told_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append(what.exc_type))

    class Fails:
        def __del__(self) -> None:
            raise ValueError

    with heard():
        Fails()
    assert told == [ValueError]


def test_where_ctrl_c_is_ignored_it_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with heard():
            press()
            check()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("lose", PLACES)
def test_a_command_that_lost_one_ends_with_2_and_a_hint(
    lose: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(_: object) -> None:
        lose()
        time.sleep(LONG)

    before = sys.unraisablehook, signal.getsignal(signal.SIGALRM)
    monkeypatch.setattr("pullback.cli.run._dispatch", work)
    assert main(["models"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("\nerror: wanted to go on to the end\n       got Ctrl-C\nhint: ")
    assert (sys.unraisablehook, signal.getsignal(signal.SIGALRM)) == before
    assert not interrupt._Presses.is_pressed


def test_bars_have_no_thread_that_the_end_would_wait_for(capsys: pytest.CaptureFixture[str]) -> None:
    before = threading.active_count()
    with Bars() as bars:
        bars("local bases", 0, 2)
        bars("local bases", 2, 2)
        assert threading.active_count() == before
    assert "local bases" in capsys.readouterr().err
