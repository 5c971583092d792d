"""The plan in run.json: what decides the bits of a basis comes back, and older files are read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from pullback.api.banked import open_bank
from pullback.bank import Bank
from pullback.bank.bases import plan_from, plan_record
from pullback.geometry import Plan
from pullback.geometry.cost import best_block

DEAR_ALONE = replace(
    Plan.fixed("double_backward", chunk=8), seconds_by_width=((1, 4.0), (4, 1.0 / 3), (8, 0.30000000000000004))
)


def test_the_width_of_the_block_comes_back_to_the_last_bit() -> None:
    again = plan_from(json.loads(json.dumps({**plan_record(DEAR_ALONE), "threads": 2})))
    assert again == DEAR_ALONE
    assert best_block(again, 1, 15) == best_block(DEAR_ALONE, 1, 15) > 1


def test_a_plan_of_an_older_run_is_read_and_has_no_widths() -> None:
    old = {"jvp_engine": "vmap", "vjp_engine": "loop", "chunk": 4, "dtype": "auto", "threads": 1}
    assert plan_from(old) == Plan.fixed("vmap", "loop", chunk=4)


def test_a_bank_of_discover_says_how_much_was_computed_together_and_keeps_its_first_plan(tmp_path: Path) -> None:
    assert open_bank(tmp_path, DEAR_ALONE, batch=5)[1] == DEAR_ALONE
    settings = Bank.open(tmp_path).settings
    assert (settings.group, settings.plan["threads"]) == (5, torch.get_num_threads())
    assert open_bank(tmp_path, Plan.fixed(), batch=2)[1] == DEAR_ALONE
