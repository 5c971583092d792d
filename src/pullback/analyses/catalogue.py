"""The figures by name, in the order of the page, and what each must offer."""

from __future__ import annotations

import importlib
import json
import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Protocol, cast

from pullback.analyses.record import Outcome, Rows
from pullback.analyses.sizes import Size
from pullback.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot

    from pullback.analyses.context import Context

ORDER = (
    "local",
    "timesteps",
    "global",
    "transport",
    "shooting",
    "normalisation",
    "psd",
    "spectra",
    "samples",
    "times",
    "paths",
    "complexity",
    "estimators",
    "masks",
)
"""Modules of `pullback.analyses.figures`; one whose name is a word of Python has a `_` at its end."""
ON_REQUEST = ("complexity",)
"""Made only when they are named: they need other models besides."""
FIGURES = tuple(name for name in ORDER if name not in ON_REQUEST)


class FigureModule(Protocol):
    """A module that makes one figure."""

    TITLE: str
    CAPTION: str

    def num_bases(self, size: Size) -> int:
        """How many bases it needs at most; figures share what they have in common."""
        ...

    def run(self, context: Context) -> Outcome:
        """Computes the numbers."""
        ...

    def draw(self, rows: Rows) -> Plot:
        """Draws them, out of the rows of the CSV alone."""
        ...


@dataclass(frozen=True)
class Claim:
    """One claim, as fixed before any run.

    Attributes:
        name: Short.
        figure: Where it is tested.
        claim: In words.
        effect: What is measured, positive if the claim is right.
        null: What chance gives.
    """

    name: str
    figure: str
    claim: str
    effect: str
    null: str


def load_figure(name: str) -> FigureModule:
    """The module of a figure.

    Raises:
        OptionError: If there is none of that name.
    """
    if name not in ORDER:
        raise OptionError(wanted=f"a figure among {', '.join(ORDER)}", got=repr(name), hint="leave --only out for all")
    module = f"{name}_" if keyword.iskeyword(name) else name
    return cast(FigureModule, importlib.import_module(f"pullback.analyses.figures.{module}"))


def chosen(only: Sequence[str]) -> tuple[str, ...]:
    """The figures that are asked for, in the order of the page; if none is named, all that need nothing else.

    Raises:
        OptionError: If a name is unknown.
    """
    for name in only:
        load_figure(name)
    return tuple(name for name in ORDER if name in (only or FIGURES))


def claims() -> Mapping[str, Claim]:
    """The claims by name, out of ``claims.json``, which was written before the first run.

    Example:
        >>> claims()["spectra flatten"].figure
        'spectra'
    """
    content = json.loads(files("pullback.analyses").joinpath("claims.json").read_text(encoding="utf-8"))
    return {entry["name"]: Claim(**entry) for entry in content}
