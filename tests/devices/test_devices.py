"""The tests on a simulated device run in a process of their own: torch takes a backend on once and for all."""

import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

SETUP = "_setup_privateuseone_for_python_backend"


# Not a test that is put off: the device is simulated by a backend written in Python, and older torch (pyproject allows
# 2.6) has no way to register one, so that there is nothing to run there. The torch that constraints.txt pins has it:
# `make test` and CI always run this. The test below checks that it is this lack that skips it.
@pytest.mark.skipif(
    not hasattr(backend_registration, SETUP), reason=f"this torch has no backends written in Python ({SETUP})"
)
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


def test_a_torch_without_such_backends_skips_it_and_says_why():
    """The oldest that pyproject.toml allows may lack what the simulation is built on."""
    older = (
        "import sys, pytest\n"
        "from torch.utils import backend_registration\n"
        f"if hasattr(backend_registration, {SETUP!r}): del backend_registration.{SETUP}\n"
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '-k', 'everything', sys.argv[1]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", older, __file__],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 skipped" in done.stdout
    assert f"no backends written in Python ({SETUP})" in done.stdout
