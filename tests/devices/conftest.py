import pytest
import torch


@pytest.fixture(scope="session")
def device() -> torch.device:
    """A device that refuses what an accelerator refuses, on the CPU."""
    from tests.devices.simulated import simulated_device  # of a torch that has it; see test_devices.py

    return simulated_device()
