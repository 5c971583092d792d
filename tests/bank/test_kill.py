"""SIGKILL at every step of the write protocol, and at random times: nothing is lost that was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from pullback.bank import RunSettings
from pullback.bank.toy import STEPS, KillAt
from pullback.bank.trial import Outcome, strike, undisturbed

SETTINGS = RunSettings(shard_size=4, group=2)
NUM, NUM_TIMED = 14, 200
LEAVES = {
    "partial": (0, 0, 0),  # (half-written shards, shards without a line, torn journals)
    "written": (1, 0, 0),
    "synced": (1, 0, 0),
    "renamed": (0, 1, 0),
    "kept": (0, 1, 0),
    "journal": (0, 1, 0),
    "torn": (0, 1, 1),
    "journaled": (0, 0, 0),
    "done": (0, 0, 0),
}


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> str:
    return undisturbed(tmp_path_factory.mktemp("whole"), num=NUM, settings=SETTINGS)


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_a_step_loses_at_most_one_shard(step: str, tmp_path: Path, wanted: str) -> None:
    outcome = strike(tmp_path, num=NUM, settings=SETTINGS, wanted=wanted, kill=KillAt(step, 2))
    wreck = outcome.wreck
    assert outcome.was_killed
    assert (wreck.num_partial, wreck.num_strays, wreck.num_torn) == LEAVES[step]
    is_safe = STEPS.index(step) >= STEPS.index("renamed")
    assert wreck.num_stored == (8 if is_safe else 4)
    assert outcome.num_again == (0 if is_safe else 4), "done again is what was not on disk, and nothing else"
    assert (outcome.is_equal, outcome.is_sound, outcome.num_orphans) == (True, True, 0)


@pytest.fixture(scope="module")
def wanted_of_many(tmp_path_factory: pytest.TempPathFactory) -> str:
    return undisturbed(tmp_path_factory.mktemp("many"), num=NUM_TIMED, settings=SETTINGS)


def struck_in_mid_run(folder: Path, after: float, wanted: str) -> Outcome:
    """On a busy machine the run may be over before its time comes: then another one is struck, earlier."""
    for num_tries in range(6):
        place, soon = folder / str(num_tries), after / (1 + num_tries)
        outcome = strike(place, num=NUM_TIMED, settings=SETTINGS, wanted=wanted, after=soon)
        if outcome.was_killed and outcome.wreck.num_stored < NUM_TIMED:
            return outcome
    pytest.fail("six runs were over before they were struck")


@pytest.mark.parametrize("after", [0.0, 0.004, 0.02])
def test_a_kill_at_any_time(after: float, tmp_path: Path, wanted_of_many: str) -> None:
    outcome = struck_in_mid_run(tmp_path, after, wanted_of_many)
    assert outcome.holds(SETTINGS.shard_size), outcome
