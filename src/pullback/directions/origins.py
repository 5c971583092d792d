"""Whether directions belong together, or to a feature map: by what their origins say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from pullback.directions.types import Direction
from pullback.errors import MismatchError, ShapeError
from pullback.geometry.compare import contradicting
from pullback.types import ORIGIN_NAMES, Origin

OVERRIDE_KEY = "used_in_spite_of"
"""Of the origin of directions that were loaded though they belong elsewhere: what was different."""


def check_found_with(origins: Iterable[Origin], wanted: Origin, *, may_differ: Collection[str] = ()) -> None:
    """Raises unless directions were found with the map that has an origin.

    Args:
        origins: Of the directions. What one of the two does not say is not compared, nor what a direction was loaded in
            spite of.
        wanted: That of the map, or of its bases.
        may_differ: Names that do not matter here.

    Raises:
        MismatchError: Naming what differs.
    """
    for origin in origins:
        overridden = str(origin.get(OVERRIDE_KEY, "")).split(", ")
        names = [name for name in contradicting(wanted, origin) if name not in overridden and name not in may_differ]
        if names:
            raise MismatchError(
                wanted=f"directions of this feature map ({', '.join(f'{name} {wanted[name]}' for name in names)})",
                got=", ".join(f"{name} {origin[name]}" for name in names),
                hint="load what they were found with, or pass allow_mismatch=True to an edit",
            )


def check_together(directions: Sequence[Direction]) -> None:
    """Raises unless directions are of one space and map. In X its layer and pooling do not matter, all else does.

    Raises:
        ShapeError: If they live in different spaces.
        MismatchError: If they are of different models, timesteps or conditions, or in H of different layers.
    """
    first = directions[0]
    for other in directions[1:]:
        if (other.space, other.vector.shape) != (first.space, first.vector.shape):
            raise ShapeError(
                wanted=f"directions of one space, {first.space} of shape {tuple(first.vector.shape)}",
                got=f"{other.space} of shape {tuple(other.vector.shape)}",
                hint="take those of H and of X apart, and use one layer and pool",
            )
    wanted = {name: first.origin[name] for name in ORIGIN_NAMES if name in first.origin}
    may_differ = ("layer", "pool") if first.space == "X" else ()
    check_found_with((each.origin for each in directions), wanted, may_differ=may_differ)
