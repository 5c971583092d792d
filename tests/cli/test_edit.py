"""`pullback edit` keeps what it takes to make its frames again, and `--replay` makes them."""

from __future__ import annotations

import errno
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pullback.cli import main
from pullback.edit import replay_edit

FILES = ["edit.json", "edit.safetensors"]


@pytest.fixture
def results(discovered: Path, tmp_path: Path) -> Path:
    """A copy of a finished folder that a test may change."""
    return Path(shutil.copytree(discovered, tmp_path / "results"))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file, but those of a bank."""
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith("bank")}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def edited(results: Path, *words: object) -> Path:
    """Edits sample 7 along direction 1; returns the folder of the record."""
    assert main(["edit", str(results), "--direction", "1", "--scale", "-1,0,1", "--seed", "7", *map(str, words)]) == 0
    return results / "edit-1-7.png.edit"


def replayed(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert main(["edit", "--replay", *map(str, words)]) == status
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_the_frames_of_a_sample_are_made_again(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = edited(results)
    assert "hint: `pullback edit --replay" in capsys.readouterr().err
    assert sorted(path.name for path in record.iterdir()) == FILES
    assert list(results.glob(".partial-*")) == []
    told = json.loads((record / "edit.json").read_text())
    assert (told["options"]["solver"], told["options"]["num_steps"]) == ("multistep", 8)
    assert told["scale"] == [-1.0, 0.0, 1.0]
    out, said = replayed(capsys, record)
    assert out == f"{record / 'replay.png'}\n"
    lines = [line for line in said.splitlines() if line.startswith("frame")]
    assert lines == [f"frame {i}, scale {s}: the same bits" for i, s in enumerate((-1.0, 0.0, 1.0))]
    assert np.array_equal(pixels(record / "replay.png"), pixels(results / "edit-1-7.png"))


def test_the_printed_command_makes_the_frames_of_another_precision_again(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["edit", str(results), "--direction", "1", "--seed", "7", "--scale", "0,1", "--steps", "10"]
    assert main([*words, "--dtype", "float64", "--allow-mismatch", "--out", str(tmp_path / "d.png")]) == 0
    (hint,) = (line for line in capsys.readouterr().err.splitlines() if "--replay" in line)
    (command,) = re.findall("`pullback edit --replay (.*)`", hint)
    assert command.endswith(" --dtype float64")
    _, said = replayed(capsys, *shlex.split(command))
    assert said.count("the same bits") == 2


def test_those_of_a_picture_are_walked_over_the_steps_of_its_inversion(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "me.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)).save(picture)
    target = tmp_path / "e.png"
    words = ["edit", str(results), "--direction", "0", "--image", str(picture), "--out", str(target), "--steps", "10"]
    assert main([*words, "--method", "x-guidance", "--normalise", "edited", "--scale", "-1,0,1"]) == 0
    record = tmp_path / "e.png.edit"
    options = json.loads((record / "edit.json").read_text())["options"]
    assert (options["solver"], options["num_steps"], options["method"]) == ("ddim", 8, "x_guidance")
    assert options["normalise"] == "edited"
    replayed(capsys, record, "--out", tmp_path / "again.png")
    assert np.array_equal(pixels(tmp_path / "again.png"), pixels(target))


def test_the_record_is_that_of_the_library(results: Path) -> None:
    from pullback import load

    record = edited(results)
    model = load(json.loads((record / "edit.json").read_text())["notes"]["model"])
    again = replay_edit(record, model, frames=[2])
    assert again.is_exact == (True,)
    assert np.array_equal(model.to_image(again.x0)[0], pixels(results / "edit-1-7.png")[:, 16:])


def test_a_frame_with_other_bits_is_told(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = edited(results)
    told = json.loads((record / "edit.json").read_text())
    told["frames"][1] = "0"
    (record / "edit.json").write_text(json.dumps(told))
    _, said = replayed(capsys, record, status=1)
    assert "frame 0, scale -1.0: the same bits\nframe 1, scale 0.0: other bits\nframe 2" in said


def test_a_model_that_moved_is_named_and_another_refused(
    results: Path, toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from diffusers import DDIMScheduler

    from pullback.models import toy_denoiser

    record = edited(results)
    told = json.loads((record / "edit.json").read_text())
    (record / "edit.json").write_text(json.dumps({**told, "notes": {}}))
    _, said = replayed(capsys, record, status=2)
    assert "error: wanted --model\n       got none, and" in said
    replayed(capsys, record, "--model", toy_folder)
    other = tmp_path / "other"
    toy_denoiser(seed=5).network.save_pretrained(other)  # pyright: ignore[reportCallIssue]
    DDIMScheduler(prediction_type="v_prediction").save_pretrained(other)
    before = contents(tmp_path)
    _, said = replayed(capsys, record, "--model", other, status=2)
    assert "error: wanted weights" in said
    _, said = replayed(capsys, record, "--model", toy_folder, "--dtype", "float64", status=2)
    assert "error: wanted a model in torch.float32\n       got torch.float64" in said
    assert contents(tmp_path) == before


def test_what_does_not_go_with_a_replay(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = edited(results)
    _, said = replayed(capsys, record, "--seed", "7", "--steps", "5", status=2)
    assert "error: wanted --replay without the options of a new edit\n       got --seed, --steps\nhint: " in said
    _, said = replayed(capsys, results, status=2)
    assert "error: wanted a folder with edit.json and edit.safetensors" in said
    (record / "edit.json").write_text("{")
    _, said = replayed(capsys, record, status=2)
    assert "needs a JSON object" in said
    assert main(["edit", str(results)]) == 2
    assert "error: wanted --direction, or --replay\n       got neither" in capsys.readouterr().err


def test_an_edit_that_fails_leaves_picture_and_record_as_they_were(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import pullback.cli.edit as command

    words = ["edit", str(results), "--direction", "1", "--seed", "7"]

    def is_full(*_: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    fresh = contents(results)
    with monkeypatch.context() as patch:  # after frames and record are made
        patch.setattr(command, "sheet_bytes", is_full)
        assert main(words) == 2
    assert contents(results) == fresh
    assert not (results / "edit-1-7.png.edit").exists()
    edited(results)
    before = contents(results)
    with monkeypatch.context() as patch:
        patch.setattr(command, "sheet_bytes", is_full)
        assert main([*words, "--scale", "0,1"]) == 2
    assert "No space left" in capsys.readouterr().err
    assert contents(results) == before
