import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from pullback.directions import Direction, Rectangle
from pullback.edit import EditOptions, compose, composed_move, edit, edit_folder, record_edit, record_file, replay_edit
from pullback.errors import FileFormatError, MismatchError, NumericalError, OptionError, ShapeError
from pullback.models import toy_denoiser
from pullback.models.output_map import OutputMap

T = 600
STEPS = EditOptions(num_steps=2)


@pytest.fixture(scope="module")
def den():
    return toy_denoiser()


def direction(f, seed=0, space="H"):
    shape = (torch.Size(f.h_shape).numel(),) if space == "H" else f.x_shape
    vector = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return Direction(vector / vector.norm(), space, dict(f.origin), name="smile", index=4)


OPTIONS = {
    "plain": {},
    "guided": {"method": "x_guidance", "guidance_iterations": 2, "guidance_step": 0.5},
    "normalised": {"normalise": "edited"},
    "boosted": {"boost_share": 0.5, "boost_seed": 7},
    "masked": {"mask_in": "x0"},
    "multistep": {"solver": "multistep", "num_steps": 3},
}


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("space", ["H", "X"])
def test_any_frame_is_replayed_bit_for_bit(den, f, tmp_path, kind, space):
    options = dataclasses.replace(STEPS, **OPTIONS[kind])
    mask = Rectangle(0, 0, 0.5, 1) if kind == "masked" else None
    x = den.draw([3])[0]
    done = record_edit(
        tmp_path, den, x, direction(f, space=space), [-1, 0, 2], f=f, options=options, mask=mask, distance=5.0
    )
    whole = replay_edit(tmp_path, den)
    assert torch.equal(whole.x0, done.x0)
    assert whole.is_exact == (True, True, True)
    last = replay_edit(tmp_path, den, frames=[2])
    assert torch.equal(last.x0[0], done.x0[2])
    assert (last.is_exact, last.scale, last.way) == ((True,), (2.0,), "edit")


def test_it_is_the_edit_that_was_asked_for(den, f, tmp_path):
    x, u = den.draw([3])[0], direction(f)
    done = record_edit(tmp_path, den, x, u, [1], f=f, options=STEPS, distance=5.0)
    plain = edit(den, x, T, u, [1], f=f, distance=5.0, num_steps=2)
    assert torch.equal(done.x0, plain.x0)
    record = json.loads((tmp_path / "edit.json").read_text())
    assert record["origin"]["layer"] == "mid_block"
    assert record["direction"]["name"] == "smile"
    assert record["scale"] == [1.0]


def test_a_composed_row_is_replayed_as_one_direction(den, f, tmp_path):
    x, both = den.draw([3, 4]), [direction(f), direction(f, seed=1, space="X")]
    made = compose(den, x, T, both, [[1, 0], [1.5, -2]], f=f, distance=5.0, num_steps=2)
    along, length = composed_move(made, 1, f=f, sample=1, name="smile, turned")
    done = record_edit(tmp_path, den, x[1], along, [0, 1], f=f, options=STEPS, unit=length)
    assert torch.allclose(done.x_t[1], made.x_t[1, 1], atol=1e-5)
    assert torch.allclose(done.x0[1], made.x0[1, 1], atol=1e-4)
    again = replay_edit(tmp_path, den)
    assert again.is_exact == (True, True)
    assert torch.equal(again.x0, done.x0)
    with pytest.raises(NumericalError, match=r"a row of scales that moves x; got \(0\.0, 0\.0\)"):
        composed_move(dataclasses.replace(made, scales=((0.0, 0.0),)), 0, f=f)


def test_another_model_or_condition_is_refused(den, f, tmp_path):
    record_edit(tmp_path, den, den.draw([3])[0], direction(f), [1], f=f, options=STEPS, distance=5.0)
    with pytest.raises(MismatchError, match=r"weights .*; got weights .*; replay on the model, and with the condition"):
        replay_edit(tmp_path, toy_denoiser(seed=1))
    with pytest.raises(MismatchError, match=r"prediction v_prediction; got .*prediction epsilon"):
        replay_edit(tmp_path, toy_denoiser(prediction="epsilon"))


def test_damaged_records_are_refused(den, f, tmp_path):
    record_edit(tmp_path, den, den.draw([3])[0], direction(f), [1, 2], f=f, options=STEPS, distance=5.0)
    path = tmp_path / "edit.json"
    good = json.loads(path.read_text())
    for damage in (
        {**good, "format": "pullback.edit/9"},
        {**good, "extra": 1},
        {**good, "frames": []},
        {**good, "scale": ["1", "2"]},
        {**good, "options": {"magic": 1}},
        {**good, "direction": {}},
        {**good, "tensors": "0"},
        {**good, "way": "magic"},
        {**good, "way": "composition"},
        {**good, "notes": {"model": 3}},
        {**good, "options": {**good["options"], "num_steps": "2"}},
        {**good, "options": {**good["options"], "allow_mismatch": 1}},
        {**good, "direction": {**good["direction"], "space": "Y"}},
        {**good, "origin": {}},
        [],
    ):
        path.write_text(json.dumps(damage))
        with pytest.raises(FileFormatError, match=r"edit\.json needs"):
            replay_edit(tmp_path, den)
    path.write_text("{")
    with pytest.raises(FileFormatError, match="a JSON object"):
        replay_edit(tmp_path, den)
    path.write_text(json.dumps({**good, "frames": ["0", "0"]}))
    assert replay_edit(tmp_path, den).is_exact == (False, False)
    with pytest.raises(OptionError, match=r"frames from 0 to 1; got \[2\]; count them from 0"):
        replay_edit(tmp_path, den, frames=[2])


def test_a_record_of_before_there_were_ways_is_an_edit(den, f, tmp_path):
    done = record_edit(tmp_path, den, den.draw([3])[0], direction(f), [1], f=f, options=STEPS, distance=5.0)
    path = tmp_path / "edit.json"
    record = json.loads(path.read_text())
    assert record.pop("way") == "edit"
    for name in ("solver", "allow_mismatch"):
        del record["options"][name]
    path.write_text(json.dumps(record))
    again = replay_edit(tmp_path, den)
    assert (again.is_exact, again.way) == ((True,), "edit")
    assert torch.equal(again.x0, done.x0)


def test_notes_are_kept_and_compared_with_nothing(den, f, tmp_path):
    how = {"f": f, "options": STEPS, "distance": 5.0, "notes": {"model": "nowhere"}}
    record_edit(tmp_path, den, den.draw([3])[0], direction(f), [1], **how)
    assert json.loads((tmp_path / "edit.json").read_text())["notes"] == {"model": "nowhere"}
    assert replay_edit(tmp_path, den).is_exact == (True,)


def test_an_edit_in_spite_of_a_mismatch_is_replayed_in_spite_of_it(den, f, tmp_path):
    x, foreign = den.draw([3])[0], direction(toy_denoiser(seed=1).feature_map(t=T))
    with pytest.raises(MismatchError, match="weights"):
        record_edit(tmp_path, den, x, foreign, [1], f=f, options=STEPS, distance=5.0)
    assert not (tmp_path / "edit.json").exists()
    options = dataclasses.replace(STEPS, allow_mismatch=True)
    record_edit(tmp_path, den, x, foreign, [1], f=f, options=options, distance=5.0)
    assert replay_edit(tmp_path, den).is_exact == (True,)


def test_another_precision_is_refused(den, f, tmp_path):
    record_edit(tmp_path, den, den.draw([3])[0], direction(f), [1], f=f, options=STEPS, distance=5.0)
    with pytest.raises(MismatchError, match=r"a model in torch\.float32; got torch\.float64; load it in the precision"):
        replay_edit(tmp_path, toy_denoiser(dtype=torch.float64))


def test_a_record_that_cannot_be_written_leaves_the_old_one(den, f, tmp_path, monkeypatch):
    x = den.draw([3])[0]
    old = record_edit(tmp_path, den, x, direction(f), [1], f=f, options=STEPS, distance=5.0)

    def is_full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(record_file, "write_json", is_full)
        with pytest.raises(OSError, match="No space left"):
            record_edit(tmp_path, den, x, direction(f), [2], f=f, options=STEPS, distance=5.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edit.json", "edit.safetensors"]
    again = replay_edit(tmp_path, den)
    assert (again.is_exact, again.scale) == ((True,), (1.0,))
    assert torch.equal(again.x0, old.x0)


def test_a_latent_in_another_layout_is_replayed_bit_for_bit(den, f, tmp_path):
    x = den.draw([3]).contiguous(memory_format=torch.channels_last)[0]  # as an inverted picture may lie
    assert not x.is_contiguous()
    guided = dataclasses.replace(STEPS, method="x_guidance", guidance_iterations=16, normalise="edited")
    record_edit(tmp_path, den, x, direction(f), [-1, 1], f=f, options=guided, distance=5.0)
    assert replay_edit(tmp_path, den).is_exact == (True, True)


def test_a_batch_of_latents_is_refused(den, f, tmp_path):
    with pytest.raises(ShapeError, match=r"one latent of shape \(3, 8, 8\); got \(2, 3, 8, 8\); a record is of one"):
        record_edit(tmp_path, den, den.draw([3, 4]), direction(f), [1], f=f, options=STEPS, distance=5.0)


def pictures(folder, num=2):
    folder.mkdir()
    for i in range(num):
        values = np.random.default_rng(i).integers(0, 256, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(values).save(folder / f"face{i}.png")


def test_a_folder_of_pictures(den, f, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    pictures(source)
    (source / "broken.png").write_bytes(b"no picture")
    (source / "notes.txt").write_text("no picture either")
    seen = []
    results = edit_folder(
        den, source, out, direction(f), [0, 2], f=f, options=STEPS, distance=5.0, progress=lambda *at: seen.append(at)
    )
    assert [each.name for each in results] == ["broken.png", "face0.png", "face1.png"]
    assert results[0].problem.startswith("UnidentifiedImageError")
    assert results[0].folder is None
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for each in results[1:]:
        assert each.folder is not None
        assert sorted(p.name for p in each.folder.iterdir()) == [
            "edit.json",
            "edit.safetensors",
            "frame_00.png",
            "frame_01.png",
        ]
        again = replay_edit(each.folder, den)
        assert again.is_exact == (True, True)
        frame = np.asarray(Image.open(each.folder / "frame_01.png"))
        assert np.array_equal(frame, den.to_image(again.x0)[1])
        assert each.change > 0
        assert each.is_lost == (each.round_trip > each.change)


def test_a_folder_is_edited_along_a_direction_of_an_output_and_replayed(den, tmp_path):
    f = OutputMap(den, t=T, kind="x0")
    pictures(tmp_path / "in")
    along = direction(den.feature_map(t=T), space="X")
    found = dataclasses.replace(along, origin=dict(f.origin))
    for each in edit_folder(den, tmp_path / "in", tmp_path / "out", found, [1], f=f, options=STEPS, distance=5.0):
        assert each.folder is not None
        assert replay_edit(each.folder, den).is_exact == (True,)


def test_a_second_run_does_only_what_is_missing(den, f, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    pictures(source)
    edit_folder(den, source, out, direction(f), [1], f=f, options=STEPS, distance=5.0)
    (out / "face1.png" / "edit.json").unlink()
    kept = (out / "face0.png" / "frame_00.png").stat().st_mtime_ns
    results = edit_folder(den, source, out, direction(f), [1], f=f, options=STEPS, distance=5.0)
    assert results[0].round_trip is None
    assert results[1].round_trip is not None
    assert (out / "face0.png" / "frame_00.png").stat().st_mtime_ns == kept


def test_frames_of_another_edit_are_not_passed_off_as_this_one(den, f, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    pictures(source, num=1)

    def again(u, scale, **rest):
        return edit_folder(den, source, out, u, scale, **{"f": f, "options": STEPS, "distance": 5.0} | rest)[0]

    assert again(direction(f), [1]).problem == ""
    kept = (out / "face0.png" / "edit.json").read_bytes()
    for found, name in (
        (again(direction(f, seed=1), [1]), "vector"),
        (again(direction(f), [2]), "scale"),
        (again(direction(f), [1], options=EditOptions(num_steps=3)), "options"),
        (again(direction(f), [1], mask=Rectangle(0, 0, 0.5, 1)), "mask"),
    ):
        assert found.problem == f"the same edit; got another {name}; write to another folder"
        assert found.folder is None
    assert (out / "face0.png" / "edit.json").read_bytes() == kept
    record = json.loads(kept)
    del record["way"], record["options"]["solver"], record["options"]["allow_mismatch"]  # as older versions wrote it
    (out / "face0.png" / "edit.json").write_text(json.dumps(record))
    assert again(direction(f), [1]).problem == ""
    (out / "face0.png" / "edit.json").write_text("{")
    assert again(direction(f), [1]).problem.startswith("FileFormatError")


def test_folders_without_pictures_are_refused(den, f, tmp_path):
    for source in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(OptionError, match=r"a folder with \.png, \.jpg, \.jpeg files, other than the one to write"):
            edit_folder(den, source, tmp_path / "out", direction(f), [1], f=f, distance=5.0)
