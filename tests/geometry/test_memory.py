"""What says that memory ran out, and what is given back before the work goes on."""

import traceback
import weakref

import pytest
import torch

from pullback.errors import MemoryWarning, NoMemoryError
from pullback.geometry import Plan
from pullback.geometry.memory import fewer, is_memory, smaller

OUT = "CUDA out of memory"


class Graph:
    """Stands for what a failed call holds."""


def failing(error, held):
    graph = Graph()
    held.append(weakref.ref(graph))
    raise error


def too_many(error, held):
    """A product of one direction that does not fit either."""
    try:
        failing(error, held)
    except RuntimeError as caught:
        smaller(Plan.fixed(), 1, 2, caught)


@pytest.fixture
def emptied(monkeypatch):
    """Whether the graph was gone, each time that the cache was emptied; and the reference to it."""
    held, gone = [], []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: gone.append(held[0]() is None))
    return held, gone


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9.04 GB, max allowed: 9.07 GB). Tried to"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"), True),
        (NoMemoryError(wanted="memory", got="none", hint="wait"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("MPS backend out of memory"), False),
    ],
)
def test_want_of_memory_is_known_by_class_or_by_what_torch_says(error, is_it):
    assert is_memory(error) == is_it


def test_what_the_failed_call_held_is_gone_before_the_cache_is_emptied(emptied):
    held, gone = emptied
    with pytest.warns(MemoryWarning, match="with 4 products at a time; going on with 2"):
        try:
            failing(torch.OutOfMemoryError(OUT), held)
        except RuntimeError as error:
            plan = smaller(Plan.fixed(chunk=4), 4, 1, error)
    assert plan.chunk == 2
    assert gone == [True]


def test_so_is_what_led_to_the_error(emptied):
    held, gone = emptied
    with pytest.warns(MemoryWarning, match="with 3 samples together; going on with 1"):
        try:
            too_many(torch.OutOfMemoryError(OUT), held)
        except NoMemoryError as error:
            assert error.__cause__ is not None
            assert fewer(3, error) == 1
    assert gone == [True]


def test_an_error_that_is_its_own_cause_ends(emptied):
    held, gone = emptied
    with pytest.warns(MemoryWarning):
        try:
            failing(torch.OutOfMemoryError(OUT), held)
        except RuntimeError as error:
            error.__cause__ = error
            fewer(2, error)
    assert gone == [True]


@pytest.mark.parametrize("text", ["no such thing", OUT])
def test_an_error_that_is_raised_keeps_its_frames(text, emptied):
    """For whoever looks into them: another error, or want of memory for a single product."""
    held, gone = emptied
    kind = torch.OutOfMemoryError if text == OUT else RuntimeError
    with pytest.raises((RuntimeError, NoMemoryError), match=text) as raised:
        too_many(kind(text), held)
    error = raised.value.__cause__ or raised.value
    frame = list(traceback.walk_tb(error.__traceback__))[-1][0]
    assert isinstance(frame.f_locals["graph"], Graph)
    assert gone == []


def test_what_the_caller_was_handling_keeps_its_frames(emptied):
    held, gone = emptied
    try:
        failing(ValueError("of the caller"), held)
    except ValueError as own:
        with pytest.warns(MemoryWarning):
            try:
                failing(torch.OutOfMemoryError(OUT), held)
            except RuntimeError as error:
                assert error.__context__ is own
                fewer(2, error)
        assert held[0]() is not None
        assert held[1]() is None
    assert gone == [False]
