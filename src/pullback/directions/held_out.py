"""How well a direction is found again in samples that had no part in it, and what chance would give."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from pullback.directions.bases import check_alike, stacked
from pullback.directions.origins import check_found_with
from pullback.directions.types import Direction
from pullback.errors import OptionError, ShapeError
from pullback.geometry.linalg import generator_or_fixed, randn
from pullback.geometry.tangent import TangentBasis

QUANTILE = 0.95


def agreement(direction: Direction, held_out: Sequence[TangentBasis]) -> float:
    """Mean over held-out samples of ``max_j |cos(u, u_j)|``: 1 if every sample has this very direction.

    Args:
        direction: A direction of H.
        held_out: Local bases of samples that it was not made from.

    Returns:
        From 0 to 1. It means nothing without `agreement_null`.

    Raises:
        ShapeError: If the direction does not live in H of the bases.
        MismatchError: If it was found with another map than they.
    """
    return float(_inside(direction, held_out).abs().amax(-1).mean())


def agreement_null(
    direction: Direction,
    held_out: Sequence[TangentBasis],
    *,
    kind: Literal["matched", "haar"] = "matched",
    num_draws: int = 400,
    generator: torch.Generator | None = None,
) -> float:
    """The 95 % of `agreement` by chance.

    * ``"matched"``: every held-out basis is rotated at random inside its own span. Only ``|U_b u|`` matters then: the
      cosines with a rotated basis are a random point on the sphere of that radius in R^k. Beating it says that single
      vectors, and not only spans, are shared.
    * ``"haar"``: u is a random direction of H. Nearly anything beats that.

    Args:
        direction: A direction of H.
        held_out: As for `agreement`.
        kind: Which null.
        num_draws: How many draws the quantile is taken from.
        generator: For the draws.

    Returns:
        From 0 to 1.

    Raises:
        OptionError: If the kind is unknown.
        ShapeError: If the direction does not live in H of the bases.
        MismatchError: If it was found with another map than they.
    """
    generator = generator_or_fixed(generator)
    inside = _inside(direction, held_out)  # (B, k)
    if kind == "matched":
        random = _unit(randn((num_draws, *inside.shape), generator, like=inside))
        cosine = random * torch.linalg.vector_norm(inside, dim=-1)[:, None]
    elif kind == "haar":
        u = stacked(check_alike(held_out, at_least=1))
        random = _unit(randn((num_draws, u.shape[-1]), generator, like=u))
        cosine = torch.einsum("nd,bkd->nbk", random, u)
    else:
        raise OptionError(wanted="kind must be matched or haar", got=repr(kind), hint="claims are made against matched")
    return float(cosine.abs().amax(-1).mean(-1).double().quantile(QUANTILE))


def with_agreement(
    directions: Sequence[Direction],
    held_out: Sequence[TangentBasis],
    *,
    num_draws: int = 400,
    generator: torch.Generator | None = None,
) -> list[Direction]:
    """The same directions with ``agreement`` and ``agreement_null`` (matched) filled in."""
    generator = generator_or_fixed(generator)
    return [
        dataclasses.replace(
            direction,
            agreement=agreement(direction, held_out),
            agreement_null=agreement_null(direction, held_out, num_draws=num_draws, generator=generator),
        )
        for direction in directions
    ]


def _inside(direction: Direction, held_out: Sequence[TangentBasis]) -> Tensor:
    """Cosines of the direction with every u of every sample, shape `(B, k)`."""
    samples = check_alike(held_out, at_least=1)
    u = stacked(samples)
    if direction.space != "H" or direction.vector.shape != u.shape[-1:]:
        raise ShapeError(
            wanted=f"a direction of H, shape ({u.shape[-1]},)",
            got=f"one of {direction.space}, shape {tuple(direction.vector.shape)}",
            hint="agreement compares u's; a direction of X has none",
        )
    check_found_with([direction.origin], samples[0].origin)
    return u @ direction.vector.to(u)


def _unit(rows: Tensor) -> Tensor:
    return rows / torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
