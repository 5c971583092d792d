"""Effects of directions on known factors: edit held-out samples both ways, read the factors, keep the gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pullback.errors import ShapeError
from pullback.measure.descriptors import gini
from pullback.models.multistep import denoise_multistep

if TYPE_CHECKING:
    from pullback.models.denoiser import Denoiser

Array = NDArray[np.float64]
MAX_LENGTH = 60.0
"""Longest move in x that matching an effect may try."""
NUM_ROUNDS = 2
"""Measurements after which an effect counts as matched."""


class Reads(Protocol):
    """Reads numbers off clean samples; `pullback.portraits.judge.Judge` is one."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the numbers are called."""
        ...

    def factors(self, x0: Tensor, /) -> Array:
        """Clean samples `(B, *x_shape)` to numbers in standard deviations, `(B, F)`."""
        ...

    def residual(self, x0: Tensor, /) -> Array:
        """How far each sample is from what the model was made for, `(B,)`."""
        ...


@runtime_checkable
class ReadsPlaces(Reads, Protocol):
    """Also knows where in the picture each of its numbers shows."""

    def places(self, values: Array, /) -> NDArray[np.bool_]:
        """Numbers as they were read, `(B, F)`, to the places of each, `(B, F, H, W)`."""
        ...


@dataclass(frozen=True)
class Walk:
    """How edited latents become pictures, and how pictures are read; the same for each method that is compared.

    Attributes:
        denoiser: The model.
        t: Timestep of the edit.
        num_steps: Steps from t to the clean end.
        read: Clean samples `(B, ...)` to factors in standard units `(B, F)`.
        residual: Clean samples to their distance from the world, `(B,)`.
        chunk: Pictures in one network call.
    """

    denoiser: Denoiser
    t: int | float
    num_steps: int
    read: Callable[[Tensor], Array]
    residual: Callable[[Tensor], Array]
    chunk: int = 64

    def pictures(self, x: Tensor) -> Tensor:
        """Denoises `(B, *x_shape)` at t in chunks."""
        return torch.cat(
            [denoise_multistep(self.denoiser, part, self.t, num_steps=self.num_steps) for part in x.split(self.chunk)]
        )

    def unedited(self, x: Tensor) -> Array:
        """What is read off the pictures of latents as they are, `(B, F)`."""
        return self.read(self.pictures(x))


@dataclass(frozen=True)
class Effects:
    """What K directions do to S samples.

    Attributes:
        odd: ``(D(a) - D(-a)) / 2`` in standard units, shape `(K, S, F)`.
        even: ``(D(a) + D(-a)) / 2``, shape `(K, S, F)`.
        passed: Whether each edited picture passed the gate, shape `(K, S, 2)`.
        length: Length of the move in x, shape `(K,)`.
        locality: Gini coefficient over places of the odd change of the clean sample, shape `(K, S)`.
        outside: Share of that change outside the places where the factor shows that the direction changes most, shape
            `(K, S)`; None where places are not known.
        outside_of_even: The same of a change that is alike everywhere: the share of the picture outside those places.
    """

    odd: Array
    even: Array
    passed: NDArray[np.bool_]
    length: Array
    locality: Array
    outside: Array | None = None
    outside_of_even: Array | None = None

    @property
    def size(self) -> Array:
        """Mean over samples of |e|, shape `(K,)`."""
        return np.linalg.norm(self.odd, axis=2).mean(axis=1)


def effects(
    walk: Walk,
    x: Tensor,
    v: Tensor,
    length: Array,
    *,
    gate: float | None,
    unedited: Array | None = None,
    places: NDArray[np.bool_] | None = None,
) -> Effects:
    """Moves each sample by +-length along each direction and reads what changed.

    Args:
        walk: How pictures are made and read.
        x: Held-out latents at t, shape `(S, *x_shape)`.
        v: Unit directions made on each sample, shape `(S, K, *x_shape)`.
        length: Length of the move, shape `(K,)`.
        gate: Largest residual that passes; None skips the renderer and passes everything.
        unedited: What is read off the samples themselves, ``walk.unedited(x)``, where it is known: `(S, F)`.
        places: Where each factor shows on each sample, where that is known: `(S, F, H, W)`.

    Returns:
        Odd and even parts; costs 2 K S ``num_steps`` calls for one picture each, S ``num_steps`` more if ``unedited``
        is None.

    Raises:
        ShapeError: If directions do not belong to the samples.
    """
    if places is not None and (len(places) != len(x) or places.shape[2:] != x.shape[2:]):
        raise ShapeError(
            wanted=f"places of shape (S, F, H, W) on {len(x)} samples of {tuple(x.shape[2:])}",
            got=str(places.shape),
            hint="read them off the same samples",
        )
    if v.shape[0] != len(x) or v.shape[2:] != x.shape[1:] or len(length) != v.shape[1]:
        raise ShapeError(
            wanted="v of shape (S, K, *x_shape) with one length a direction",
            got=f"x {tuple(x.shape)}, v {tuple(v.shape)}, {len(length)} lengths",
            hint="make v on the same samples",
        )
    move = torch.as_tensor(length).to(v)[:, None, None, None] * v
    moved = torch.stack([x[:, None] + move, x[:, None] - move], dim=2).flatten(0, 2)  # (S K 2, *x_shape)
    x0 = walk.pictures(moved)
    num_samples, num_directions = v.shape[:2]
    after = walk.read(x0).reshape(num_samples, num_directions, 2, -1)
    before = walk.unedited(x) if unedited is None else unedited
    change = (after - before[:, None, None]).transpose(2, 1, 0, 3)  # (2, K, S, F)
    passed = np.ones(len(x0), dtype=bool) if gate is None else walk.residual(x0) <= gate
    odd, sides = (change[0] - change[1]) / 2, x0.unflatten(0, (num_samples, num_directions, 2))
    moved_by = (sides[:, :, 0] - sides[:, :, 1]).double()  # (S, K, C, H, W)
    by_place, squares = (each.sum(2).transpose(0, 1).cpu().numpy() for each in (moved_by.abs(), moved_by.square()))
    outside, even = (None, None) if places is None else _outside(squares, odd, places)
    return Effects(
        odd=odd,
        even=(change[0] + change[1]) / 2,
        passed=passed.reshape(num_samples, num_directions, 2).transpose(1, 0, 2),
        length=np.asarray(length, float),
        locality=np.array([[gini(one[None]) for one in each] for each in by_place]),
        outside=outside,
        outside_of_even=even,
    )


def _outside(squares: Array, odd: Array, places: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Share of a change outside the places of the factor that each direction changes most; that of an even change.

    Args:
        squares: The change, squared, `(K, S, H, W)`.
        odd: What the directions do to factors, `(K, S, F)`.
        places: Of each factor on each sample, `(S, F, H, W)`.
    """
    most = np.square(odd).mean(axis=1).argmax(axis=1)  # (K,)
    inside = places[:, most].swapaxes(0, 1)  # (K, S, H, W)
    whole = squares.sum(axis=(2, 3))
    share = 1 - (squares * inside).sum(axis=(2, 3)) / np.where(whole > 0, whole, 1.0)
    return np.where(whole > 0, share, 0.0), 1 - inside.mean(axis=(2, 3))


def matched_length(
    walk: Walk,
    x: Tensor,
    v: Tensor,
    *,
    size: float,
    first: float = 8.0,
    num_rounds: int = NUM_ROUNDS,
    unedited: Array | None = None,
) -> Array:
    """Finds the length at which each direction's mean |e| equals ``size``, on tuning samples.

    Secant steps on a log scale, from ``first``; at most `MAX_LENGTH`.

    Args:
        walk: How pictures are made and read.
        x: Tuning latents, shape `(S, *x_shape)`; never those that are published.
        v: Unit directions on them, shape `(S, K, *x_shape)`.
        size: Wanted mean |e| in standard units.
        first: First length tried.
        num_rounds: Measurements.
        unedited: As in `effects`.

    Returns:
        Lengths, shape `(K,)`.
    """
    length, before = np.full(v.shape[1], first), walk.unedited(x) if unedited is None else unedited
    for _ in range(num_rounds):
        reached = effects(walk, x, v, length, gate=None, unedited=before).size
        length = np.clip(length * np.clip(size / np.maximum(reached, 1e-6), 0.2, 5.0), 0.05, MAX_LENGTH)
    return length
