"""Several directions at once, one without another, and whether they get in each other's way."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pullback.directions.origins import check_together
from pullback.directions.regional import cleared
from pullback.directions.types import Direction
from pullback.edit.apply import SomeDirection
from pullback.edit.batches import in_chunks
from pullback.edit.scale import calibrate, features, typical_distance
from pullback.edit.vectors import check_origin, vectors_at
from pullback.errors import NumericalError, OptionError, ShapeError
from pullback.models import Denoiser, denoise
from pullback.models.schedule import Time
from pullback.types import FeatureMap


@dataclass(frozen=True, eq=False)
class Composed:
    """Edits along K directions at once, one for each row of scales.

    Attributes:
        x_t: Edited latents, shape `(B, S, *x_shape)`.
        x0: The clean samples they become.
        displacement: |h(x') - h(x)|, shape `(B, S)`.
        unit: Step of scale 1 of each direction, shape `(K, B)`.
        v: Unit directions on each sample, shape `(K, B, *x_shape)`.
        scales: The S rows of K scales.
    """

    x_t: Tensor
    x0: Tensor
    displacement: Tensor
    unit: Tensor
    v: Tensor
    scales: tuple[tuple[float, ...], ...]


@torch.no_grad()
def compose(
    den: Denoiser,
    x: Tensor,
    t: Time,
    directions: Sequence[SomeDirection],
    scales: Sequence[Sequence[float]],
    *,
    f: FeatureMap,
    without: Sequence[SomeDirection] = (),
    unit: Tensor | None = None,
    distance: float | None = None,
    num_steps: int = 20,
    cond: Any = None,
    chunk: int = 64,
    allow_mismatch: bool = False,
) -> Composed:
    """Edit latents along several directions at once: ``x' = x + sum_k scale_k g_k v_k``, then DDIM.

    With ``without``, each v_k is first cleared, on the sample, of the v of those directions. Since
    ``<J v, u> = <v, J^T u>``, h then does not move along their u, to first order: "smile without yaw".

    Args:
        den: The model.
        x: Latents at t, `(B, *x_shape)`.
        t: Their timestep.
        directions: K directions.
        scales: S rows of K scales; 1 is the calibrated unit of that direction alone.
        f: The feature map of the directions, at t.
        without: Directions to leave alone.
        unit: g of scale 1, shape `(K, B)`; calibrated if None.
        distance: ``typical_distance`` at t; measured on 16 fresh latents if None.
        num_steps: DDIM steps.
        cond: Condition.
        chunk: Rows in one network call.
        allow_mismatch: Whether directions of another map may be used.

    >>> from pullback.directions import random_h
    >>> from pullback.models import toy_denoiser
    >>> den = toy_denoiser()
    >>> f = den.feature_map(t=600)
    >>> rows = [[1, 0], [1, 1]]
    >>> compose(den, den.draw([0, 1]), 600, random_h(f, rank=2), rows, f=f, distance=5.0, num_steps=2).x0.shape
    torch.Size([2, 2, 3, 8, 8])

    Raises:
        OptionError: If there is no direction or row, or a row has not K scales.
        MismatchError: If directions and feature map do not belong together.
        ShapeError, NumericalError: If something does not fit, or nothing of a direction is left.
    """
    batch = den.check_finite(x)
    if not directions or not scales or any(len(row) != len(directions) for row in scales):
        raise OptionError(
            wanted=f"rows of one scale for each of {len(directions)} directions, at least one of both",
            got=f"rows of {', '.join(str(len(row)) for row in scales) or 'nothing'}",
            hint="scales=[[1, 0], [0, 1], [1, 1]]",
        )
    if not allow_mismatch:
        check_origin([each.origin for each in (*directions, *without)], f, t)
    v = vectors_at(f, batch, directions)  # (K, B, *x_shape)
    if without:
        others = vectors_at(f, batch, without)
        v = torch.stack([cleared(v[:, b], others[:, b]) for b in range(len(batch))], dim=1)
    if unit is None:
        if distance is None:
            distance = typical_distance(f, den.sample_latent(t=t, seeds=range(16), cond=cond), chunk=chunk)
        rows = batch.expand_as(v).flatten(0, 1)
        unit = calibrate(f, rows, v.flatten(0, 1), distance=distance, chunk=chunk).unit.reshape(v.shape[:2])
    weight = torch.tensor([list(row) for row in scales], dtype=batch.dtype, device=batch.device)  # (S, K)
    steps = torch.einsum("sk,kb,kb...->bs...", weight, unit.to(batch), v)
    x_t = batch[:, None] + steps
    h = features(f, batch, chunk=chunk)[:, None]
    moved = features(f, x_t.flatten(0, 1), chunk=chunk).unflatten(0, x_t.shape[:2])
    x0 = in_chunks(lambda part: denoise(den, part, t, num_steps=num_steps, cond=cond), x_t.flatten(0, 1), chunk=chunk)
    return Composed(
        x_t=x_t,
        x0=x0.unflatten(0, x_t.shape[:2]),
        displacement=(moved - h).norm(dim=-1),
        unit=unit,
        v=v,
        scales=tuple(tuple(float(s) for s in row) for row in scales),
    )


def composed_move(
    made: Composed, row: int, *, f: FeatureMap, sample: int = 0, name: str = ""
) -> tuple[Direction, float]:
    """Return one row of scales on one sample as a single direction of X, and the length of its step.

    With these `record_edit` writes it down, ``record_edit(..., direction, [1], f=f, unit=length)``.

    Args:
        made: What `compose` returned.
        row: Which row of scales.
        f: The feature map of the directions.
        sample: Which latent.
        name: Of the direction.

    >>> from pullback.geometry import as_feature_map
    >>> made = Composed(*[torch.zeros(0)] * 3, torch.tensor([[2.0], [1.0]]), torch.eye(2)[:, None], ((1.5, 4.0),))
    >>> direction, length = composed_move(made, 0, f=as_feature_map(lambda x: x, torch.zeros(1, 2)))
    >>> direction.vector, length
    (tensor([0.6000, 0.8000]), 5.0)

    Raises:
        NumericalError: If the row moves nothing.
    """
    scale = torch.tensor(made.scales[row], dtype=made.v.dtype, device=made.v.device)
    step = torch.einsum("k,k,k...->...", scale, made.unit[:, sample].to(made.v), made.v[:, sample])
    length = float(step.norm())
    if not length > 0:
        raise NumericalError(
            wanted="a row of scales that moves x", got=f"{made.scales[row]}", hint="it is the unedited sample"
        )
    return Direction(step / length, "X", dict(f.origin), name=name), length


def orthogonalised(direction: Direction, against: Sequence[Direction]) -> Direction:
    """Return the direction without its part in the span of others of the same space, at unit length.

    This is orthogonality of the vectors themselves: in H for directions of H. What h does on a sample when x moves
    along ``J^T u`` may still have a part along the others; ``compose(..., without=...)`` removes that.

    >>> u, w = (Direction(torch.tensor(row), "H", {}) for row in ([0.6, 0.8], [0.0, 1.0]))
    >>> orthogonalised(u, [w]).vector
    tensor([1., 0.])

    Raises:
        ShapeError, MismatchError: If they are of different spaces or maps.
        NumericalError: If nothing is left.
    """
    check_together([direction, *against])
    others = torch.stack([each.vector for each in against]) if against else direction.vector[None][:0]
    vector = cleared(direction.vector[None], others)[0]
    names = ", ".join(each.name or str(each.index) for each in against)
    return dataclasses.replace(
        direction,
        vector=vector,
        agreement=None,
        agreement_null=None,
        cluster=(),
        origin={**direction.origin, "orthogonal_to": names},
    )


@torch.no_grad()
def interaction(f: FeatureMap, x: Tensor, steps: Tensor) -> Tensor:
    """Return how far two moves are from adding up: 0 where the effect of both is the sum of the effects of each.

    ``|D(a + b) - D(a) - D(b)| / (|D(a)| + |D(b)|)`` with ``D(a) = f(x + a) - f(x)``; on the diagonal a with itself,
    which is how far a is from linear.

    Args:
        f: Any map of latents: the feature map, or one to pictures.
        x: One latent, `x_shape`.
        steps: K moves ``g_k v_k``, shape `(K, *x_shape)`.

    >>> from pullback.geometry import as_feature_map
    >>> f = as_feature_map(lambda x: x[:, :1] * x[:, 1:], torch.zeros(1, 2))
    >>> interaction(f, torch.zeros(2), torch.eye(2))
    tensor([[0., inf],
            [inf, 0.]], dtype=torch.float64)

    Raises:
        ShapeError: If the moves do not live where x does.
    """
    if tuple(steps.shape[1:]) != tuple(x.shape):
        raise ShapeError(
            wanted=f"moves of shape (K, {str(tuple(x.shape))[1:]}", got=str(tuple(steps.shape)), hint="stack g v"
        )
    base = f(x[None]).flatten(1).double()
    alone = f(x + steps).flatten(1).double() - base  # (K, D)
    num = len(steps)
    found = torch.zeros(num, num, dtype=torch.float64)
    for k in range(num):
        both = f(x + steps[k] + steps[k:]).flatten(1).double() - base
        rest = torch.linalg.vector_norm(both - alone[k] - alone[k:], dim=1)
        size = torch.linalg.vector_norm(alone[k]) + torch.linalg.vector_norm(alone[k:], dim=1)
        found[k, k:] = torch.where(rest > 0, rest / size, 0.0).cpu()
    return torch.triu(found) + torch.triu(found, 1).mT
