"""Options of ``pullback analyze``; the docstrings are the help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


@dataclass(frozen=True)
class Analyze:
    """Make the analyses and figures of both papers on a model, with intervals and matched nulls.

    Writes one CSV a figure, pictures, and analysis.html. Started again, it goes on where it stopped.
    """

    out: Annotated[Path, arg(metavar="DIR")]
    """Folder to write to; it is made if it is not there."""
    model: Annotated[Positional[str], arg(metavar="[MODEL]")] = "portraits"
    """A shipped model, a folder in diffusers' layout, or a hub id."""
    only: Annotated[str, arg(metavar="A,B,...")] = ""
    """Figures to make, by name; all that have what they need if none is given."""
    seed: int = 0
    """Of the run: another seed takes other samples."""
    quick: bool = False
    """A look: few samples, low rank."""
    paper: bool = False
    """The papers' sizes: 50 pairs, 30 segments, 50 directions; many hours on a CPU."""
    bank: Annotated[str, arg(metavar="DIR")] = ""
    """Folder that keeps local bases; OUT/bank if none is given."""
    siblings: Annotated[str, arg(metavar="DIR")] = ""
    """Folder of models few-* and many-*, of simple and rich data, for the figure complexity; portraits have theirs."""
    prompts: Annotated[str, arg(metavar='"A;B;C"')] = ""
    """Three or more prompts, for --only prompts on a text-to-image model: do similar ones have similar spaces?"""
    device: Annotated[str, arg(metavar="NAME")] = "cpu"
    """Where to compute: cpu, cuda, cuda:1, mps."""
    threads: int = 0
    """Processor threads; 0 leaves the choice to torch."""
