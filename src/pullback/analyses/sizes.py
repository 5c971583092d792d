"""How much an analysis computes: a look of minutes, half an hour on two cores, or the papers' sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from pullback.errors import OptionError

SizeName = Literal["quick", "default", "paper"]


@dataclass(frozen=True)
class Size:
    """Numbers that all figures share; each figure says which of them it uses.

    Attributes:
        num_samples: Samples whose bases are compared or averaged, >= 3.
        num_held_out: Samples that took no part, >= 2.
        num_pairs: Pairs of latents that paths join.
        num_segments: Segments of a path.
        num_shown: Directions with pictures.
        num_people: Samples in a row of pictures.
        rank: Directions of a basis.
        t_fractions: Shares of T, falling, from at most 1 to above 0.
        num_steps: DDIM steps of a whole walk.
        num_read: Samples whose edits the oracle reads, where factors are known.

    Raises:
        OptionError: If a number is too small to say anything.

    Example:
        >>> SIZES["quick"].num_samples < SIZES["default"].num_samples < SIZES["paper"].num_samples
        True
    """

    num_samples: int
    num_held_out: int
    num_pairs: int
    num_segments: int
    num_shown: int
    num_people: int
    rank: int
    t_fractions: tuple[float, ...]
    num_steps: int
    num_read: int

    def __post_init__(self) -> None:
        least = {"num_samples": 3, "num_held_out": 2, "num_pairs": 2, "num_segments": 2, "num_read": 2}
        least |= dict.fromkeys(("num_shown", "num_people", "rank", "num_steps"), 1)
        small = [name for name, value in least.items() if getattr(self, name) < value]
        is_falling = len(self.t_fractions) > 1 and all(1 >= a > b > 0 for a, b in pairwise(self.t_fractions))
        if small or not is_falling:
            raise OptionError(
                wanted=", ".join(f"{name} >= {least[name]}" for name in small) or "two or more falling shares of T",
                got=f"{self}",
                hint="quick, default and paper are sizes that work",
            )


SIZES: Mapping[SizeName, Size] = {
    "quick": Size(3, 2, 2, 2, 1, 1, 3, (0.8, 0.3), 3, 2),
    "default": Size(10, 6, 6, 8, 4, 3, 10, (1.0, 0.8, 0.6, 0.4, 0.2), 20, 8),
    "paper": Size(32, 16, 50, 30, 6, 4, 50, (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05), 50, 24),
}
"""``paper`` has the published 50 pairs, 30 segments, 50 directions (of the published code) and both ends of the grid of
t/T; its steps, and what is not stated, are ours."""
