"""From a direction and a few scales to edited pictures, in as few network calls as possible."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor

from pullback.directions.masks import Mask
from pullback.edit.batches import in_chunks, picture_precision
from pullback.edit.masked import masked_vectors
from pullback.edit.normalise import Anchor, normalise
from pullback.edit.scale import Move, calibrate, features, typical_distance
from pullback.edit.steps import XGuidance, one_step, x_guidance
from pullback.edit.vectors import Make, check_origin, vectors_at
from pullback.edit.walk import Solver, Walk, walk_of
from pullback.edit.window import Boost
from pullback.errors import NumericalError, OptionError
from pullback.geometry.tangent import TangentBasis
from pullback.models import Denoiser
from pullback.models.schedule import Time
from pullback.types import FeatureMap, Origin

Method = Literal["step", "x_guidance"]
MaskIn = Literal["x", "x0"]
NormaliseOption = Literal["off"] | Anchor


class SomeDirection(Protocol):
    """What an edit needs of a direction: a unit vector in H or X, and where it comes from."""

    @property
    def vector(self) -> Tensor:
        """Unit, `(D,)` in H or `(*x_shape)` in X."""
        ...

    @property
    def space(self) -> str:
        """``"H"`` or ``"X"``."""
        ...

    @property
    def origin(self) -> Origin:
        """All that determined it."""
        ...


@dataclass(frozen=True, eq=False)
class Edited:
    """Edited latents and clean samples, one for each scale.

    Axes in front of S: K if a list of directions was given, then B if a batch of latents was.

    Attributes:
        x_t: Edited latents at t, shape `(..., S, *x_shape)`.
        x0: The clean samples they become, same shape; ``Denoiser.to_image`` makes pictures.
        displacement: |h(x') - h(x)|, shape `(..., S)`.
        unit: Step g of scale 1, shape `(...)`.
        v: Unit direction in X on each sample, shape `(..., *x_shape)`.
        scale: The S scales.
    """

    x_t: Tensor
    x0: Tensor
    displacement: Tensor
    unit: Tensor
    v: Tensor
    scale: tuple[float, ...]


@torch.no_grad()
def edit(
    den: Denoiser,
    x: Tensor,
    t: Time,
    direction: SomeDirection | Sequence[SomeDirection],
    scale: Sequence[float],
    *,
    f: FeatureMap,
    method: Method = "step",
    make: Make = "one_product",
    basis: TangentBasis | None = None,
    normalise: NormaliseOption = "off",
    guidance: XGuidance | None = None,
    unit: float | Tensor | None = None,
    distance: float | None = None,
    mask: Mask | None = None,
    mask_in: MaskIn = "x",
    boost: Boost | None = None,
    solver: Solver = "ddim",
    num_steps: int = 20,
    cond: Any = None,
    chunk: int = 64,
    autocast: torch.dtype | None = None,
    channels_last: bool = False,
    allow_mismatch: bool = False,
) -> Edited:
    """Edit latents once, at t, along directions, and denoise them (DDIM, eta 0)  (2302.12469, 2307.12868).

    All directions, samples and scales go through the network together, ``chunk`` rows a call; what
    is not moved (scale 0) is denoised once a sample. The cost: one reverse product for each
    direction and sample, 2 to 5 encoder passes over these to calibrate, and ``num_steps`` network
    calls for each frame. X-guidance and normalisation add their own calls to calibration and frames.

    Args:
        den: The model.
        x: Latents at t, shape `(*x_shape)` or `(B, *x_shape)`.
        t: Their timestep.
        direction: One direction, or K of them.
        scale: S numbers; 1 is the calibrated unit, 0 no edit, negative the other way.
        f: The feature map of the directions, at t.
        method: ``"step"`` (x + g v), or ``"x_guidance"`` (g is its weight, ``guidance`` the rest).
        make: How a direction of H becomes one of X: ``"one_product"``, or ``"transport"`` with
            ``basis`` at x.
        basis: Tangent basis at x, batched as x is.
        normalise: ``"off"``, or the anchor of ``normalise``.
        guidance: Step and repetitions of x-guidance; the defaults of ``XGuidance`` if None.
        unit: g of scale 1, a number or shape `(K, B)`; found by ``calibrate`` if None.
        distance: ``typical_distance`` at t, for calibration; measured on 16 fresh latents if None.
        mask: Where the edit may act, or None.
        mask_in: ``"x"``: v is cut to the mask; ``"x0"``: the outside of every x0-prediction on the way, and of
            the picture, is the unedited one's (twice the calls; not together with ``boost``).
        boost: Noise on the last steps, the same for every frame; None for none.
        solver: ``"ddim"``, or ``"multistep"``, which needs half of the steps.
        num_steps: Steps from t to the picture.
        cond: Condition of all predictions.
        chunk: Rows in one network call.
        autocast: Lower precision for the denoising alone, such as ``torch.bfloat16``.
        channels_last: Channels-last layout for the denoising alone.
        allow_mismatch: Whether directions of another model, layer, t, pool or condition may be used.

    >>> from pullback.directions import local_basis, Direction
    >>> from pullback.models import toy_denoiser
    >>> den = toy_denoiser()
    >>> f, x = den.feature_map(t=600), den.sample_latent(t=600, seed=0)
    >>> u = local_basis(f, x, rank=1).u[0]
    >>> edit(den, x, 600, Direction(u, "H", f.origin), [-1, 0, 1], f=f, num_steps=5).x0.shape
    torch.Size([3, 3, 8, 8])

    Raises:
        MismatchError: If directions and feature map do not belong together.
        OptionError: If an option is not on the list.
        ShapeError, NumericalError: If x is no finite batch of latents, or J^T u vanishes.
    """
    directions = list(direction) if isinstance(direction, Sequence) else [direction]
    _check_options(method, normalise, mask_in, len(directions), len(scale))
    walk = walk_of(den, t, mask if mask_in == "x0" else None, boost, num_steps, cond, solver)
    batch = den.check_finite(x if x.ndim > len(den.x_shape) else x[None])
    if not allow_mismatch:
        check_origin([each.origin for each in directions], f, t)
    v = vectors_at(f, batch, directions, make=make, basis=basis)  # (K, B, *x_shape)
    v = masked_vectors(v, mask) if mask is not None and mask_in == "x" else v
    rows, along = batch.expand_as(v).flatten(0, 1), v.flatten(0, 1)  # (KB, *x_shape)
    move = _mover(den, t, method, normalise, guidance or XGuidance(), cond)
    unit = _units(f, den, t, rows, along, move, unit, distance, cond, chunk).reshape(v.shape[:2])
    x_t = _moved(rows, along, move, unit.flatten(), scale, chunk).unflatten(0, v.shape[:2])  # (K, B, S, *x_shape)
    h = features(f, batch, chunk=chunk)[:, None]  # (B, 1, D)
    displacement = (features(f, x_t.flatten(0, 2), chunk=chunk).unflatten(0, x_t.shape[:3]) - h).norm(dim=-1)
    with picture_precision(den, autocast=autocast, channels_last=channels_last):
        x0 = _denoised(walk, batch, x_t, scale, chunk)

    def shaped(result: Tensor) -> Tensor:
        result = result if x.ndim > len(den.x_shape) else result[:, 0]
        return result if isinstance(direction, Sequence) else result[0]

    return Edited(*(shaped(each) for each in (x_t, x0, displacement, unit, v)), scale=tuple(map(float, scale)))


def _check_options(method: str, normalise: str, mask_in: str, num_directions: int, num_scales: int) -> None:
    if not num_directions or not num_scales:
        raise OptionError(
            wanted="at least one direction and one scale",
            got=f"{num_directions} directions and {num_scales} scales",
            hint="scale=[-2, 0, 2] is a start",
        )
    known = {"method": (method, get_args(Method)), "normalise": (normalise, ("off", *get_args(Anchor)))}
    known["mask_in"] = (mask_in, get_args(MaskIn))
    for name, (value, choices) in known.items():
        if value not in choices:
            raise OptionError(wanted=f"{name} {', '.join(choices)}", got=f"{value!r}", hint="see edit")


def _mover(den: Denoiser, t: Time, method: Method, anchor: NormaliseOption, guidance: XGuidance, cond: Any) -> Move:
    """Return all that happens to x as one function of (x, v, g)."""

    def guided(x: Tensor, v: Tensor, g: Tensor) -> Tensor:
        sign = torch.where(g < 0, -1.0, 1.0).to(g)
        v = v * sign.reshape(-1, *[1] * (v.ndim - 1))
        settings = {"step": guidance.step, "num_iterations": guidance.num_iterations}
        return x_guidance(den, x, t, v, weight=g.abs(), cond=cond, **settings)

    move = one_step if method == "step" else guided
    if anchor == "off":
        return move
    return lambda x, v, g: normalise(den, x, move(x, v, g), t, anchor=anchor, cond=cond)


def _units(
    f: FeatureMap,
    den: Denoiser,
    t: Time,
    x: Tensor,
    v: Tensor,
    move: Move,
    unit: float | Tensor | None,
    distance: float | None,
    cond: Any,
    chunk: int,
) -> Tensor:
    """Return g of scale 1 for each row, shape `(KB,)`."""
    if unit is not None:
        unit = torch.as_tensor(unit, device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
        return unit.flatten().expand(len(x))
    if distance is None:
        distance = typical_distance(f, den.sample_latent(t=t, seeds=range(16), cond=cond), chunk=chunk)
    return calibrate(f, x, v, distance=distance, move=move, chunk=chunk).unit


def _moved(x: Tensor, v: Tensor, move: Move, unit: Tensor, scale: Sequence[float], chunk: int) -> Tensor:
    """Return edited latents `(KB, S, *x_shape)`; scale 0 is x itself."""
    frames = x[:, None].repeat(1, len(scale), *[1] * (x.ndim - 1))
    moving = [index for index, s in enumerate(scale) if s != 0]
    if moving:
        g = unit[:, None] * torch.tensor([scale[index] for index in moving]).to(unit)  # (KB, S')
        start, along = (each[:, None].expand(-1, len(moving), *each.shape[1:]).flatten(0, 1) for each in (x, v))
        frames[:, moving] = in_chunks(move, start, along, g.flatten().to(x), chunk=chunk).unflatten(0, g.shape)
    if not frames.isfinite().all():
        raise NumericalError(wanted="finite edited latents", got="NaN or infinity", hint="use smaller scales")
    return frames


def _denoised(walk: Walk, x: Tensor, x_t: Tensor, scale: Sequence[float], chunk: int) -> Tensor:
    """Return clean samples of `(K, B, S, *x_shape)`, those of scale 0 from one pass a sample."""
    still = torch.tensor([s == 0 for s in scale])
    edited = x_t[:, :, ~still]
    plain = x[None, :, None].expand_as(edited).flatten(0, 2)
    if still.any():
        frames, plain = torch.cat([edited.flatten(0, 2), x]), torch.cat([plain, x])
    else:
        frames = edited.flatten(0, 2)
    clean = in_chunks(walk, frames, plain, chunk=chunk)
    x0 = torch.empty_like(x_t)
    x0[:, :, ~still] = clean[: edited.shape[:3].numel()].unflatten(0, edited.shape[:3])
    x0[:, :, still] = clean[edited.shape[:3].numel() :][None, :, None] if still.any() else x0[:, :, still]
    return x0
