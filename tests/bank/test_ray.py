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
GPUS_APART = """
import os, sys, time
from dataclasses import dataclass
from pathlib import Path
import ray
from pullback.bank import Bank, RunSettings
from pullback.bank.ray_backend import LOOPBACK, RaySettings, _without_clusters, gpus_for, run_on_ray
from pullback.bank.toy import ToyWork, toy_units

@dataclass(frozen=True)
class Seeing(ToyWork):
    folder: Path = Path()

    def __call__(self):
        (self.folder / str(os.getpid())).write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
        return self

    def compute(self, units, /):
        until = time.monotonic() + 60
        while len(list(self.folder.iterdir())) < 2 and time.monotonic() < until:  # the other one starts as well
            time.sleep(0.05)
        return super().compute(units)

folder = Path(sys.argv[1])
(folder / "seen").mkdir()
quiet = {"include_dashboard": False, "log_to_driver": False}
with _without_clusters(ray):
    ray.init(num_cpus=3, num_gpus=2, _node_ip_address=LOOPBACK, **quiet)  # Ray schedules GPUs that it is told of
bank = Bank.make(folder / "bank", RunSettings(shard_size=4))
settings = RaySettings(gpus_per_worker=gpus_for("cuda"))
tally = run_on_ray(bank, toy_units(8), Seeing(folder=folder / "seen"), settings=settings)
print(tally.num_computed, *sorted(path.read_text() for path in (folder / "seen").iterdir()))
ray.shutdown()
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


def test_ray_gives_each_worker_a_gpu_of_its_own(tmp_path: Path) -> None:
    """Two GPUs that Ray is told of, three processors: two workers, and each sees another one."""
    command = [sys.executable, "-c", GPUS_APART, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["8", "0", "1"]
