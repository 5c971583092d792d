"""What belongs to another model, timestep or layer is refused wherever its shape alone would let it pass."""

import dataclasses

import pytest
import torch

from pullback.directions import (
    Direction,
    Rectangle,
    Task,
    agreement,
    agreement_null,
    estimate,
    local_basis,
    random_h,
    regional_directions,
    rotated,
)
from pullback.directions.origins import OVERRIDE_KEY
from pullback.edit import (
    edit,
    edit_in_window,
    inject,
    orthogonalised,
    record_composition,
    record_edit,
    record_window,
    replay_edit,
)
from pullback.edit.recipe import EditOptions
from pullback.edit.vectors import vectors_at
from pullback.edit.window import Window
from pullback.errors import MismatchError, ShapeError
from pullback.geometry import path_lengths
from pullback.models import toy_denoiser
from pullback.models.output_map import OutputMap

LOWER = Rectangle(0.5, 0.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def den():
    return toy_denoiser()


@pytest.fixture(scope="module")
def early(den):
    return den.feature_map(t=600)


@pytest.fixture(scope="module")
def late(den):
    return den.feature_map(t=200)


@pytest.fixture(scope="module")
def x(den):
    return den.draw([0, 1])


@pytest.fixture(scope="module")
def basis(late, x):
    return local_basis(late, x, rank=2)


def test_agreement_is_that_with_bases_of_the_same_map(early, late, basis):
    for measure in (agreement, agreement_null):
        with pytest.raises(MismatchError, match=r"this feature map \(t 200\); got t 600"):
            measure(random_h(early, rank=1)[0], [basis])
    assert 0 <= agreement(random_h(late, rank=1)[0], [basis]) <= 1


def test_a_direction_is_not_transported_to_a_basis_of_another_map(den, early, x, basis):
    u = random_h(early, rank=1)[0]
    with pytest.raises(MismatchError, match=r"bases of this feature map \(t 600\); got t 200"):
        vectors_at(early, x, [u], make="transport", basis=basis)
    with pytest.raises(MismatchError, match="bases of this feature map"):
        edit(den, x, 600, u, [1], f=early, make="transport", basis=basis, distance=5.0)


def test_a_path_is_measured_by_bases_of_its_map(early, late, x, basis):
    with pytest.raises(MismatchError, match=r"bases of this feature map \(t 600\); got t 200"):
        path_lengths(early, x, [basis])
    assert path_lengths(late, x, [basis]).semantic_length > 0


@pytest.mark.parametrize("combine", [lambda a, b: rotated([a, b]), lambda a, b: orthogonalised(a, [b])])
def test_directions_of_two_maps_are_not_mixed(early, late, combine):
    (u,), (w,) = random_h(early, rank=1), random_h(late, rank=1, generator=torch.Generator().manual_seed(1))
    with pytest.raises(MismatchError, match=r"t 600.*got t 200"):
        combine(u, w)
    elsewhere = dataclasses.replace(u, origin={**u.origin, "layer": "down_blocks.0"}, vector=w.vector)
    with pytest.raises(MismatchError, match=r"layer mid_block.*got layer down_blocks\.0"):
        combine(u, elsewhere)
    in_x = [Direction(v, "X", {**u.origin, "layer": layer}) for v, layer in zip(torch.eye(2), "ab", strict=True)]
    combine(*in_x)  # a vector of X is the same whatever layer it came from
    with pytest.raises(ShapeError, match="directions of one space, H of shape"):
        combine(u, in_x[0])


def test_the_outside_is_seen_by_a_map_of_the_same_model_and_t(den, early, x):
    with pytest.raises(MismatchError, match=r"to the outside of the model and t of f \(t 600\); got t 200"):
        regional_directions(early, x[0], LOWER, rank=1, outside=OutputMap(den, t=200, kind="x0"))
    other = OutputMap(toy_denoiser(seed=1), t=600, kind="x0")
    with pytest.raises(MismatchError, match=r"to the outside of the model and t of f \(weights"):
        regional_directions(early, x[0], LOWER, rank=1, outside=other)


def test_a_window_takes_a_direction_of_any_t_and_of_its_own_layer(den, late, x):
    (u,) = random_h(late, rank=1)
    how = {"f_at": lambda t: den.feature_map(t=t), "window": Window(0.7, 0.2), "num_steps": 3}
    assert edit_in_window(den, x, 600, u, 0.1, **how).shape == x.shape
    elsewhere = dataclasses.replace(u, origin={**u.origin, "layer": "down_blocks.0"})
    with pytest.raises(MismatchError, match=r"layer mid_block.*got layer down_blocks\.0"):
        edit_in_window(den, x, 600, elsewhere, 0.1, **how)
    assert edit_in_window(den, x, 600, elsewhere, 0.1, **how, allow_mismatch=True).shape == x.shape


def test_what_was_loaded_in_spite_of_another_t_is_mixed_in_any_order(early, late, basis):
    (u,), (w,) = random_h(early, rank=1), random_h(late, rank=1, generator=torch.Generator().manual_seed(1))
    known = dataclasses.replace(u, origin={**u.origin, OVERRIDE_KEY: "t"})
    assert len(rotated([known, w])) == len(rotated([w, known])) == 2
    assert orthogonalised(known, [w]).vector.shape == orthogonalised(w, [known]).vector.shape
    assert 0 <= agreement(known, [basis]) <= 1


def test_h_is_changed_in_a_layer_and_not_in_an_output(den, x):
    f = OutputMap(den, t=600, kind="x0")
    (u,) = random_h(f, rank=1)
    with pytest.raises(
        MismatchError, match="the feature map of a layer, whose h the injection changes; got a map to x0"
    ):
        inject(den, x, 600, u, [1], f=f, distance=5.0)


@pytest.mark.parametrize("kind", ["eps", "x0"])
def test_edits_along_directions_of_an_output_are_replayed(den, x, kind, tmp_path):
    f = OutputMap(den, t=600, kind=kind)
    name = "loco" if kind == "x0" else "eps"
    found = estimate(name, Task(den, x[0], f.t, rank=1, mask=LOWER if name == "loco" else None)).directions[0]
    done = record_edit(
        tmp_path / "edit", den, x[0], found, [-1, 0, 1], f=f, options=EditOptions(num_steps=2), distance=5.0
    )
    again = replay_edit(tmp_path / "edit", den)
    assert again.is_exact == (True, True, True)
    assert torch.equal(again.x0, done.x0)
    made = record_window(tmp_path / "window", den, x[0], found, [0, 0.5], f=f, window=Window(0.7, 0.2), num_steps=3)
    assert torch.equal(replay_edit(tmp_path / "window", den).x0, made)
    row = record_composition(tmp_path / "row", den, x[0], [found], [[1], [-2]], f=f, distance=5.0, num_steps=2)
    assert torch.equal(replay_edit(tmp_path / "row", den).x0, row.x0[0])
    with pytest.raises(MismatchError, match="weights"):
        replay_edit(tmp_path / "edit", toy_denoiser(seed=1))
