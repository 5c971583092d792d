"""What tests share: one thread, no network, a tiny world to discover in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real diffusers U-Net at toy size with its scheduler, saved as a folder."""
    from diffusers import DDIMScheduler

    from pullback.models import toy_denoiser

    folder = tmp_path_factory.mktemp("toy")
    toy_denoiser().network.save_pretrained(folder)  # pyright: ignore[reportCallIssue]
    DDIMScheduler(prediction_type="v_prediction").save_pretrained(folder)
    return folder


TINY = ("--samples", "3", "--held-out", "2", "--rank", "3", "--directions", "2", "--people", "2", "--max-scale", "2")


@pytest.fixture(scope="session")
def tiny_options() -> tuple[str, ...]:
    """Options of `pullback discover` that take a second or two on the toy."""
    return TINY


@pytest.fixture(scope="session")
def discovered(toy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that `pullback discover` wrote for the toy; to be read only."""
    from pullback.cli import main

    out = tmp_path_factory.mktemp("discovered")
    assert main(["discover", str(toy_folder), "--out", str(out), *TINY]) == 0
    return out
