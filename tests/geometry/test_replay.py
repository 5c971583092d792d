"""Recorded calls: when they are made, and when they are not used."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian

from pullback import feature_map
from pullback.geometry import JacobianAt, Plan, replay
from pullback.geometry.replay import Replays


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


ENGINES = ("vmap", "loop", "double_backward")


def check_products(engine, device):
    """Three products of each kind at one point, of which the last two are replayed, against the whole matrix."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.SiLU(), nn.Conv2d(4, 4, 3, 2, padding=1)]
    network = nn.Sequential(*layers).double().to(device)
    f = feature_map(network, layer="3", call=lambda net, x, t, cond: net(x), t=None, x_shape=(3, 8, 8))
    x, v = (torch.randn(2, *lead, 3, 8, 8, dtype=torch.float64).to(device) for lead in ((), (1,)))
    jac = JacobianAt(f, x, plan=Plan.fixed(engine, "loop"))
    dense = torch.stack([jacobian(lambda point: f(point[None])[0].flatten(), each).flatten(1) for each in x])
    u = v.flatten(2) @ dense.mT
    for scale in (1.0, 2.0, 3.0):
        torch.testing.assert_close(jac.jvp(scale * v), scale * u)
        torch.testing.assert_close(jac.vjp(scale * u), scale * (u @ dense).unflatten(-1, f.x_shape))


@pytest.mark.parametrize("engine", ENGINES)
def test_products_are_those_of_a_map_that_is_not_recorded(engine, recorded):
    check_products(engine, "cpu")
    assert len(recorded) == 2  # of J v and of J^T u
    assert all(each.num >= 2 for each in recorded)


# Not a test that is put off: only CUDA records kernels, so that without a GPU there is nothing to run here. When a
# recording is made, checked, used and dropped is tested above on every machine, with a stand-in for the recording.
@pytest.mark.skipif(not torch.cuda.is_available(), reason="only CUDA can record kernels, and this machine has no GPU")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_gpu_replays_what_it_computes(engine, monkeypatch):
    made, real = [], replay._recorded

    def spy(call, given, first):
        made.append(real(call, given, first))
        return made[-1]

    monkeypatch.setattr(replay, "_recorded", spy)
    check_products(engine, "cuda")
    assert len(made) == 2
    assert None not in made
