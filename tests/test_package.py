"""What lies in the package: code, words and weights, and nothing that was computed with them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch

import pullback
from pullback.files import read_safetensors

ROOT = Path(pullback.__file__).parent
WEIGHTS = ROOT / "portraits" / "weights"
SUFFIXES = {".py", ".css", ".html", ".js", ".json", ".md", ".safetensors"}


def shipped() -> list[Path]:
    """All files but those that Python and numba leave behind when they run."""
    return [path for path in ROOT.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def test_only_code_words_and_weights_are_shipped() -> None:
    others = [path for path in shipped() if path.suffix not in SUFFIXES and path.name != "py.typed"]
    assert len(shipped()) > 100
    assert others == []


def test_weights_lie_in_their_folder_and_are_those_of_networks() -> None:
    files = [path for path in shipped() if path.suffix == ".safetensors"]
    network, oracle = "diffusion_pytorch_model.safetensors", WEIGHTS / "oracle.safetensors"
    assert oracle in files
    assert all(path == oracle or (path.name == network and path.is_relative_to(WEIGHTS)) for path in files)


def test_nothing_computed_with_the_weights_is_shipped() -> None:
    data = {path.name for path in shipped() if path.suffix == ".json" and path.is_relative_to(WEIGHTS)}
    assert data == {"model_index.json", "pullback.json", "scheduler_config.json", "config.json"}
    pages = {path.relative_to(ROOT).parent.name for path in shipped() if path.suffix == ".html"}
    assert pages == {"templates"}


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.rglob("*.safetensors")
    return read_safetensors(file)[0]


def assert_a_diffusers_folder(folder: Path, *, megabytes: float) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    assert index["unet"] == ["diffusers", "UNet2DModel"]
    assert (folder / "unet" / "config.json").exists()
    assert (folder / "scheduler" / "scheduler_config.json").exists()
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= megabytes * 1e6
    tensors = tensors_of(folder)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())
    assert sum(math.prod(tensor.shape) for tensor in tensors.values()) > 1e6  # a network, not a stand-in


def test_the_portrait_model_is_in_half_precision_and_small() -> None:
    assert_a_diffusers_folder(WEIGHTS / "portraits", megabytes=12)


def test_its_siblings_are_smaller_still() -> None:
    folders = {folder.name: folder for folder in (WEIGHTS / "siblings").glob("*-*")}
    assert folders.keys() == {"few-0", "few-1", "many-0", "many-1"}
    for folder in folders.values():
        assert_a_diffusers_folder(folder, megabytes=3)
