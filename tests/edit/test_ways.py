"""Records of injections, windows of steps and compositions: their frames come back, and all that is kept matters."""

import json

import pytest
import torch

from pullback.directions import Direction, Rectangle
from pullback.edit import (
    Window,
    compose,
    edit_in_window,
    inject,
    record_composition,
    record_injection,
    record_window,
    replay_edit,
)
from pullback.errors import FileFormatError, MismatchError, OptionError, ShapeError
from pullback.models import Condition, toy_denoiser

T = 600


@pytest.fixture(scope="module")
def den():
    return toy_denoiser()


def direction(f, seed=0, space="H"):
    shape = (torch.Size(f.h_shape).numel(),) if space == "H" else f.x_shape
    vector = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return Direction(vector / vector.norm(), space, dict(f.origin), name=f"number {seed}", index=seed)


def record_of(folder):
    return json.loads((folder / "edit.json").read_text())


@pytest.mark.parametrize("mode", ["symmetric", "asymmetric"])
@pytest.mark.parametrize("mask", [None, Rectangle(0, 0, 0.5, 1)])
@pytest.mark.parametrize("pool", ["none", "sum"])
def test_an_injection_is_replayed_bit_for_bit(den, tmp_path, mode, mask, pool):
    f = den.feature_map(t=T, pool=pool)
    x, u = den.draw([3])[0], direction(f)
    how = {"f": f, "mode": mode, "window": Window(0.6, 0.2), "mask": mask, "distance": 5.0, "num_steps": 4}
    done = record_injection(tmp_path, den, x, u, [-2, 0, 30], **how)
    assert torch.equal(done.x0, inject(den, x, T, u, [-2, 0, 30], **how).x0)
    again = replay_edit(tmp_path, den)
    assert (again.is_exact, again.way, again.scale) == ((True,) * 3, "injection", (-2.0, 0.0, 30.0))
    assert torch.equal(again.x0, done.x0)
    last = replay_edit(tmp_path, den, frames=[2])
    assert (last.is_exact, last.scale) == ((True,), (30.0,))
    assert torch.equal(last.x0[0], done.x0[2])


def test_an_injection_keeps_the_distance_that_it_measured(den, f, tmp_path):
    done = record_injection(tmp_path, den, den.draw([3])[0], direction(f), [1], f=f, num_steps=2)
    assert record_of(tmp_path)["options"]["distance"] == done.amount / 0.1
    assert replay_edit(tmp_path, den).is_exact == (True,)


@pytest.mark.parametrize("space", ["H", "X"])
def test_steps_in_a_window_are_replayed_bit_for_bit(den, f, tmp_path, space):
    x, u, window = den.draw([3])[0], direction(f, space=space), Window(0.5, 0.2)
    done = record_window(tmp_path, den, x, u, [0.0, 0.5], f=f, window=window, num_steps=4)
    how = {"f_at": lambda t: den.feature_map(t=t), "window": window, "num_steps": 4}
    for length, x0 in zip([0.0, 0.5], done, strict=True):
        alone = edit_in_window(den, x[None], T, u, length, **how)[0]
        torch.testing.assert_close(x0, alone, atol=1e-4, rtol=0)
    again = replay_edit(tmp_path, den)
    assert (again.is_exact, again.way, again.scale) == ((True, True), "window", (0.0, 0.5))
    assert torch.equal(again.x0, done)


@pytest.mark.parametrize("num_without", [0, 1])
def test_a_composition_is_replayed_with_all_its_parts(den, f, tmp_path, num_without):
    x, parts = den.draw([3])[0], [direction(f), direction(f, 1, "X")]
    without = [direction(f, 2)][:num_without]
    rows = [[1, 0], [1.5, -2]]
    done = record_composition(tmp_path, den, x, parts, rows, f=f, without=without, distance=5.0, num_steps=2)
    plain = compose(den, x[None], T, parts, rows, f=f, without=without, distance=5.0, num_steps=2)
    assert torch.equal(done.x0, plain.x0)
    record = record_of(tmp_path)
    assert [(each["space"], each["name"]) for each in record["directions"]] == [("H", "number 0"), ("X", "number 1")]
    assert [each["index"] for each in record["without"]] == [2][:num_without]
    assert record["scale"] == [[1.0, 0.0], [1.5, -2.0]]
    again = replay_edit(tmp_path, den)
    assert (again.is_exact, again.way) == ((True, True), "composition")
    assert torch.equal(again.x0, done.x0[0])
    last = replay_edit(tmp_path, den, frames=[1])
    assert (last.is_exact, last.scale) == ((True,), ((1.5, -2.0),))


def recorded(way, den, f, folder):
    """A record of that way with two frames."""
    x, u = den.draw([3])[0], direction(f)
    if way == "injection":
        record_injection(folder, den, x, u, [5, 30], f=f, distance=5.0, num_steps=4)
    elif way == "window":
        record_window(folder, den, x, u, [0.5, 1.0], f=f, window=Window(), num_steps=4)
    else:
        without = [direction(f, 2)]
        record_composition(folder, den, x, [u, direction(f, 1)], [[1, 0], [0, 1]], f=f, without=without, num_steps=4)


OTHERS = {
    ("injection", "mode"): "asymmetric",
    ("injection", "window_start"): 0.5,
    ("injection", "window_end"): 0.3,
    ("injection", "distance"): 6.0,
    ("injection", "num_steps"): 3,
    ("window", "window_start"): 0.5,
    ("window", "window_end"): 0.3,
    ("window", "num_steps"): 3,
    ("composition", "num_steps"): 3,
}


@pytest.mark.parametrize(("way", "option"), OTHERS)
def test_every_option_that_is_kept_matters(den, f, tmp_path, way, option):
    recorded(way, den, f, tmp_path)
    record = record_of(tmp_path)
    assert record["options"][option] != OTHERS[way, option]
    record["options"][option] = OTHERS[way, option]
    (tmp_path / "edit.json").write_text(json.dumps(record))
    assert replay_edit(tmp_path, den).is_exact == (False, False)


@pytest.mark.parametrize("way", ["injection", "window", "composition"])
def test_mismatches_and_damage_are_refused_as_for_edits(den, f, tmp_path, way):
    recorded(way, den, f, tmp_path)
    with pytest.raises(MismatchError, match=r"weights .*; got weights .*; replay on the model, and with the condition"):
        replay_edit(tmp_path, toy_denoiser(seed=1))
    with pytest.raises(MismatchError, match=r"condition none; got condition .*; replay on the model"):
        replay_edit(tmp_path, den, cond=Condition({}))
    with pytest.raises(OptionError, match=r"frames from 0 to 1; got \[2\]; count them from 0"):
        replay_edit(tmp_path, den, frames=[2])
    good = record_of(tmp_path)
    one = "directions" if way == "composition" else "direction"
    origin = good["origin"]
    for damage, kind in (
        ({"way": "edit"}, FileFormatError),
        ({"scale": ["a", "b"]}, FileFormatError),
        ({"scale": [1, [2]]}, FileFormatError),
        ({one: [{}, {}]}, FileFormatError),
        ({"options": {"magic": 1}}, FileFormatError),
        ({"options": {**good["options"], "num_steps": True}}, FileFormatError),
        ({"origin": {**origin, "layer": "conv_in"}}, MismatchError),
        ({"origin": {**origin, "t": 500}}, MismatchError),
        ({"origin": {**origin, "pool": "sum"}}, (MismatchError, ShapeError)),
    ):
        (tmp_path / "edit.json").write_text(json.dumps({**good, **damage}))
        with pytest.raises(kind):
            replay_edit(tmp_path, den)
    (tmp_path / "edit.json").write_text(json.dumps(good))
    (tmp_path / "edit.safetensors").write_bytes((tmp_path / "edit.safetensors").read_bytes()[:-1])
    with pytest.raises(FileFormatError, match=r"the edit\.safetensors that was written with it; got another one"):
        replay_edit(tmp_path, den)


def test_what_cannot_be_made_is_not_recorded(den, f, tmp_path):
    x, u = den.draw([3])[0], direction(f)
    foreign = direction(den.feature_map(t=T, layer="conv_in"))
    with pytest.raises(MismatchError, match="layer mid_block"):
        record_window(tmp_path, den, x, foreign, [1], f=f, window=Window())
    with pytest.raises(MismatchError, match="layer mid_block"):
        record_injection(tmp_path, den, x, foreign, [1], f=f, distance=5.0)
    with pytest.raises(MismatchError, match="layer mid_block"):
        record_composition(tmp_path, den, x, [u], [[1]], f=f, without=[foreign])
    with pytest.raises(OptionError, match="at least one length of a step; got none"):
        record_window(tmp_path, den, x, u, [], f=f, window=Window())
    with pytest.raises(ShapeError, match="one latent of shape"):
        record_window(tmp_path, den, x[None], u, [1], f=f, window=Window())
    assert list(tmp_path.iterdir()) == []
