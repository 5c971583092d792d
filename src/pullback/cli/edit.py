"""``pullback edit``."""

from __future__ import annotations

import io
import math
import shlex
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pullback.cli.loading import loaded
from pullback.cli.options import Edit
from pullback.cli.terminal import hint, out
from pullback.errors import OptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pullback.measure.report_data import ReportData

MAX_SCALES = 64
FORMATS = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}


def run_edit(options: Edit) -> None:
    """Edits one sample or picture, prints where the result is."""
    if options.direction is None:
        raise OptionError(
            wanted="--direction, or --replay", got="neither", hint="such as --direction 3; `pullback edit --help`"
        )
    scales = scales_of(options.scale)
    if options.seed is not None and options.image is not None:
        raise OptionError(
            wanted="--seed or --image", got="both", hint="a seed edits a sample, an image file a picture of yours"
        )
    target = target_of(options)
    picture = None if options.image is None else read_image(options.image)
    from pullback.api.discovery import load_discovery, pick
    from pullback.files import write_atomic

    directions, report = load_discovery(options.folder)
    direction = pick(directions, options.direction)

    source = options.model or report.model
    model = loaded(source, device=options.device, dtype=options.dtype)
    prompt = str(report.settings.get("prompt") or "")
    seed = None if picture is not None else seed_of(options, report)
    if picture is None and options.seed is None:
        hint(f"sample {seed} is shown; --seed N takes another, --image FILE a picture of yours")
    with results_of(target) as (shown, record):
        frames = model.edit(
            direction=direction,
            scale=scales,
            seed=seed,
            image=picture,
            method="x_guidance" if options.method == "x-guidance" else "step",
            normalise=options.normalise,
            num_steps=options.steps,
            cond=model.cond(prompt=prompt) if prompt else None,
            allow_mismatch=options.allow_mismatch,
            record=record,
            notes={"model": source, "prompt": prompt},
        )
        write_atomic(shown, sheet_bytes(np.stack([np.asarray(frame) for frame in frames]), target))
    out(str(target))
    told = {"device": options.device, "dtype": options.dtype}
    how = "".join(f" --{name} {value}" for name, value in told.items() if value != getattr(Edit, name))
    hint(f"`pullback edit --replay {shlex.quote(str(record_of(target)))}{how}` makes these frames again")


def record_of(target: Path) -> Path:
    """Returns the folder beside a picture that keeps what it takes to make it again."""
    return target.with_name(f"{target.name}.edit")


@contextmanager
def results_of(target: Path) -> Generator[tuple[Path, Path]]:
    """A file for the picture and a folder for its record; both take their places when the block ends well."""
    from pullback.api.discovery import staged

    record = record_of(target)
    try:
        with staged(target.parent) as shown, staged(record) as kept:
            yield shown / target.name, kept
    finally:
        with suppress(OSError):  # it is not empty unless nothing came of it
            record.rmdir()


def sheet_bytes(frames: NDArray[np.uint8], target: Path) -> bytes:
    """Returns frames `(S, H, W, 3)` side by side as a picture file, in the format that the name asks for."""
    from pullback.measure.report_frames import contact_sheet

    buffer = io.BytesIO()
    contact_sheet(frames, columns=len(frames)).save(buffer, format=FORMATS[target.suffix.lower()])
    return buffer.getvalue()


def scales_of(text: str, *, example: str = "--scale -8,-4,0,4,8") -> tuple[float, ...]:
    """Returns the numbers of "-2,-1,0,1,2"; an error shows the example.

    Raises:
        OptionError: If something is not a finite number, or there are none or too many.
    """
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        scales = ()
    if not 0 < len(scales) <= MAX_SCALES or not all(map(math.isfinite, scales)):
        raise OptionError(
            wanted=f"1 to {MAX_SCALES} numbers with commas between", got=repr(text), hint=f"such as {example}"
        )
    return scales


def target_of(options: Edit) -> Path:
    """Returns the file to write.

    Raises:
        OptionError: If its ending stands for no picture format.
    """
    sample = options.image.stem if options.image else "sample" if options.seed is None else str(options.seed)
    name = "replay.png" if options.replay else f"edit-{options.direction}-{sample}.png"
    target = options.out or options.folder / name
    if target.suffix.lower() not in FORMATS:
        raise OptionError(
            wanted=f"a file ending in {', '.join(FORMATS)}", got=str(target), hint="such as --out edited.png"
        )
    return target


def read_image(path: Path) -> Image.Image:
    """Returns the picture in a file, turned upright.

    Raises:
        OptionError: If there is no such file, or it is not a picture.
    """
    from PIL import ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return ImageOps.exif_transpose(picture).convert("RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise OptionError(
            wanted="a picture file", got=f"{path}: {error}", hint="PNG, JPEG and WebP are understood"
        ) from error


def seed_of(options: Edit, report: ReportData) -> int:
    """Returns the seed to edit: the one that was asked for, or the first that the report shows."""
    if options.seed is not None:
        if options.seed < 0:
            raise OptionError(wanted="a seed of at least 0", got=str(options.seed), hint="such as --seed 7")
        return options.seed
    return next((strip.seed for card in report.cards for strip in card.strips), 0)
