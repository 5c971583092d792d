"""Frames made again from a record, on the same model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pullback.edit.making import frames_by
from pullback.edit.recipe import recipe_of
from pullback.edit.record_file import Way, digest_of_frame, read_record, refusal
from pullback.errors import MismatchError, OptionError
from pullback.geometry.compare import differing
from pullback.models import Condition, Denoiser
from pullback.models.output_map import ModelMap, map_of
from pullback.types import FeatureMap


@dataclass(frozen=True, eq=False)
class Replay:
    """Frames made again.

    Attributes:
        x0: The clean samples that were asked for, `(S, *x_shape)`.
        scale: The scale of each; of a composition its row of scales, of a window the length of its steps.
        is_exact: For each, whether it has the very bits of the recorded one.
        way: How they were made: ``"edit"``, ``"injection"``, ``"window"`` or ``"composition"``.
    """

    x0: Tensor
    scale: tuple[Any, ...]
    is_exact: tuple[bool, ...]
    way: Way


def replay_edit(folder: str | Path, den: Denoiser, *, frames: Sequence[int] | None = None, cond: Any = None) -> Replay:
    """Make recorded frames again, on the same model.

    All of them are made, as they were, since a batch of another size rounds otherwise; those asked for are returned.

    Args:
        folder: What `record_edit`, `record_injection`, `record_window` or `record_composition` wrote.
        den: The model, of the same weights and precision.
        frames: Places in the recorded list of scales; all if None.
        cond: The condition it was made with.

    Returns:
        The frames. The same bits on the same machine; elsewhere the same up to rounding, which ``is_exact`` tells.

    Raises:
        FileFormatError: If a file is not what it claims to be, or the two do not belong together.
        MismatchError: If the model, layer, t, pooling, condition, guidance or precision differs; it names what.
        OptionError: If there is no such frame.
        FileNotFoundError: If nothing was recorded there.
    """
    folder = Path(folder)
    record, tensors = read_record(folder)
    recipe = recipe_of(folder, record, tensors)
    num = len(recipe.scale)
    chosen = range(num) if frames is None else frames
    if not chosen or not all(0 <= i < num for i in chosen):
        raise OptionError(wanted=f"frames from 0 to {num - 1}", got=str(list(chosen)), hint="count them from 0")
    try:
        f = _map_of(record, den, cond)
    except (KeyError, TypeError, ValueError) as error:
        raise refusal(folder, "a record that this version can read", str(error)) from error
    if recipe.x.dtype != den.dtype:
        raise MismatchError(
            wanted=f"a model in {recipe.x.dtype}", got=f"{den.dtype}", hint="load it in the precision of the record"
        )
    x0 = frames_by(den, recipe.on(den.device), f=f, cond=cond)
    exact = tuple(digest_of_frame(x0[i]) == record["frames"][i] for i in chosen)
    return Replay(x0[list(chosen)], tuple(recipe.scale[i] for i in chosen), exact, recipe.way)


def model_told(f: FeatureMap, cond: Any) -> dict[str, Any]:
    """Return the fields of ``edit.json`` that say with which model, and with which condition."""
    return {"origin": dict(f.origin), "guidance_scale": cond.guidance if isinstance(cond, Condition) else 1.0}


def _map_of(record: Mapping[str, Any], den: Denoiser, cond: Any) -> ModelMap:
    """Return the feature map of the record on this model.

    Raises:
        MismatchError: If it is another one.
    """
    f = map_of(den, record["origin"], cond=cond)
    told = model_told(f, cond)
    found = {**told["origin"], "guidance_scale": told["guidance_scale"]}
    wanted = {**record["origin"], "guidance_scale": record["guidance_scale"]}
    names = differing(wanted, found)
    if names:
        raise MismatchError(
            wanted=", ".join(f"{name} {wanted.get(name)}" for name in names),
            got=", ".join(f"{name} {found.get(name)}" for name in names),
            hint="replay on the model, and with the condition, that the edit was made with",
        )
    return f
