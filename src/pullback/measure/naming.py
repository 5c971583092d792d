"""Names out of measured effects on known factors: "yaw +.4 rad, light +.1 sd"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pullback.errors import ShapeError

UNCLEAR = "unclear"
SHARE = 0.15
"""A factor is named when it holds at least this share of the squared mean effect ..."""
LEADING_SHARE = 0.3
"""... and the strongest holds at least this; otherwise nothing stands out."""
SHARED = 0.2
"""The mean over samples must keep this share of the samples' own squared effects: otherwise they disagree."""


def name_effects(
    effects: NDArray[np.float64],
    names: Sequence[str],
    *,
    units: Mapping[str, tuple[float, str]] | None = None,
    noise: float = 0.05,
    max_terms: int = 2,
) -> str:
    """Returns the one or two factors that a direction moves, signed, or "unclear".

    Args:
        effects: Odd effect of scale 1 on each factor for each sample in standard units, `(N, F)`.
        names: Of the factors, F of them.
        units: For a factor, how much of which unit one standard unit is; "sd" where it is missing.
        noise: Effect of an edit that does nothing, standard units: three times as much is needed for a name.
        max_terms: Most factors in a name, >= 1.

    Raises:
        ShapeError: If ``effects`` has not one column a name.

    Example:
        >>> name_effects(np.array([[2.0, 0.1], [1.8, 0.0]]), ["yaw", "smile"], units={"yaw": (0.2, "rad")})
        'yaw +.38 rad'
        >>> name_effects(np.array([[1.0, 0.0], [-1.0, 0.0]]), ["yaw", "smile"])
        'unclear'
    """
    effects = np.asarray(effects, dtype=np.float64)
    if effects.ndim != 2 or effects.shape[1] != len(names) or len(effects) == 0:
        raise ShapeError(
            wanted=f"effects of shape (N, {len(names)})",
            got=str(effects.shape),
            hint="one row a sample, one column a name",
        )
    mean = effects.mean(axis=0)
    energy = np.square(mean)
    own = float(np.square(effects).sum(axis=1).mean())
    if own == 0 or energy.sum() < SHARED * own or energy.max() < LEADING_SHARE * energy.sum():
        return UNCLEAR
    order = [int(j) for j in np.argsort(-energy)[:max_terms]]
    kept = [j for j in order if energy[j] >= SHARE * energy.sum() and abs(mean[j]) > 3 * noise]
    terms = [_term(names[j], float(mean[j]), *(units or {}).get(names[j], (1.0, "sd"))) for j in kept]
    return ", ".join(terms) or UNCLEAR


def signed(value: float) -> str:
    """Returns two digits that matter with a sign and without a leading zero.

    Example:
        >>> signed(0.384), signed(-1.25), signed(0.0)
        ('+.38', '-1.2', '+0')
    """
    text = f"{value:+.2f}" if abs(value) < 1 else f"{value:+.1f}"
    text = text.replace("0.", ".", 1) if text[1] == "0" and "." in text else text
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text if len(text) > 1 else "+0"


def _term(name: str, effect: float, size: float, unit: str) -> str:
    return f"{name} {signed(effect * size)} {unit}".strip()
