"""What a figure leaves behind: a table, findings about claims, pictures; and their files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pullback.errors import FileFormatError, OptionError
from pullback.files import write_atomic

Value = str | float | int
Rows = Sequence[Mapping[str, Value]]
NUM_BOOTSTRAP = 1000
NOT_SHOWN = "not shown at this size"
MIN_UNITS = 6
"""Fewer independent units than this show nothing: a bootstrap of a handful of values is too narrow."""


@dataclass(frozen=True)
class Finding:
    """What a run says about one claim.

    Attributes:
        claim: Its name in ``claims.json``.
        effect: Signed so that the claim is right if it is positive.
        low: 95 % interval of it.
        high: Its other end.
        null: What chance would give, from a matched null; 0 for a paired difference.
        num: Independent units (samples, pairs, seeds) behind the interval.
    """

    claim: str
    effect: float
    low: float
    high: float
    null: float
    num: int

    @property
    def verdict(self) -> str:
        """``"shown"``, ``"the opposite is shown"`` or ``"not shown at this size"``, as ever below `MIN_UNITS` units.

        Example:
            >>> Finding("psd", 0.2, 0.1, 0.3, 0.0, 12).verdict, Finding("psd", 0.2, -0.1, 0.3, 0.0, 12).verdict
            ('shown', 'not shown at this size')
        """
        if self.num < MIN_UNITS:
            return NOT_SHOWN
        if self.low > self.null:
            return "shown"
        return "the opposite is shown" if self.high < self.null else NOT_SHOWN


@dataclass(frozen=True, eq=False)
class Outcome:
    """Everything that one figure computed.

    Attributes:
        rows: Its numbers, one dictionary a row of the CSV; all have the same keys.
        findings: What they say about claims.
        pictures: PNG files by name, for figures that show edits.
        num: Independent units behind the numbers.
        note: What a reader must know.
    """

    rows: Rows
    findings: Sequence[Finding] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    num: int = 0
    note: str = ""


def interval(values: Sequence[float] | NDArray[np.float64], *, seed: int = 0) -> tuple[float, float, float]:
    """Mean of independent values with its 95 % bootstrap interval.

    Args:
        values: One for each independent unit, at least two.
        seed: Of the resampling.

    Raises:
        OptionError: If there are fewer than two: one value has no spread.

    Example:
        >>> interval([1.0, 1.0, 1.0])
        (1.0, 1.0, 1.0)
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) < 2:
        raise OptionError(
            wanted="two or more independent values", got=f"shape {values.shape}", hint="use more samples or pairs"
        )
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(NUM_BOOTSTRAP, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def interval_or_range(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """`interval` of `MIN_UNITS` values or more; of fewer their mean with the smallest and the largest.

    Example:
        >>> interval_or_range(np.array([1.0, 2.0, 6.0]))
        (3.0, 1.0, 6.0)
    """
    if len(values) >= MIN_UNITS:
        return interval(values)
    return float(values.mean()), float(values.min()), float(values.max())


def difference_text(name: str, values: NDArray[np.float64]) -> str:
    """A paired difference in words: its mean, its interval, and whether that holds 0; of few units their range.

    Example:
        >>> difference_text("pass rate", np.full(6, 0.5)), difference_text("response", np.array([-1.0, 1.0]))
        ('pass rate +0.50 [+0.50, +0.50]', 'response +0.00 [-1.00, +1.00] (n = 2: the range, no interval)')
    """
    mean, low, high = interval_or_range(values)
    told = f"{name} {mean:+.2f} [{low:+.2f}, {high:+.2f}]"
    if len(values) < MIN_UNITS:
        return f"{told} (n = {len(values)}: the range, no interval)"
    return f"{told} ({NOT_SHOWN})" if low <= 0 <= high else told


def of_pairs(means: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Independent values out of each sample's mean over all others, for `interval`: jackknife pseudo-values.

    A pair counts for both of its samples, so that the means move together: an interval of the means themselves is half
    as wide as it should be. ``(2 (n - 1) m_i - n m) / (n - 2)`` have the same mean, and the spread that is due.

    Args:
        means: One for each of three or more samples.

    Raises:
        OptionError: If there are fewer than three.

    Example:
        >>> of_pairs([1.0, 2.0, 3.0]).tolist()
        [-2.0, 2.0, 6.0]
    """
    means = np.asarray(means, float)
    if means.ndim != 1 or len(means) < 3:
        raise OptionError(
            wanted="means over pairs of three or more samples", got=f"shape {means.shape}", hint="use more samples"
        )
    num = len(means)
    return (2 * (num - 1) * means - num * means.mean()) / (num - 2)


def redrawn(figure: Callable[..., float], *nums: int, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of a figure of several kinds of units, such as directions and samples, all drawn again.

    Args:
        figure: Takes an array of indices for each kind.
        nums: How many units of each kind there are.
        seed: Of the resampling.

    Example:
        >>> redrawn(lambda rows, columns: float(np.ones((2, 3))[np.ix_(rows, columns)].mean()), 2, 3)
        (1.0, 1.0)
    """
    rng = np.random.default_rng(seed)
    drawn = [figure(*(rng.integers(num, size=num) for num in nums)) for _ in range(NUM_BOOTSTRAP)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def finding(claim: str, values: Sequence[float] | NDArray[np.float64], *, null: float = 0.0) -> Finding:
    """A finding out of one value for each independent unit."""
    effect, low, high = interval(values)
    return Finding(claim, effect, low, high, null, len(values))


def write_csv(path: Path, rows: Rows) -> None:
    """Writes a table, numbers with six digits.

    Raises:
        OptionError: If there is no row, or the rows differ in their keys.
    """
    if not rows or any(list(row) != list(rows[0]) for row in rows):
        raise OptionError(wanted="rows that have the same columns", got=f"{len(rows)} rows", hint="fill every column")
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows([{k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows])
    write_atomic(path, text.getvalue().encode())


def read_csv(path: Path) -> list[dict[str, Value]]:
    """Reads a table that `write_csv` wrote, or that someone edited; numbers come back as numbers.

    Raises:
        FileFormatError: If it is no table with a head and full rows.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or any(None in row or None in row.values() for row in rows):
        raise FileFormatError(
            wanted=f"{path.name} needs a head and rows of its length", got="another file", hint="run the analysis again"
        )
    return [{name: _value(text) for name, text in row.items()} for row in rows]


def column(rows: Rows, name: str, **where: Value) -> NDArray[np.float64]:
    """The numbers of one column, of the rows that have the given values.

    Example:
        >>> column([{"t": 1.0, "s": 2.0}, {"t": 0.5, "s": 3.0}], "s", t=0.5)
        array([3.])
    """
    return np.array([float(row[name]) for row in rows if all(row[key] == value for key, value in where.items())])


def distinct(rows: Rows, name: str) -> list[Value]:
    """The different values of a column, in order of appearance."""
    return list(dict.fromkeys(row[name] for row in rows))


def _value(text: str) -> Value:
    try:
        return float(text)
    except ValueError:
        return text
