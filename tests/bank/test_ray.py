"""Ray itself, where it is installed: the scheduling is tested without it in test_crew.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is an extra: pip install 'pullback[ray]'")
TOOL = Path(__file__).parents[2] / "tools" / "bank_ray.py"


def test_a_killed_worker_and_a_poison_unit_on_real_actors() -> None:
    done = subprocess.run(
        [sys.executable, str(TOOL), "worker_killed", "poison"], check=False, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "2 of 2 cases kept every promise" in done.stdout
