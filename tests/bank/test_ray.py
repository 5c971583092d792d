"""Ray itself, where it is installed: the scheduling is tested without it in test_crew.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is an extra: pip install 'pullback[ray]'")
LOOPBACK_ONLY = """
import socket, sys
import ray
from pullback.bank.ray_backend import RaySettings, _connect

_connect(ray, RaySettings(num_workers=1))
port = int(ray.get_runtime_context().gcs_address.rpartition(":")[2])
socket.create_connection(("127.0.0.1", port), timeout=5).close()
try:
    socket.create_connection(("127.0.0.2", port), timeout=5)  # reached as well by what listens on every address
except ConnectionRefusedError:
    ray.shutdown()
    sys.exit(0)
sys.exit(3)
"""
TOOL = Path(__file__).parents[2] / "tools" / "bank_ray.py"


def test_a_killed_worker_and_a_poison_unit_on_real_actors() -> None:
    done = subprocess.run(
        [sys.executable, str(TOOL), "worker_killed", "poison"], check=False, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "2 of 2 cases kept every promise" in done.stdout


def test_ray_on_this_machine_listens_on_the_loopback_address_alone() -> None:
    """Whoever reaches its ports runs code as you."""
    done = subprocess.run([sys.executable, "-c", LOOPBACK_ONLY], check=False, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
