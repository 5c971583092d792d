"""A figure of hours goes on after its last finished part, and is then the same as one made at once."""

import json

import numpy as np
import pytest

import pullback
from pullback.analyses import Size, analyze
from pullback.analyses.catalogue import REVISIONS, load_figure
from pullback.analyses.parts import Part, Parts
from pullback.errors import FileFormatError
from pullback.models import toy_denoiser

SIZE = Size(3, 2, 5, 2, 1, 1, 2, (0.8, 0.4), 4, 2)


@pytest.fixture(scope="module")
def model():
    return pullback.load(toy_denoiser())


def numbered(some):
    return [
        Part([{"i": i, "value": i / 3}], {f"p-{i}": bytes([i])} if i < 2 else {}, {"a": np.full((2, 1), i / 3)})
        for i in some
    ]


def test_what_is_there_is_not_made_again(tmp_path):
    asked, told = [], []

    def make(some):
        asked.append(list(some))
        if 4 in some:
            raise KeyboardInterrupt
        return numbered(some)

    with pytest.raises(KeyboardInterrupt):
        Parts(tmp_path, "key").each(5, make, together=2, found=told.append)
    assert len(list(tmp_path.iterdir())) == 4
    parts = Parts(tmp_path, "key").each(5, lambda some: asked.append(list(some)) or numbered(some), together=2,
                                        found=told.append)  # fmt: skip
    assert asked == [[0, 1], [2, 3], [4], [4]]
    assert told == [0, 4]
    assert [part.rows for part in parts] == [part.rows for part in numbered(range(5))]
    assert [part.pictures for part in parts] == [part.pictures for part in numbered(range(5))]
    assert [part.arrays["a"].tolist() for part in parts] == [[[i / 3]] * 2 for i in range(5)]


def test_parts_of_another_key_do_not_count_and_without_a_folder_none_is_kept(tmp_path):
    told = []
    for folder, key in ((tmp_path, "one"), (tmp_path, "two"), (tmp_path, "two"), (None, "two"), (None, "two")):
        Parts(folder, key).each(2, numbered, together=0, found=told.append)
    assert told == [0, 0, 2, 0, 0]


def test_a_finished_figure_leaves_no_parts_but_what_it_does_not_know(tmp_path):
    parts = Parts(tmp_path / "parts", "key")
    parts.clear()
    parts.each(2, numbered, together=2, found=lambda num: None)
    parts.clear()
    assert not parts.folder.exists()
    parts.each(2, numbered, together=2, found=lambda num: None)
    (parts.folder / "note.txt").write_text("mine")
    parts.clear()
    assert [path.name for path in parts.folder.iterdir()] == ["note.txt"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"key": "key", "rows": 3, "pictures": {}, "arrays": {}, "num_products": 1, "seconds": 1}',
        '{"key": "key", "rows": [], "pictures": {"a": "!"}, "arrays": {}, "num_products": 1, "seconds": 1}',
        '{"key": "key", "rows": [], "pictures": {}, "arrays": {"a": ["x"]}, "num_products": 1, "seconds": 1}',
        '{"key": "key", "rows": [], "pictures": {}, "arrays": {}, "num_products": null, "seconds": 1}',
    ],
)
def test_a_damaged_part_is_named(tmp_path, text):
    (tmp_path / "part-0.json").write_text(text)
    with pytest.raises(FileFormatError, match=r"part-0.json needs a finished part of a figure; .*delete it"):
        Parts(tmp_path, "key").each(1, numbered, together=1, found=lambda num: None)


@pytest.mark.parametrize(("figure", "step"), [("paths", "paths"), ("masks", "three_ways"), ("estimators", "row")])
def test_a_killed_figure_goes_on_and_is_that_of_a_run_that_was_not(model, tmp_path, monkeypatch, figure, step):
    """Four of its five pairs or samples, or eight methods, are there when the fifth call comes; none is begun again."""
    module, called = load_figure(figure), []
    whole = getattr(module, step)

    def killed(*args, **how):
        called.append(step)
        if len(called) == 5:
            raise KeyboardInterrupt
        return whole(*args, **how)

    monkeypatch.setattr(load_figure("paths"), "MOST_PAIRS", 4)
    analyze(model, tmp_path / "whole", size=SIZE, only=[figure])
    monkeypatch.setattr(module, step, killed)
    with pytest.raises(KeyboardInterrupt):
        analyze(model, tmp_path / "killed", size=SIZE, only=[figure])
    assert len(list((tmp_path / "killed" / f"{figure}.parts").iterdir())) == 4
    called.clear()
    analyze(model, tmp_path / "killed", size=SIZE, only=[figure])
    assert len(called) == {"paths": 4, "masks": 1, "estimators": 4}[figure]  # kinds of paths; a sample; methods
    entries = []
    for name in ("whole", "killed"):
        folder = tmp_path / name
        entries.append(json.loads((folder / "analysis.json").read_text())["figures"][figure])
        assert not (folder / f"{figure}.parts").exists()
        assert (folder / "bank").exists() is (figure == "estimators")  # no other figure asks for those of the others
    assert (tmp_path / "whole" / f"{figure}.csv").read_text() == (tmp_path / "killed" / f"{figure}.csv").read_text()
    first, second = entries
    for name in ("findings", "pictures", "note", "num"):
        assert first[name] == second[name]
    assert len(first["pictures"]) == (figure != "estimators")
    least = 0.7 if figure == "estimators" else 0.9  # its bases are out of the bank, at no cost
    assert least < second["num_products"] / first["num_products"] < 1.5  # the plan was measured twice


def test_parts_that_a_finished_figure_left_are_taken_away(model, tmp_path):
    """A kill may come between the record of the figure and that."""
    analyze(model, tmp_path, size=SIZE, only=["samples"])
    (tmp_path / "samples.parts").mkdir()
    (tmp_path / "samples.parts" / "part-0.json").write_text("{}")
    analyze(model, tmp_path, size=SIZE, only=["samples"])
    assert not (tmp_path / "samples.parts").exists()


def test_a_table_whose_meaning_has_changed_since_is_made_again(model, tmp_path, monkeypatch):
    analyze(model, tmp_path, size=SIZE, only=["samples"])
    first = (tmp_path / "samples.csv").stat().st_mtime_ns
    monkeypatch.setitem(REVISIONS, "samples", 2)
    for is_again in (True, False):
        analyze(model, tmp_path, size=SIZE, only=["samples"])
        second = (tmp_path / "samples.csv").stat().st_mtime_ns
        assert (second != first) is is_again
        first = second
