"""The id of a unit: every ingredient changes it, nothing else does."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from pullback.bank.bases import unit_of
from pullback.bank.unit import Unit, digest_of_latent, seed_of, unit_from
from pullback.directions.masked_maps import MaskedInput, MaskedOutput
from pullback.directions.masks import Rectangle
from pullback.errors import FileFormatError, OptionError
from pullback.models import toy_denoiser

UNIT = Unit(
    weights="w",
    config="c",
    layer="mid_block",
    pool="none",
    t=800,
    condition="none",
    made={"scheduler": "s", "steps": 20, "seed": 7},
    x="d1",
    rank=8,
    tol=1e-3,
    solver="lanczos/1",
    details={"prediction": "epsilon"},
)
OTHERS = {
    "weights": "w2",
    "config": "c2",
    "layer": "mid_block.attn",
    "pool": "sum",
    "t": 799,
    "condition": "prompt",
    "made": {"scheduler": "s", "steps": 20, "seed": 8},
    "x": "d2",
    "mask": "m",
    "estimator": "dx0/dx",
    "rank": 9,
    "tol": 1e-4,
    "solver": "lanczos/2",
    "dtype": "float64",
    "details": {"prediction": "sample"},
}


def test_every_ingredient_is_tried() -> None:
    assert set(OTHERS) == {field.name for field in dataclasses.fields(Unit)}


@pytest.mark.parametrize("name", OTHERS)
def test_every_ingredient_changes_the_id_and_the_seed(name: str) -> None:
    other = dataclasses.replace(UNIT, **{name: OTHERS[name]})
    assert other.id != UNIT.id
    assert (other.seed == UNIT.seed) == (name == "x"), "a latent that is made here has its seed before it is there"


@pytest.mark.parametrize("change", ["scheduler", "steps", "seed", "image"])
def test_how_the_latent_was_made_changes_the_id(change: str) -> None:
    other = dataclasses.replace(UNIT, made={**UNIT.made, change: 99})
    assert other.id != UNIT.id
    assert other.key != UNIT.key


def test_what_means_the_same_has_the_same_id() -> None:
    again = dataclasses.replace(UNIT, t=800.0, made={"seed": 7, "steps": 20, "scheduler": "s"})
    assert again.id == UNIT.id
    assert dataclasses.replace(UNIT, t=-0.0).id == dataclasses.replace(UNIT, t=0).id
    assert unit_from(UNIT.record()).id == UNIT.id


def test_the_id_of_today_is_the_id_of_tomorrow() -> None:
    assert UNIT.id == "870cb02a97dcb6217c6e736007e5c22f"


def test_values_cannot_slip_from_one_field_into_the_next() -> None:
    ab = dataclasses.replace(UNIT, weights="ab", config="c")
    assert ab.id != dataclasses.replace(UNIT, weights="a", config="bc").id
    assert dataclasses.replace(UNIT, details={"a": 1}).id != dataclasses.replace(UNIT, details={"a": 1.0}).id
    assert dataclasses.replace(UNIT, made={"seed": 7}).id != dataclasses.replace(UNIT, made={"seed": "7"}).id


def test_a_latent_of_yours_is_known_by_its_digest_alone() -> None:
    given = dataclasses.replace(UNIT, made={})
    assert given.key == given.id
    assert dataclasses.replace(given, x="d2").key != given.key
    with pytest.raises(OptionError, match="the digest of x_t, or how it is made; got neither; give x="):
        dataclasses.replace(given, x="")


def test_the_digest_of_a_latent_sees_dtype_shape_and_every_bit() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    seen = {
        digest_of_latent(each)
        for each in (x, x.double(), x.reshape(3, 2), x + torch.eye(2, 3) * 1e-6, x.bfloat16(), x.mT.contiguous())
    }
    assert len(seen) == 6
    assert digest_of_latent(x.mT.contiguous().mT) == digest_of_latent(x)
    assert digest_of_latent(torch.zeros(0)) != digest_of_latent(torch.zeros(0, 2))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("t", math.nan),
        ("t", "800"),
        ("t", 10**400),
        ("made", {"seed": 10**400}),
        ("rank", 8.0),
        ("rank", True),
        ("tol", math.inf),
        ("weights", 3),
        ("made", {"seed": [1]}),
        ("made", {"seed": math.nan}),
        ("details", {1: "a"}),
        ("mask", None),
    ],
)
def test_what_has_no_canonical_form_is_refused(name: str, value: object) -> None:
    with pytest.raises(OptionError, match=rf"{name} of a unit as .*finite; got .*; strings and finite numbers"):
        dataclasses.replace(UNIT, **{name: value})


def test_records_with_other_fields_are_refused() -> None:
    record = UNIT.record()
    with pytest.raises(FileFormatError, match=r"other fields: .'extra'"):
        unit_from({**record, "extra": 1})
    with pytest.raises(FileFormatError, match=r"other fields: .'mask'"):
        unit_from({name: value for name, value in record.items() if name != "mask"})
    with pytest.raises(FileFormatError, match="rank of a unit"):
        unit_from({**record, "rank": "8"})


def test_seeds_fit_a_generator_and_depend_on_the_company() -> None:
    other = dataclasses.replace(UNIT, t=5)
    assert 0 <= UNIT.seed < 1 << 63
    assert seed_of([UNIT]) == UNIT.seed
    assert len({seed_of([UNIT, other]), seed_of([other, UNIT]), UNIT.seed, other.seed}) == 4


def test_maps_under_other_masks_or_around_other_latents_have_other_ids() -> None:
    den = toy_denoiser()
    f, (x, other) = den.feature_map(t_fraction=0.8), den.draw([0, 1])
    top, left = Rectangle(0, 0, 0.5, 1), Rectangle(0, 0, 1, 0.5)
    maps = [
        f,
        MaskedOutput(f, top),
        MaskedOutput(f, left),
        MaskedOutput(f, top, is_outside=True),
        MaskedInput(f, x, top),
        MaskedInput(f, x, left),
        MaskedInput(f, other, top),
    ]
    units = [unit_of(each, rank=2, tol=1e-3, x=x) for each in maps]
    assert len({unit.id for unit in units}) == len(maps)
    assert [unit.mask == "none" for unit in units] == [True, *[False] * 6]
    assert unit_of(MaskedInput(f, x.clone(), top), rank=2, tol=1e-3, x=x).id == units[4].id
