"""Every command and every option says what it is for, and reads what people type."""

from __future__ import annotations

import dataclasses
from operator import attrgetter
from pathlib import Path

import pytest

from pullback.cli import main
from pullback.cli.discover import QUICK, command_of, page_of, settings_of
from pullback.cli.edit import scales_of, target_of
from pullback.cli.options import Discover, Edit, Label, Models
from pullback.cli.run import parse
from pullback.errors import OptionError

COMMANDS = {"discover": Discover, "edit": Edit, "label": Label, "models": Models}


def help_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words, "--help"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return " ".join(captured.out.replace("│", " ").split())


def test_the_top_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys)
    assert "pullback discover --out demo" in text
    for name, command in COMMANDS.items():
        assert f"• {name} " in text
        assert command.__doc__ is not None
        assert command.__doc__.strip().splitlines()[0].rstrip(".") in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    import tyro

    text = help_of(capsys, name)
    for field in dataclasses.fields(COMMANDS[name]):
        described = tyro._docstrings.get_field_docstring(COMMANDS[name], field.name, ())
        assert described, f"{name}: {field.name} has no help"
        assert described.rstrip().endswith("."), f"{name}: the help of {field.name} is no sentence"
        assert " ".join(described.split())[:50] in text


@pytest.mark.parametrize(
    "words", [["--bogus"], ["discover"], ["edit", "x"], ["label", "x", "one", "y"], ["frobnicate"], []]
)
def test_arguments_that_make_no_sense_exit_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "help" in captured.err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--quick", "--paper"], "wanted --quick or --paper\n       got both\nhint: leave one of them out"),
        (["--only", "magic"], "wanted a figure among local, timesteps, "),
        (["--only", "psd,magic"], "got 'magic'\nhint: leave --only out for all"),
    ],
)
def test_analyses_that_cannot_be_made(
    words: list[str], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["analyze", "--out", str(tmp_path / "out"), *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert part in captured.err
    assert not (tmp_path / "out").exists()


def test_discover_defaults() -> None:
    options = parse(["discover", "--out", "here"])
    assert isinstance(options, Discover)
    assert options == Discover(out=Path("here"))
    assert (settings_of(options).num_samples, settings_of(options).rank) == (32, 24)
    assert page_of(options).num_frames <= 500


def test_quick_is_small_where_nothing_else_was_asked_for() -> None:
    options = parse(["discover", "--out", "here", "--quick", "--rank", "9"])
    assert isinstance(options, Discover)
    assert settings_of(options).num_samples == QUICK["samples"]
    assert settings_of(options).rank == 9


def test_the_command_in_the_report_gives_the_same_options() -> None:
    words = [
        "discover",
        "my model",
        "--out",
        "a b",
        "--pool",
        "sum2",
        "--t-fraction",
        "0.6",
        "--quick",
        "--layer",
        "x.1",
    ]
    options = parse(words)
    assert isinstance(options, Discover)
    import shlex

    again = shlex.split(command_of(options))
    assert again[0] == "pullback"
    assert parse(again[1:]) == options


def test_scales_may_be_negative() -> None:
    options = parse(["edit", "here", "--direction", "3", "--scale", "-2,-1,0,1,2"])
    assert isinstance(options, Edit)
    assert scales_of(options.scale) == (-2, -1, 0, 1, 2)


@pytest.mark.parametrize("text", ["", "a", "1,,2", "nan", "inf,0", ",".join(["1"] * 65)])
def test_scales_that_are_no_numbers(text: str) -> None:
    with pytest.raises(OptionError, match=r"1 to 64 numbers .*; got .*; such as"):
        scales_of(text)


def test_the_default_file_of_an_edit_names_direction_and_sample() -> None:
    assert target_of(Edit(Path("d"), 3, seed=7)) == Path("d/edit-3-7.png")
    assert target_of(Edit(Path("d"), 3, image=Path("x/me.jpg"))) == Path("d/edit-3-me.png")
    with pytest.raises(OptionError, match="a file ending in"):
        target_of(Edit(Path("d"), 3, out=Path("y.gif")))


def test_importing_the_package_and_its_command_line_does_not_import_torch() -> None:
    import subprocess
    import sys

    program = (
        "import sys, pullback, pullback.cli, pullback.api, pullback.models, pullback.geometry, pullback.directions,"
        " pullback.edit, pullback.measure, pullback.portraits, pullback.cli.run, pullback.cli.discover;"
        "assert not {'torch', 'diffusers', 'transformers', 'numba', 'matplotlib'} & set(sys.modules),"
        " {'torch', 'diffusers', 'transformers', 'numba', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_name_of_the_package_is_there() -> None:
    import pullback

    for name in pullback.__all__:
        assert callable(getattr(pullback, name)) or isinstance(getattr(pullback, name), type)
    assert set(pullback.__all__) <= set(dir(pullback))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        attrgetter("nonsense")(pullback)
