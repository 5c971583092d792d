"""Whether directions belong together, or to a feature map: by what their origins say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from pullback.directions.types import Direction
from pullback.errors import ShapeError
from pullback.geometry.compare import check_agreeing
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
        check_agreeing(
            [origin],
            wanted,
            what="directions of this feature map",
            hint="load what they were found with; edits take allow_mismatch=True, elsewhere give them another origin",
            may_differ={*may_differ, *_overridden(origin)},
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
    may_differ = {*_overridden(first.origin), *(("layer", "pool") if first.space == "X" else ())}
    check_found_with((each.origin for each in directions), wanted, may_differ=may_differ)


def _overridden(origin: Origin) -> list[str]:
    return str(origin.get(OVERRIDE_KEY, "")).split(", ")
