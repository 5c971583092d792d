import pytest
import torch

from tests.devices.simulated import simulated_device


@pytest.fixture(scope="session")
def device() -> torch.device:
    """A device that refuses what an accelerator refuses, on the CPU."""
    return simulated_device()
