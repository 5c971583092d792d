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
    "prompts",
    "estimators",
    "masks",
)
"""Modules of `pullback.analyses.figures`; one whose name is a word of Python has a `_` at its end."""
NEEDS = {
    "complexity": "models few-* and many-* (--siblings DIR)",
    "prompts": 'a text-to-image model (--only prompts --prompts "a dog;a puppy;a castle")',
}
"""What some figures need besides a model."""
ON_REQUEST = tuple(NEEDS)
"""They need more than the model, and are made when they have it, or are named."""
AMONG = {"spectra": "psd", "samples": "psd"}
"""Figures whose bases are all among those of another."""
ALONE = ("paths", "masks")
"""Figures whose bases no other one asks for: they are not kept in the bank."""
REVISIONS = {"paths": 2, "estimators": 3, "masks": 2}
"""Of figures whose numbers have changed their meaning: a table of an earlier one is not taken for finished."""
FIGURES = tuple(name for name in ORDER if name not in ON_REQUEST)


class FigureModule(Protocol):
    """A module that makes one figure."""

    TITLE: str
    CAPTION: str
    PAPER: str
    """What the counterpart in the papers shows."""

    def num_bases(self, size: Size) -> int:
        """How many bases it needs at most, for each prompt if it is about prompts; figures share common ones."""
        ...

    def run(self, context: Context) -> Outcome:
        """Computes the numbers."""
        ...

    def draw(self, rows: Rows) -> Plot:
        """Draws them, out of the rows of the CSV alone."""
        ...


@dataclass(frozen=True)
class Claim:
    """One claim, as fixed before the committed run; what was read otherwise afterwards says so.

    Attributes:
        name: Short.
        figure: Where it is tested.
        claim: In words.
        effect: What is measured, positive if the claim is right.
        null: What chance gives.
        sharpened: How and since when it is read otherwise than in the first run; empty if it is not.
    """

    name: str
    figure: str
    claim: str
    effect: str
    null: str
    sharpened: str = ""


def load_figure(name: str) -> FigureModule:
    """The module of a figure.

    Raises:
        OptionError: If there is none of that name.
    """
    if name not in ORDER:
        raise OptionError(wanted=f"a figure among {', '.join(ORDER)}", got=repr(name), hint="leave --only out for all")
    module = f"{name}_" if keyword.iskeyword(name) else name
    return cast(FigureModule, importlib.import_module(f"pullback.analyses.figures.{module}"))


def chosen(only: Sequence[str], *, ready: Sequence[str] = ()) -> tuple[str, ...]:
    """The figures that are asked for, in the order of the page; if none is named, all that have what they need.

    Args:
        only: Names.
        ready: Which of `ON_REQUEST` have what they need.

    Raises:
        OptionError: If a name is unknown.

    Example:
        >>> "complexity" in chosen([]), "complexity" in chosen([], ready=["complexity"]), chosen(["psd", "local"])
        (False, True, ('local', 'psd'))
    """
    for name in only:
        load_figure(name)
    return tuple(name for name in ORDER if name in (only or (*FIGURES, *ready)))


def most_bases(name: str, size: Size, *, num_prompts: int = 0) -> int:
    """How many bases a figure needs at most.

    Args:
        name: Of the figure.
        size: How much is computed.
        num_prompts: How many prompts there are, for the figure that compares them.

    Raises:
        OptionError: If there is no figure of that name.
    """
    return load_figure(name).num_bases(size) * (num_prompts if name == "prompts" else 1)


def total_bases(names: Sequence[str], size: Size, *, num_prompts: int = 0) -> int:
    """How many bases figures need at most together; those that are `AMONG` another's do not count again.

    Args:
        names: Of the figures.
        size: How much is computed.
        num_prompts: How many prompts there are.

    Raises:
        OptionError: If there is no figure of one of the names.

    Example:
        >>> from pullback.analyses.sizes import SIZES
        >>> size = SIZES["default"]
        >>> total_bases(["psd", "spectra"], size) == total_bases(["psd"], size) == total_bases(["spectra"], size)
        True
    """
    alone = [name for name in names if AMONG.get(name) not in names]
    return sum(most_bases(name, size, num_prompts=num_prompts) for name in alone)


def claims() -> Mapping[str, Claim]:
    """The claims by name, out of ``claims.json``: fixed before the committed run, some readings sharpened afterwards.

    Example:
        >>> claims()["spectra flatten"].figure
        'spectra'
    """
    content = json.loads(files("pullback.analyses").joinpath("claims.json").read_text(encoding="utf-8"))
    return {entry["name"]: Claim(**entry) for entry in content}
