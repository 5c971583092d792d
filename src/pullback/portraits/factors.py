"""The factors of the portrait world: what varies, over which range, and how it is drawn at random.

A portrait is a row of standard units ``z``, one column a factor: 1 is one standard deviation of rarity, so that
effects on different factors can be compared. The renderer is given physical values,
``p = low + (high - low) * Phi(z)``, uniform between the ends when z is standard normal. A switch is on or off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from pullback.errors import OptionError, ShapeError

Array = NDArray[np.float64]
World = Literal["easy", "hard"]

Z_LIMIT = 2.5
"""Standard units are drawn within +- this: beyond it a uniform physical value no longer moves."""
SKIN_HAIR_CORRELATION = 0.6
"""Correlation of skin tone and hair tone in the hard world."""


@dataclass(frozen=True)
class Factor:
    """One thing that varies from portrait to portrait.

    Attributes:
        name: The word used in reports.
        kind: ``"linear"``, or ``"switch"`` for on and off.
        low: Physical value at z = -infinity.
        high: Physical value at z = +infinity.
        hard: The same two ends in the hard world, where energies are levelled.
        share_on: For a switch, the share of portraits that have it.
        meaning: What a larger value looks like.
    """

    name: str
    kind: Literal["linear", "switch"]
    low: float
    high: float
    hard: tuple[float, float]
    meaning: str
    share_on: float = 1.0


FACTORS: tuple[Factor, ...] = (
    Factor("yaw", "linear", -0.25, 0.25, (-0.048, 0.048), "head turns to the viewer's right; radians"),
    Factor("pitch", "linear", -0.13, 0.13, (-0.036, 0.036), "head tilts forward; radians"),
    Factor("light", "linear", -1.25, 1.25, (-0.5, 0.5), "light moves to the viewer's right; radians"),
    Factor("exposure", "linear", -0.16, 0.16, (-0.13, 0.13), "whole picture brighter; natural logarithm"),
    Factor("skin", "linear", 0.0, 1.0, (0.2, 0.78), "skin from light to dark"),
    Factor("hair tone", "linear", 0.0, 1.0, (0.2, 0.78), "hair from black-brown to blond"),
    Factor("hair length", "linear", 0.0, 1.0, (0.36, 0.56), "hair from ears to shoulders"),
    Factor("face width", "linear", 0.89, 1.11, (0.955, 1.045), "head and jaw wider; ratio"),
    Factor("smile", "linear", -1.0, 1.0, (-0.95, 0.95), "corners of the mouth up, cheeks raised"),
    Factor("mouth open", "linear", 0.0, 1.0, (0.0, 1.0), "mouth from closed to wide open"),
    Factor("eye open", "linear", 0.0, 1.0, (0.2, 0.8), "eyes from nearly shut to wide"),
    Factor("nose", "linear", 0.0, 1.0, (0.0, 1.0), "nose from small to large"),
    Factor("glasses", "switch", 0.0, 1.0, (0.0, 1.0), "wears glasses", share_on=0.4),
    Factor("background red", "linear", -1.0, 1.0, (0.0, 0.0), "background from green to red (opponent a*)"),
    Factor("background yellow", "linear", -1.0, 1.0, (0.0, 0.0), "background from blue to yellow (opponent b*)"),
    Factor("clothes", "linear", 0.0, 1.0, (0.1, 0.9), "clothes from blue to red"),
)
NAMES: tuple[str, ...] = tuple(factor.name for factor in FACTORS)
NUM_FACTORS = len(FACTORS)


def index(name: str) -> int:
    """Returns the column of the factor called ``name``.

    Raises:
        OptionError: If no factor has that name.

    Example:
        >>> index("smile")
        8
    """
    if name not in NAMES:
        raise OptionError(
            wanted=f"a factor of the portrait world ({', '.join(NAMES)})", got=repr(name), hint="check the spelling"
        )
    return NAMES.index(name)


def sample(num: int, *, seed: int, world: World = "easy") -> Array:
    """Draws factors independently from a clipped standard normal (skin and hair correlated in the hard world).

    Args:
        num: Number of portraits, >= 0.
        seed: Same seed, same portraits; the first rows do not depend on ``num``.
        world: ``"easy"`` (shipped) or ``"hard"`` (MEASURES.md, Worlds).

    Returns:
        Standard units, shape `(num, 16)`; a switch is -1 or +1.

    Raises:
        OptionError: If ``num`` is negative or ``world`` unknown.

    Example:
        >>> sample(3, seed=0).shape
        (3, 16)
    """
    if num < 0:
        raise OptionError(wanted="a number of portraits >= 0", got=str(num), hint="ask for none or more")
    _check_world(world)
    z = np.random.default_rng(seed).standard_normal((num, NUM_FACTORS))
    if world == "hard":
        skin, hair, r = index("skin"), index("hair tone"), SKIN_HAIR_CORRELATION
        z[:, hair] = -r * z[:, skin] + np.sqrt(1 - r * r) * z[:, hair]
    for column, factor in enumerate(FACTORS):
        if factor.kind == "switch":
            z[:, column] = np.where(ndtr(z[:, column]) < factor.share_on, 1.0, -1.0)
    return np.clip(z, -Z_LIMIT, Z_LIMIT)


def drawable(z: Array) -> Array:
    """Returns factors as a portrait can have them, whatever was read: within its range, switches off or on.

    Example:
        >>> drawable(np.full((1, NUM_FACTORS), 0.1))[0, index("glasses")].tolist()
        1.0
    """
    z = np.clip(np.asarray(z, float), -Z_LIMIT, Z_LIMIT)
    for j, factor in enumerate(FACTORS):
        if factor.kind == "switch":
            z[:, j] = np.where(z[:, j] > 0, 1.0, -1.0)
    return z


def held(z: Array, names: Sequence[str]) -> Array:
    """Returns portraits in which the named factors no longer vary: in the middle of their range, switches off.

    Args:
        z: Standard units, `(num, 16)`; stays as it is.
        names: Factors.

    Raises:
        OptionError: If a name is unknown.

    Example:
        >>> held(np.ones((1, NUM_FACTORS)), ["yaw", "glasses"])[0, [index("yaw"), index("glasses"), index("nose")]]
        array([ 0., -1.,  1.])
    """
    z = z.copy()
    for name in names:
        z[:, index(name)] = -1.0 if FACTORS[index(name)].kind == "switch" else 0.0
    return z


def to_physical(z: Array, *, world: World = "easy") -> Array:
    """Maps standard units to what the renderer draws: ``low + (high - low) Phi(z)``; a switch to 0 or 1.

    A switch is drawn in between for z strictly between -1 and 1, which its tangent uses.

    Args:
        z: Standard units, shape `(N, 16)`.
        world: Which range to use.

    Returns:
        Physical values, shape `(N, 16)`.

    Raises:
        ShapeError: If ``z`` does not have 16 columns.
        OptionError: If ``world`` is unknown.

    Example:
        >>> float(to_physical(np.zeros((1, 16)))[0, index("yaw")])
        0.0
    """
    _check_world(world)
    z = np.asarray(z, dtype=np.float64)
    if z.ndim != 2 or z.shape[1] != NUM_FACTORS:
        raise ShapeError(wanted=f"factors of shape (N, {NUM_FACTORS})", got=str(z.shape), hint="one row a portrait")
    physical = np.empty_like(z)
    for column, factor in enumerate(FACTORS):
        low, high = (factor.low, factor.high) if world == "easy" else factor.hard
        unit = np.clip((z[:, column] + 1) / 2, 0, 1) if factor.kind == "switch" else ndtr(z[:, column])
        physical[:, column] = low + (high - low) * unit
    return physical


def _check_world(world: str) -> None:
    if world not in ("easy", "hard"):
        raise OptionError(wanted='world "easy" or "hard"', got=repr(world), hint="see MEASURES, Worlds")
