"""Recorded calls: when they are made, and when they are not used."""

from __future__ import annotations

import pytest
import torch

from pullback.geometry import JacobianAt, Plan, replay
from pullback.geometry.replay import Replays
from pullback.testing import ConvMap


class Recording:
    """A recording that runs the call again, as a GPU does with the kernels of it."""

    def __init__(self, call, given):
        self.call, self.num = call, 0
        call(given)

    def __call__(self, given):
        self.num += 1
        return self.call(given)


@pytest.fixture
def recorded(monkeypatch):
    """Recordings that were made, on whichever device."""
    made = []

    def make(call, given):
        made.append(Recording(call, given))
        return made[-1]

    monkeypatch.setattr(replay, "is_recordable", lambda given: True)
    monkeypatch.setattr(replay, "_Recording", make)
    return made


def test_a_call_is_recorded_when_its_shape_comes_again_and_replayed_from_then_on(recorded):
    replays = Replays()
    for num in range(1, 5):
        x = torch.full((3,), float(num))
        torch.testing.assert_close(replays(lambda x: 2 * x, x), 2 * x)
    assert len(recorded) == 1
    assert recorded[0].num == 1 + 3  # one that checks it, and three calls of four
    replays(lambda x: 2 * x, torch.ones(4))
    assert len(recorded) == 1


def test_a_recording_that_makes_something_else_is_not_used(recorded):
    calls = []

    def forgetful(x):
        calls.append(x)
        return x if len(calls) != 3 else 2 * x  # the third call is the check of the recording

    replays = Replays()
    assert all(torch.equal(replays(forgetful, torch.ones(2)), torch.ones(2)) for _ in range(3))
    assert recorded[0].num == 1


def test_what_cannot_be_recorded_runs_as_it_is(monkeypatch):
    def refuse(call, given):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(replay, "is_recordable", lambda given: True)
    monkeypatch.setattr(replay, "_Recording", refuse)
    replays = Replays()
    assert all(torch.equal(replays(torch.square, x), x**2) for x in torch.arange(8.0).reshape(4, 2))


@pytest.mark.parametrize("engine", ["vmap", "loop", "double_backward"])
def test_products_are_those_of_a_map_that_is_not_recorded(engine, recorded):
    f, x = ConvMap(), torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    jac = JacobianAt(f, x, plan=Plan.fixed(engine, "loop"))
    dense = jac.dense()
    v = torch.randn(2, 1, *f.x_shape, generator=torch.Generator().manual_seed(1)).double()
    for scale in (1.0, 2.0, 3.0):
        torch.testing.assert_close(jac.jvp(scale * v), scale * (v.flatten(2) @ dense.mT))
    assert recorded


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, which records")
@pytest.mark.parametrize("engine", ["vmap", "loop", "double_backward"])
def test_a_gpu_replays_what_it_computes(engine):
    f = ConvMap().to("cuda")
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double().cuda()
    jac = JacobianAt(f, x, plan=Plan.fixed(engine, "loop"))
    dense = jac.dense()
    v = torch.randn(2, 1, *f.x_shape, dtype=torch.float64, device="cuda")
    for scale in (1.0, 2.0, 3.0):
        torch.testing.assert_close(jac.jvp(scale * v), scale * (v.flatten(2) @ dense.mT))
        torch.testing.assert_close(jac.vjp(scale * jac.jvp(v)), scale * (jac.jvp(v) @ dense).unflatten(-1, f.x_shape))
