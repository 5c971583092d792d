"""An edit on disk: ``edit.json`` with all that determined it, and the tensors to make any frame again."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pullback.directions.masks import Mask, mask_at
from pullback.directions.types import Direction
from pullback.edit.apply import Edited, MaskIn, Method, NormaliseOption, edit
from pullback.edit.record_file import FORMAT, RECORD, TENSORS, digest_of_frame, pool_named, read_record, refusal
from pullback.edit.steps import XGuidance
from pullback.edit.window import Boost
from pullback.errors import MismatchError, OptionError, PullbackError
from pullback.files import read_safetensors, write_json, write_safetensors
from pullback.geometry.compare import differing
from pullback.models import Condition, Denoiser, NetworkFeatureMap


@dataclass(frozen=True)
class EditOptions:
    """What `edit` is told besides model, latent, direction and scales; the same names mean the same.

    Attributes:
        method: ``"step"`` or ``"x_guidance"``.
        normalise: ``"off"``, or the anchor.
        guidance_step: d of x-guidance.
        guidance_iterations: Repetitions of x-guidance.
        mask_in: ``"x"`` or ``"x0"``.
        boost_share: Part of the steps with eta 1; 0 for none.
        boost_seed: Of that noise.
        num_steps: DDIM steps.
    """

    method: Method = "step"
    normalise: NormaliseOption = "off"
    guidance_step: float = 1.0
    guidance_iterations: int = 16
    mask_in: MaskIn = "x"
    boost_share: float = 0.0
    boost_seed: int = 0
    num_steps: int = 20


@dataclass(frozen=True, eq=False)
class Replay:
    """Frames made again.

    Attributes:
        edited: As `edit` returned it, for the frames that were asked for.
        is_exact: For each, whether the clean sample has the very bits of the recorded one.
    """

    edited: Edited
    is_exact: tuple[bool, ...]


def record_edit(
    folder: str | Path,
    den: Denoiser,
    x: Tensor,
    direction: Direction,
    scale: Sequence[float],
    *,
    f: NetworkFeatureMap,
    options: EditOptions | None = None,
    mask: Mask | None = None,
    unit: float | None = None,
    distance: float | None = None,
    cond: Any = None,
    before_record: Callable[[Tensor], None] | None = None,
) -> Edited:
    """Edit one latent along one direction, and write what it takes to do it again.

    Writes ``edit.json`` (model, layer, t, pooling, condition, direction, scales, options, a digest of each frame) and
    ``edit.safetensors`` (latent, direction, step of scale 1, mask).

    Args:
        folder: Where to; made if need be.
        den: The model.
        x: One latent at ``f.t``, shape `x_shape`.
        direction: Of H or X, found with f.
        scale: S numbers.
        f: The feature map.
        options: How to edit; the defaults of `edit` if None.
        mask: Where the edit may act.
        unit: g of scale 1, such as the length of a `composed_move`; calibrated if None.
        distance: ``typical_distance`` at t, measured if None.
        cond: Condition.
        before_record: Called with the clean samples before ``edit.json`` is written, which marks the edit as done.

    >>> import tempfile
    >>> from pullback.directions import random_h
    >>> from pullback.models import toy_denoiser
    >>> den = toy_denoiser()
    >>> f, x = den.feature_map(t=600), den.draw([0])[0]
    >>> options = EditOptions(num_steps=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = record_edit(folder, den, x, random_h(f, rank=1)[0], [0, 1], f=f, options=options, distance=5.0)
    ...     replay_edit(folder, den, frames=[1]).is_exact
    (True,)

    Raises:
        OptionError, MismatchError, ShapeError, NumericalError: As `edit`.
    """
    options = options or EditOptions()
    edited = _edit(den, x, direction, scale, f, options, mask, unit, distance, cond)
    if before_record is not None:
        before_record(edited.x0)
    folder = Path(folder)
    tensors = {"x": x, "vector": direction.vector, "unit": edited.unit.double()}
    if mask is not None:
        tensors["mask"] = mask_at(mask, den.x_shape)
    write_safetensors(folder / TENSORS, tensors, {"format": FORMAT})
    write_json(
        folder / RECORD,
        {
            "format": FORMAT,
            **asked(direction, scale, f=f, options=options, cond=cond),
            "tensors": hashlib.sha256((folder / TENSORS).read_bytes()).hexdigest(),
            "frames": [digest_of_frame(frame) for frame in edited.x0],
        },
    )
    return edited


def asked(
    direction: Direction, scale: Sequence[float], *, f: NetworkFeatureMap, options: EditOptions, cond: Any
) -> dict[str, Any]:
    """Return the fields of ``edit.json`` that say what was asked for, apart from vector and mask."""
    about = {name: getattr(direction, name) for name in ("space", "name", "index")}
    return {
        "origin": dict(f.origin),
        "guidance_scale": _guidance(cond),
        "direction": {**about, "origin": dict(direction.origin)},
        "scale": [float(each) for each in scale],
        "options": dataclasses.asdict(options),
    }


def replay_edit(folder: str | Path, den: Denoiser, *, frames: Sequence[int] | None = None, cond: Any = None) -> Replay:
    """Make recorded frames again, on the same model.

    Args:
        folder: What `record_edit` wrote.
        den: The model, of the same weights.
        frames: Places in the recorded list of scales; all if None.
        cond: The condition it was made with.

    Returns:
        The frames. The same bits on the same machine; elsewhere the same up to rounding, which ``is_exact`` tells.

    Raises:
        FileFormatError: If a file is not what it claims to be, or the two do not belong together.
        MismatchError: If the model, layer, t, pooling, condition or guidance differs; the message names what.
        OptionError: If there is no such frame.
        FileNotFoundError: If nothing was recorded there.
    """
    folder = Path(folder)
    record = read_record(folder)
    tensors, _ = read_safetensors(folder / TENSORS, must_have_digest=True)
    frames = range(len(record["scale"])) if frames is None else frames
    if not frames or not all(0 <= i < len(record["scale"]) for i in frames):
        raise OptionError(
            wanted=f"frames from 0 to {len(record['scale']) - 1}", got=str(list(frames)), hint="count them from 0"
        )
    try:
        f = _map_of(record, den, cond)
        about = record["direction"]
        direction = Direction(tensors["vector"], about["space"], about["origin"], index=about["index"])
        options = EditOptions(**record["options"])
    except (KeyError, TypeError, ValueError) as error:
        raise refusal(folder, "a record that this version can read", str(error)) from error
    x, unit, mask = tensors["x"].to(den.device), float(tensors["unit"]), tensors.get("mask")
    # all of them at once, as they were made: a batch of another size rounds otherwise
    edited = _edit(den, x, direction, record["scale"], f, options, mask, unit, None, cond)
    chosen = dataclasses.replace(
        edited,
        x_t=edited.x_t[list(frames)],
        x0=edited.x0[list(frames)],
        displacement=edited.displacement[list(frames)],
        scale=tuple(edited.scale[i] for i in frames),
    )
    return Replay(chosen, tuple(digest_of_frame(edited.x0[i]) == record["frames"][i] for i in frames))


def _edit(
    den: Denoiser,
    x: Tensor,
    direction: Direction,
    scale: Sequence[float],
    f: NetworkFeatureMap,
    options: EditOptions,
    mask: Mask | None,
    unit: float | None,
    distance: float | None,
    cond: Any,
) -> Edited:
    assert f.t is not None  # the map of a denoiser has its t
    return edit(
        den,
        x,
        f.t,
        direction,
        scale,
        f=f,
        method=options.method,
        normalise=options.normalise,
        guidance=XGuidance(step=options.guidance_step, num_iterations=options.guidance_iterations),
        unit=unit,
        distance=distance,
        mask=mask,
        mask_in=options.mask_in,
        boost=Boost(options.boost_share, options.boost_seed) if options.boost_share > 0 else None,
        num_steps=options.num_steps,
        cond=cond,
    )


def _map_of(record: dict[str, Any], den: Denoiser, cond: Any) -> NetworkFeatureMap:
    """Return the feature map of the record on this model.

    Raises:
        MismatchError: If it is another one.
    """
    origin = record["origin"]
    try:
        f = den.feature_map(t=origin["t"], layer=origin["layer"], pool=pool_named(origin["pool"]), cond=cond)
        found = {**f.origin, "guidance_scale": _guidance(cond)}
    except PullbackError as error:
        raise MismatchError(
            wanted=f"a model with layer {origin['layer']} at t = {origin['t']}",
            got=str(error),
            hint="replay on the model that the edit was made with",
        ) from error
    wanted = {**origin, "guidance_scale": record["guidance_scale"]}
    names = differing(wanted, found)
    if names:
        raise MismatchError(
            wanted=", ".join(f"{name} {wanted.get(name)}" for name in names),
            got=", ".join(f"{name} {found.get(name)}" for name in names),
            hint="replay on the model, and with the condition, that the edit was made with",
        )
    return f


def _guidance(cond: Any) -> float:
    return cond.guidance if isinstance(cond, Condition) else 1.0
