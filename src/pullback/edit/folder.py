"""The same edit on every picture of a folder."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pullback.directions.masks import Mask, mask_at
from pullback.directions.types import Direction
from pullback.edit.recipe import EditOptions, Recipe, recipe_of, tensors_of, told
from pullback.edit.record import record_edit
from pullback.edit.record_file import RECORD, read_record
from pullback.edit.replay import model_told
from pullback.edit.scale import typical_distance
from pullback.errors import MismatchError, OptionError, PullbackError
from pullback.files import write_atomic
from pullback.models import Denoiser, denoise, invert
from pullback.models.ddim import FIXED_POINT_ITERATIONS
from pullback.models.output_map import ModelMap

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class FolderEdit:
    """What became of one picture.

    Attributes:
        name: Of its file.
        folder: Where its frames and ``edit.json`` are, or None.
        round_trip: Root mean square change by the way to noise and back, 0 to 255, or None where it was done before.
        change: The largest one by the edit, or None.
        problem: Why there are no frames, empty if there are.
    """

    name: str
    folder: Path | None
    round_trip: float | None
    change: float | None
    problem: str = ""

    @property
    def is_lost(self) -> bool:
        """Whether the way there and back changes more than the edit does."""
        return self.round_trip is not None and self.change is not None and self.round_trip > self.change


def edit_folder(
    den: Denoiser,
    source: str | Path,
    out: str | Path,
    direction: Direction,
    scale: Sequence[float],
    *,
    f: ModelMap,
    options: EditOptions | None = None,
    mask: Mask | None = None,
    distance: float | None = None,
    cond: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[FolderEdit]:
    """Invert every picture of a folder to f's t, edit it along a direction, and write a folder of frames for each.

    ``out/NAME/frame_00.png ...``, one for each scale, and the ``edit.json`` that `replay_edit` reads, written last: a
    picture that has one is not done again, so that an interrupted run can be started anew; if it tells of another edit,
    that is reported and left as it is. A file that cannot be read or edited is reported, and the others go on.

    Args:
        den: The model.
        source: A folder; PNG, JPEG, WebP, BMP and TIFF files in it are taken, by name, folders below are not.
        out: Where to; not the source.
        direction: Found with f.
        scale: S numbers.
        f: The feature map.
        options: How to edit; ``num_steps`` counts both ways.
        mask: Where the edit may act, the same for all pictures.
        distance: ``typical_distance`` at t; measured once if None.
        cond: Condition.
        progress: Called as ``progress(done, total)``.

    Raises:
        OptionError: If the source is no folder, holds no picture, or is ``out``.
    """
    source, out, options = Path(source), Path(out), options or EditOptions()
    files = sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES) if source.is_dir() else []
    if not files or source.resolve() == out.resolve():
        raise OptionError(
            wanted=f"a folder with {', '.join(SUFFIXES[:3])} files, other than the one to write to",
            got=str(source),
            hint="edit_folder(den, 'pictures', 'edited', ...)",
        )
    if distance is None:
        distance = typical_distance(f, den.sample_latent(t=f.t, seeds=range(16), cond=cond))
    results = []
    for done, path in enumerate(files):
        target = out / path.name
        if (target / RECORD).exists():
            problem = _other_edit(target, den, direction, scale, f, options, mask, cond)
            results.append(FolderEdit(path.name, None if problem else target, None, None, problem))
        else:
            results.append(_one(den, path, target, direction, scale, f, options, mask, distance, cond))
        if progress is not None:
            progress(done + 1, len(files))
    return results


def _other_edit(
    target: Path,
    den: Denoiser,
    direction: Direction,
    scale: Sequence[float],
    f: ModelMap,
    options: EditOptions,
    mask: Mask | None,
    cond: Any,
) -> str:
    """Return what is wrong with the record that lies there, nothing if it is of this very edit."""
    try:
        record, tensors = read_record(target)
        found = recipe_of(target, record, tensors)
    except (PullbackError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    where = None if mask is None else mask_at(mask, den.x_shape)
    wanted = Recipe(found.x, (direction,), tuple(map(float, scale)), options, mask=where)
    pairs = (({**record, **told(found)}, {**model_told(f, cond), **told(wanted)}), (tensors, tensors_of(wanted)))
    names = [name for there, here in pairs for name in here if not _are_equal(there.get(name), here[name])]
    names += ["mask"] if wanted.mask is None and found.mask is not None else []
    if not names:
        return ""
    return str(MismatchError(wanted="the same edit", got=f"another {', '.join(names)}", hint="write to another folder"))


def _are_equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a.cpu(), b.cpu())
    return not isinstance(a, Tensor) and not isinstance(b, Tensor) and a == b


def _one(
    den: Denoiser,
    path: Path,
    target: Path,
    direction: Direction,
    scale: Sequence[float],
    f: ModelMap,
    options: EditOptions,
    mask: Mask | None,
    distance: float,
    cond: Any,
) -> FolderEdit:
    t, num_steps = f.t, options.num_steps
    assert t is not None  # the map of a denoiser has its t
    try:
        with Image.open(path) as image:
            x0 = den.encode_image(image.convert("RGB"))
        x = invert(den, x0, t, num_steps=num_steps, cond=cond, fixed_point_iterations=FIXED_POINT_ITERATIONS)
        plain = denoise(den, x, t, num_steps=num_steps, cond=cond)
        made: list[Tensor] = []

        def write(edited: Tensor) -> None:
            for index, picture in enumerate(den.to_image(edited)):
                buffer = io.BytesIO()
                Image.fromarray(picture).save(buffer, format="PNG")
                write_atomic(target / f"frame_{index:02d}.png", buffer.getvalue())
            made.append(edited)

        record_edit(
            target,
            den,
            x[0],
            direction,
            scale,
            f=f,
            options=options,
            mask=mask,
            distance=distance,
            cond=cond,
            before_record=write,
        )
    except (PullbackError, OSError, ValueError, Image.DecompressionBombError) as error:
        return FolderEdit(path.name, None, None, None, f"{type(error).__name__}: {error}")
    pictures = [torch.from_numpy(den.to_image(each)).float() for each in (x0, plain, made[0])]
    round_trip = (pictures[1] - pictures[0]).square().mean().sqrt()
    change = (pictures[2] - pictures[1]).square().flatten(1).mean(1).sqrt().max()
    return FolderEdit(path.name, target, float(round_trip), float(change))
