"""Changes beyond those of a matched null: what chance does too is no evidence, however surely it is measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pullback.analyses.record import Finding, finding, interval

Array = NDArray[np.float64]


def beyond(claim: str, raw: Array, null: Array | float) -> Finding:
    """The finding about a change, less the change of its matched null; chance gives 0.

    Args:
        claim: Its name.
        raw: The change as measured, one value for each independent unit.
        null: The same change of the null: one value for each unit, or one for all where it is drawn from all at once.

    Example:
        >>> beyond("psd", np.array([1.0, 2.0]), np.array([1.0, 2.0])).effect
        0.0
    """
    return finding(claim, raw - null)


def raw_text(what: str, raw: Array, null: Array | float) -> str:
    """The change as measured, in words, so that what the null took off it stays visible.

    Args:
        what: The change, with its unit.
        raw: As for `beyond`.
        null: As for `beyond`.

    Example:
        >>> raw_text("distance", np.array([1.0, 1.0]), 0.25)
        'distance: +1.00 [+1.00, +1.00], of which the matched null has +0.25.'
    """
    mean, low, high = interval(raw)
    return f"{what}: {mean:+.2f} [{low:+.2f}, {high:+.2f}], of which the matched null has {float(np.mean(null)):+.2f}."
