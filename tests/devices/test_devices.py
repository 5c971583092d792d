"""The tests on a simulated device run in a process of their own: torch takes a backend on once and for all."""

import subprocess
import sys
from pathlib import Path


def test_everything_stays_on_the_device_or_comes_back_first():
    path = Path(__file__).with_name("on_a_device.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)],
        cwd=path.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 passed" in done.stdout
