"""The table of definitions names only what exists, and has no empty cell; the pictures of the geometry can be drawn."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures" / "geometry"


def rows():
    lines = (ROOT / "docs" / "definitions.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in cells if row[0] != "definition" and not set(row[0]) <= {"-"}]


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


def resolve(name):
    """The object of a dotted name: the longest prefix that is a module, then attributes."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


def test_no_cell_is_empty():
    table = rows()
    assert len(table) > 50
    for row in table:
        assert len(row) == 4, row
        assert all(row), row


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_every_function_and_law_exists(row):
    functions, tests = names(row[1]), names(row[2])
    assert functions
    assert tests
    for name in functions:
        assert not isinstance(resolve(name), type(sys)), f"{name} is a module"
    for test in tests:
        path, function = test.split("::")
        assert f"def {function}(" in (ROOT / path).read_text(), test


def test_every_law_of_the_geometry_is_in_a_test_name():
    found = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    laws = {int(number) for number in re.findall(r"law(\d\d)", found)}
    assert laws >= {8, *range(11, 19), 21, 22, 23, 25, 27, 29, 30, 31}


def test_the_pictures_are_those_that_the_script_draws(tmp_path):
    script = ROOT / "tools" / "geometry_pictures.py"
    subprocess.run([sys.executable, "-W", "error", script, tmp_path], check=True, capture_output=True)
    drawn, kept = ({path.name for path in folder.glob("*.png")} for folder in (tmp_path, PICTURES))
    shown = set(re.findall(r"pictures/geometry/(\w+\.png)", (ROOT / "docs" / "geometry.md").read_text()))
    assert drawn == kept == shown
