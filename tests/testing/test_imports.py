import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["pullback.geometry", "pullback.directions", "pullback.testing", "pullback.files"])
def test_importing_a_package_does_not_import_torch(package):
    code = f"import sys, {package}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("package", ["geometry", "directions", "testing"])
def test_every_public_name_resolves_to_itself(package):
    import importlib

    module = importlib.import_module(f"pullback.{package}")
    for name in module.__all__:
        assert getattr(module, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = module.nonsense
