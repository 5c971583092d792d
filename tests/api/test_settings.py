"""Settings are checked before anything is loaded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullback.api.settings import PageSettings, Settings
from pullback.errors import OptionError
from pullback.models.layers import pool_of


@given(st.integers(2, 400), st.integers(1, 400), st.integers(0, 50), st.integers(0, 50))
def test_discovery_and_held_out_seeds_never_meet(num: int, held_out: int, a: int, b: int) -> None:
    first = Settings(num_samples=num, num_held_out=held_out, seed=a)
    second = Settings(num_samples=num, num_held_out=held_out, seed=b)
    assert len(set(first.discovery_seeds)) == num
    assert len(set(first.held_out_seeds)) == held_out
    assert not set(first.discovery_seeds) & set(first.held_out_seeds)
    if a != b:
        assert not {*first.discovery_seeds, *first.held_out_seeds} & {*second.discovery_seeds, *second.held_out_seeds}


@given(st.integers(1, 20).map(lambda half: 2 * half + 1), st.floats(0.1, 100))
def test_scales_are_symmetric_about_the_unedited_sample(num: int, largest: float) -> None:
    page = PageSettings(num_stops=num, max_scale=largest)
    assert len(page.scales) == num
    assert page.scales[num // 2] == 0
    assert page.scales[-1] == pytest.approx(largest)
    assert all(a == pytest.approx(-b) for a, b in zip(page.scales, reversed(page.scales), strict=True))
    assert 0 < page.reference_scale <= largest + 1e-9


def test_the_default_page_has_at_most_500_frames() -> None:
    assert PageSettings().num_frames <= 500


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_samples": 1},
        {"num_samples": 600_000},
        {"rank": 0},
        {"t_fraction": 0},
        {"tol": 0.0},
        {"batch": 0},
        {"seed": -1},
    ],
)
def test_settings_without_meaning(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=r".*; got .*; .*"):
        Settings(**wrong)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("wrong", [{"num_stops": 4}, {"num_stops": 1}, {"max_scale": float("inf")}, {"num_people": 0}])
def test_pages_without_meaning(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=r".*; got .*; .*"):
        PageSettings(**wrong)  # pyright: ignore[reportArgumentType]


def test_pools_by_name() -> None:
    assert [pool_of(name) for name in ("none", "sum", "sum4")] == ["none", "sum", ("sum", 4)]
    for wrong in ("", "mean", "sum0", "sumx"):
        with pytest.raises(OptionError, match="pool"):
            pool_of(wrong)
