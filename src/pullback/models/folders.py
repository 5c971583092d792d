"""Reading model folders and hub ids, without ever running code of theirs."""

import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import diffusers
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.utils.import_utils import is_accelerate_available

from pullback.errors import ModelError

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_SAFE: dict[str, Any] = {"use_safetensors": True, "low_cpu_mem_usage": is_accelerate_available()}


def shipped_folders() -> dict[str, Path]:
    """Return name -> folder of the models that come with the package."""
    shipped = Path(str(resources.files("pullback") / "portraits" / "weights"))
    folders = sorted(shipped.iterdir()) if shipped.is_dir() else []
    return {folder.name: folder for folder in folders if folder.is_dir() and _is_model(folder)}


def _is_model(folder: Path) -> bool:
    return any(
        (folder / entry).is_file()
        for entry in ("model_index.json", "config.json", "unet/config.json", "transformer/config.json")
    )


def folder_of(source: str | Path) -> Path | None:
    """Return the folder meant by ``source``, or None for a hub id.

    Raises:
        ModelError: If it is neither, or the folder holds no model.
    """
    if str(source) in shipped_folders():
        return shipped_folders()[str(source)]
    folder = Path(source)
    if folder.is_dir():
        if _is_model(folder):
            return folder
        raise ModelError(
            wanted="a folder with model_index.json or config.json",
            got=str(folder),
            hint="save the model with save_pretrained",
        )
    if isinstance(source, str) and _HUB_ID.fullmatch(source):
        return None
    raise ModelError(
        wanted=f"a shipped model ({', '.join(shipped_folders()) or 'none here'}), a folder, or a hub id owner/name",
        got=f"{str(source)!r}",
        hint="`pullback models` lists what is here; a path must exist",
    )


def settings_of(folder: Path | None) -> Mapping[str, Any]:
    """Return what the folder's ``pullback.json`` says; nothing if there is none."""
    path = None if folder is None else folder / "pullback.json"
    return _read_json(path) if path is not None and path.is_file() else {}


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(wanted=f"readable JSON in {path}", got=str(error), hint="save the model again") from error
    if not isinstance(content, dict):
        raise ModelError(wanted=f"a JSON object in {path}", got=type(content).__name__, hint="save the model again")
    return content


def from_hub(name: str, variant: str | None) -> Any:
    """Return the pipeline of a hub id; tries the network, unless it is cached and the hub is offline.

    Raises:
        ModelError: If it cannot be had as safetensors.
    """
    try:
        return DiffusionPipeline.from_pretrained(name, variant=variant, **_SAFE)
    except (OSError, ValueError) as error:
        raise ModelError(
            wanted=f"the pipeline {name} from the hub, as safetensors",
            got=_first_line(error),
            hint="check the name and the network, or download it and give the folder",
        ) from error


def from_folder(folder: Path, scheduler: object, variant: str | None) -> Any:
    """Return the pipeline in ``folder``, or its (network, scheduler); never tries the network.

    Raises:
        ModelError: If a part is missing, is no safetensors, or would need code of the folder's own.
    """
    try:
        if (folder / "model_index.json").is_file():
            _refuse_code(folder)
            return DiffusionPipeline.from_pretrained(folder, local_files_only=True, variant=variant, **_SAFE)
        part = next(
            (folder / part for part in ("unet", "transformer") if (folder / part / "config.json").is_file()), folder
        )
        network = _class_in(part / "config.json").from_pretrained(part, local_files_only=True, variant=variant, **_SAFE)
        return network, scheduler or _scheduler_in(folder)
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(
            wanted=f"a diffusers model with safetensors in {folder}",
            got=_first_line(error),
            hint="save it with save_pretrained (safetensors is its default)",
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _refuse_code(folder: Path) -> None:
    """Raise if the pipeline, or a part of it, is defined by code in the folder."""
    index = _read_json(folder / "model_index.json")
    parts = [value[0] for value in index.values() if isinstance(value, list) and value and isinstance(value[0], str)]
    inside = [
        part for part in parts if part not in ("diffusers", "transformers") and not hasattr(diffusers.pipelines, part)
    ]
    if not isinstance(index.get("_class_name"), str) or inside:
        raise ModelError(
            wanted="a pipeline of diffusers' own classes",
            got=f"code of its own ({', '.join(inside) or index.get('_class_name')})",
            hint="build the pipeline yourself and pass the object",
        )


def _class_in(config: Path) -> Any:
    name = _read_json(config).get("_class_name")
    found = getattr(diffusers, name, None) if isinstance(name, str) else None
    if not hasattr(found, "from_pretrained"):
        raise ModelError(
            wanted=f"a diffusers class named in {config}",
            got=f"_class_name = {name!r}",
            hint="load it yourself and use wrap_module",
        )
    return found


def _scheduler_in(folder: Path) -> Any:
    for part in (folder / "scheduler", folder):
        if (part / "scheduler_config.json").is_file():
            return _class_in(part / "scheduler_config.json").from_pretrained(part, local_files_only=True)
    raise ModelError(
        wanted=f"scheduler_config.json in {folder}",
        got="a network alone",
        hint="pass scheduler=DDIMScheduler(...), with its training betas and prediction type",
    )
