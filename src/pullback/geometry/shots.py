"""Shots, and many of them in step.

A shot is a generator that asks for the basis at its next latent: those of many shots can be computed together.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pullback.geometry.tangent import TangentBasis


@dataclass(frozen=True, eq=False)
class Shot:
    """The path of a shot, n steps long.

    Attributes:
        x: Latents, shape `(n + 1, *x_shape)`.
        u: The direction in H at each, unit, shape `(n + 1, D)`.
        v: The direction in X at each, unit, shape `(n + 1, *x_shape)`.
        step: Lengths of the steps in X, shape `(n,)`.
        retained: Share of u that each re-aiming kept, the first of them the start's, shape `(n + 1,)`.
        retained_null: The 95 % of that share for a random direction; a step below it kept nothing.
        bases: Tangent bases at the latents.
        is_complete: Whether the whole length was covered.
    """

    x: Tensor
    u: Tensor
    v: Tensor
    step: Tensor
    retained: Tensor
    retained_null: float
    bases: tuple[TangentBasis, ...]
    is_complete: bool


Shooting = Generator[Tensor, TangentBasis, Shot]
"""Yields the latents, shape `x_shape`, at which it has to be sent the tangent basis; returns the shot."""
BasesAt = Callable[[Tensor], Sequence[TangentBasis]]
"""x, shape `(B, *x_shape)`, to the tangent basis at each."""


def together(walks: Sequence[Shooting], bases_at: BasesAt) -> list[Shot]:
    """Runs shots in step, and makes the bases that they ask for at once in one call.

    It warns of nothing: whether the whole length was covered each shot says itself.

    Args:
        walks: Of `shooting` or `shooting_towards`.
        bases_at: Makes the tangent bases.

    Returns:
        The shots, in order.

    Example:
        >>> from pullback.testing import UnitMap
        >>> from pullback.geometry import JacobianAt, top_singular
        >>> from pullback.geometry.shooting import shooting
        >>> f, x = UnitMap(2), torch.eye(2, dtype=torch.float64)
        >>> walks = [shooting(f, start, 1 - start, step=0.1, num_steps=n) for start, n in zip(x, (3, 5))]
        >>> shots = together(walks, lambda x: [top_singular(JacobianAt(f, each), 1) for each in x])
        >>> [len(shot.bases) for shot in shots]
        [4, 6]
    """
    shots: dict[int, Shot] = {}
    sent: dict[int, TangentBasis | None] = dict.fromkeys(range(len(walks)))  # None begins a walk
    while sent:
        asked = {}
        for i, basis in sent.items():
            try:
                asked[i] = next(walks[i]) if basis is None else walks[i].send(basis)
            except StopIteration as end:
                shots[i] = end.value
        bases = bases_at(torch.stack(list(asked.values()))) if asked else ()
        sent = dict(zip(asked, bases, strict=True))
    return [shots[i] for i in range(len(walks))]
