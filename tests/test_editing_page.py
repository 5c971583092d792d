"""What the page about editing shows is run: its Python on a toy model, its commands through the parser."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pullback.cli.options import Edit
from pullback.cli.run import parse
from pullback.edit import edit
from pullback.models import denoise, toy_denoiser

PAGE = (Path(__file__).parents[1] / "docs" / "editing.md").read_text()
LOADED = 'pullback.load("portraits")'


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """All names of the page, after its examples ran in order, in a folder with two pictures."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "pictures").mkdir()
    for i in range(2):
        values = np.random.default_rng(i).integers(0, 256, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(values).save(folder / "pictures" / f"face{i}.png")
    code = "\n".join(blocks("python"))
    assert code.count(LOADED) == 1
    found: dict = {"toy": toy_denoiser()}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(code.replace(LOADED, "pullback.load(toy)"), "docs/editing.md", "exec"), found)
    return {**found, "folder": folder}


def test_every_section_has_an_example_that_runs() -> None:
    sections = PAGE.split("\n## ")[1:]
    assert len(sections) == 12
    assert all("```python" in section for section in sections)


def test_scales_and_methods_do_what_the_page_says(names: dict) -> None:
    assert names["pictures"].shape == (3, 8, 8, 3)
    assert float(names["length"]) > 0
    assert names["moved"][1] < 1e-4 < 1e-1 * names["moved"][2]
    assert float(names["exact"].unit) == 0.5
    assert names["reach"].low <= 0 <= names["reach"].high
    plain = edit(names["model"], names["x"], names["f"].t, names["first"], [2], f=names["f"], unit=1.0, num_steps=10)
    for other in ("guided", "repaired"):
        assert not torch.allclose(names[other].x_t, plain.x_t, atol=1e-3), other
    aligned = (names["transported"].v * names["basis"].v[0]).sum()  # of the basis it came from
    assert float(aligned) == pytest.approx(1, abs=1e-3)


def test_masks_hold_what_they_cover(names: dict) -> None:
    moved = names["inside"].x_t[0] - names["x"]
    assert moved[:, 0, 0].abs().max() == 0
    assert moved.abs().max() > 0
    kept = names["kept"].x0
    assert torch.allclose(kept[0, :, :4], kept[1, :, :4], atol=1e-5)
    assert not torch.allclose(kept[0, :, 4:], kept[1, :, 4:], atol=1e-3)
    assert all(float(each.vector[:, :4].abs().max()) < 1e-6 for each in names["in_x"])
    assert [each.origin["mask_on"] for each in names["in_h"]] == ["h", "h"]
    assert 0 < float(names["place"].sum()) < 16  # the mouth is a small part of 8 x 8 places
    assert all(float((each.vector * (1 - names["place"])).abs().max()) < 1e-6 for each in names["mouth"])
    assert [each.origin["estimator"] for each in names["loco"].directions] == ["loco", "loco"]


def test_compositions_windows_boosts_and_injections(names: dict) -> None:
    model, x, t = names["model"], names["x"], names["f"].t
    assert names["both"].x0.shape == (1, 2, 3, 8, 8)
    assert abs(float(names["apart"].vector @ names["first"].vector)) < 1e-5
    plain = denoise(model, x[None], t, num_steps=10)
    for name, x0 in (("window", names["x0"]), ("boost", names["sharper"].x0[:1])):
        assert x0.shape == plain.shape
        assert not torch.allclose(x0, plain, atol=1e-3), name
    assert torch.allclose(names["shown"].x0[:1], plain, atol=1e-4)
    assert 0 < names["shown"].num_steps_injected < 10
    assert not torch.allclose(names["part"].x0, plain, atol=1e-3)


def test_folders_paths_records_and_presets(names: dict) -> None:
    edited = names["folder"] / "edited"
    assert sorted(path.name for path in edited.iterdir()) == ["face0.png", "face1.png"]
    assert (edited / "face1.png" / "edit.json").is_file()
    assert names["between"].shape == (5, 3, 8, 8)
    ways = {folder: (made.way, set(made.is_exact)) for folder, made in names["frames"].items()}
    assert ways == {
        "one": ("edit", {True}),
        "two": ("injection", {True}),
        "three": ("window", {True}),
        "four": ("composition", {True}),
    }
    assert (names["last"].scale, names["last"].is_exact) == (((4.0, -4.0),), (True,))
    assert float(names["published"].unit) == pytest.approx(0.1)
    assert names["anchor"] == "original"


def test_the_commands_are_understood() -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("pullback ")]
    assert len(lines) == 3
    for line in lines:
        options = parse(shlex.split(line, comments=True)[1:])
        assert isinstance(options, Edit)
        assert options.replay == ("--replay" in line)
