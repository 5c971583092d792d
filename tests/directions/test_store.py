"""Law 32: directions come back with the same bits, and only for the map they came from."""

import dataclasses
import json

import pytest
import torch

from pullback.directions import Direction, load_directions, random_h, random_x, save_directions
from pullback.errors import FileFormatError, MismatchError, NumericalError, ShapeError
from pullback.files import read_safetensors, write_safetensors
from pullback.testing import ConvMap

ORIGIN = {"weights": "sha256:1", "layer": "mid_block", "t": 800, "pool": "none", "condition": "none", "cfg": 1.5}


@pytest.fixture
def directions():
    made = random_h(ConvMap(dtype=torch.float32), rank=3)
    figures = {"s": 0.1, "agreement": 1 / 3, "agreement_null": 0.2, "cluster": (0, 1), "merged": (2, 0)}
    return [dataclasses.replace(d, **figures, name="head turn" if d.index else "", origin=ORIGIN) for d in made]


@pytest.fixture
def path(tmp_path, directions):
    file = tmp_path / "directions.safetensors"
    save_directions(file, directions)
    return file


def test_law32_same_bits_and_fields(path, directions):
    for before, after in zip(directions, load_directions(path, expect=ORIGIN), strict=True):
        assert torch.equal(before.vector, after.vector)
        assert before.vector.dtype == after.vector.dtype
        for field in dataclasses.fields(Direction):
            if field.name != "vector":
                assert getattr(before, field.name) == getattr(after, field.name)


@pytest.mark.parametrize(
    ("name", "value"),
    [("weights", "sha256:2"), ("layer", "down"), ("t", 600), ("pool", "sum"), ("condition", "a cat")],
)
def test_law32_refuses_another_map_and_names_what_differs(path, name, value):
    with pytest.raises(MismatchError) as caught:
        load_directions(path, expect={**ORIGIN, name: value})
    assert f"{name}={value!r}; got {name}={ORIGIN[name]!r}; discover directions for this map" in str(caught.value)


def test_law32_every_difference_is_named(path):
    with pytest.raises(
        MismatchError, match=r"directions from layer='up', seed=3; got layer='mid_block', seed='nothing'"
    ):
        load_directions(path, expect={**ORIGIN, "layer": "up", "seed": 3})


def test_law32_override_marks_and_the_mark_stays(path, tmp_path):
    taken = load_directions(path, expect={**ORIGIN, "t": 600, "layer": "up"}, override=True)
    assert all(d.origin["used_in_spite_of"] == "layer, t" for d in taken)
    save_directions(tmp_path / "again.safetensors", taken)
    assert load_directions(tmp_path / "again.safetensors")[0].origin["used_in_spite_of"] == "layer, t"


def test_law32_no_pickle(path):
    content = path.read_bytes()
    assert b"pickle" not in content
    assert not content.startswith((b"\x80", b"PK"))


def test_override_without_a_difference_marks_nothing(path):
    assert "used_in_spite_of" not in load_directions(path, expect=ORIGIN, override=True)[0].origin


def test_directions_of_x_and_none_at_all(tmp_path):
    x = random_x(ConvMap(), rank=2)
    save_directions(tmp_path / "x.safetensors", x, origin={"scheduler": "ddim"})
    loaded = load_directions(tmp_path / "x.safetensors")
    assert loaded[1].vector.shape == (3, 8, 8)
    assert loaded[1].origin["scheduler"] == "ddim"
    save_directions(tmp_path / "none.safetensors", [])
    assert load_directions(tmp_path / "none.safetensors") == []


def test_errors_of_saving(tmp_path, directions):
    with pytest.raises(ShapeError, match=r"one space, shape and dtype; got H \(64,\) torch.float32; X \(3, 8, 8\)"):
        save_directions(tmp_path / "d.safetensors", [*directions, *random_x(ConvMap(), rank=1)])
    with pytest.raises(NumericalError, match="finite figures"):
        save_directions(tmp_path / "d.safetensors", [dataclasses.replace(directions[0], s=float("nan"))])


def records_of(path):
    tensors, metadata = read_safetensors(path)
    return tensors, metadata, json.loads(metadata["directions"])


def drop_field(records):
    del records[0]["s"]


def wrong_type(records):
    records[0]["name"] = 7


def nested_origin(records):
    records[0]["origin"]["layer"] = {"a": 1}


def missing_record(records):
    records.pop()


def unknown_field(records):
    records[0]["code"] = "x"


def unknown_space(records):
    records[0]["space"] = "Y"


def wrong_index(records):
    records[0]["cluster"] = ["0"]


@pytest.mark.parametrize(
    "damage", [drop_field, wrong_type, nested_origin, missing_record, unknown_field, unknown_space, wrong_index]
)
def test_hostile_records_are_refused(path, damage):
    tensors, metadata, records = records_of(path)
    damage(records)
    write_safetensors(path, tensors, {**metadata, "directions": json.dumps(records)})
    with pytest.raises(FileFormatError, match=r"directions\.safetensors needs"):
        load_directions(path)


@pytest.mark.parametrize("text", ["", "[", "{}", "[NaN]", "null", "[" * 100_000, '[{"s": Infinity}]'])
def test_hostile_json_is_refused(path, text):
    tensors, metadata, _ = records_of(path)
    write_safetensors(path, tensors, {**metadata, "directions": text})
    with pytest.raises(FileFormatError):
        load_directions(path)


def test_another_format_is_refused(path):
    tensors, metadata, _ = records_of(path)
    write_safetensors(path, tensors, {**metadata, "format": "pullback.directions/99"})
    with pytest.raises(FileFormatError, match=r"format 'pullback\.directions/1'"):
        load_directions(path)


def test_vectors_that_are_no_directions_are_refused(path):
    tensors, metadata, _ = records_of(path)
    write_safetensors(path, {"vectors": 2 * tensors["vectors"]}, metadata)
    with pytest.raises(FileFormatError, match="unit directions of X or H"):
        load_directions(path)
    write_safetensors(path, {"vectors": torch.ones(3, 64, dtype=torch.int32)}, metadata)
    with pytest.raises(FileFormatError, match="floating-point vectors"):
        load_directions(path)


def test_a_file_without_digest_is_refused(path):
    from safetensors.torch import save_file

    tensors, metadata, _ = records_of(path)
    save_file(tensors, path, metadata)
    with pytest.raises(FileFormatError, match="a 'sha256' digest in the header"):
        load_directions(path)
