"""What the README shows is run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_ten_lines_of_python_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = next(code for code in re.findall(r"```python\n(.*?)```", README.read_text(), re.S) if "discover(" in code)
    fewer = block.replace("num_samples=32", "num_samples=3, num_held_out=2, rank=6, num_steps=4")
    assert fewer != block
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(fewer, names)
    assert names["basis"].v.shape == (10, 3, 64, 64)
    assert names["basis"].verified
    assert len(names["images"]) == 5
    assert (tmp_path / "here" / "directions.safetensors").is_file()
