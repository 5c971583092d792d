"""What people see while they wait."""

import pytest

from pullback.cli.terminal import Bars


def test_what_was_there_already_says_nothing_about_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars() as bars:
        bars("comparison", 2, 4)
        assert "2/4  00:00 gone, ? left" in capsys.readouterr().err
        bars("comparison", 4, 4)
    assert "4/4" in capsys.readouterr().err
