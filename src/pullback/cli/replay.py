"""``pullback edit --replay``."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from pullback.cli.edit import sheet_bytes, target_of
from pullback.cli.loading import loaded
from pullback.cli.options import Edit
from pullback.cli.terminal import log, out
from pullback.errors import OptionError

GO_WITH_IT = ("folder", "out", "model", "device", "dtype", "replay")


def run_replay(options: Edit) -> int:
    """Makes recorded frames again, prints where they are; returns 1 if one has other bits than it had."""
    _check_alone(options)
    target = target_of(options)
    from pullback.edit.replay import replay_edit
    from pullback.files import write_atomic

    notes = notes_of(options.folder)
    source = options.model or notes.get("model", "")
    if not source:
        raise OptionError(
            wanted="--model", got=f"none, and {options.folder} names none", hint="give the model it was made with"
        )
    model = loaded(source, device=options.device, dtype=options.dtype)
    prompt = notes.get("prompt", "")
    made = replay_edit(options.folder, model, cond=model.cond(prompt=prompt) if prompt else None)
    write_atomic(target, sheet_bytes(model.to_image(made.x0), target))
    for index, (scale, is_exact) in enumerate(zip(made.scale, made.is_exact, strict=True)):
        log(f"frame {index}, scale {scale}: {'the same bits' if is_exact else 'other bits'}")
    out(str(target))
    return 0 if all(made.is_exact) else 1


def notes_of(folder: Path) -> dict[str, str]:
    """Returns what a record says of the model and the prompt.

    Raises:
        OptionError: If there is none.
        FileFormatError: If it is damaged.
    """
    from pullback.edit.record_file import RECORD, TENSORS, read_record

    if not (folder / RECORD).is_file() or not (folder / TENSORS).is_file():
        raise OptionError(
            wanted=f"a folder with {RECORD} and {TENSORS}",
            got=str(folder) + ("" if folder.is_dir() else ", which is no folder"),
            hint="`pullback edit` writes one beside each picture, called PICTURE.edit",
        )
    return read_record(folder)[0]["notes"]


def _check_alone(options: Edit) -> None:
    given = [
        f"--{each.name.replace('_', '-')}"
        for each in fields(Edit)
        if each.name not in GO_WITH_IT and getattr(options, each.name) != each.default
    ]
    if given:
        raise OptionError(
            wanted="--replay without the options of a new edit",
            got=", ".join(given),
            hint="the record says them; only --out, --model, --device and --dtype go with --replay",
        )
