"""Commands and their options; the docstrings are the help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg, subcommand

from pullback.cli.analyze_options import Analyze
from pullback.cli.bank_options import BankOptions, CompareOptions

PoolName = Literal["none", "sum", "sum2", "sum4"]
DtypeName = Literal["float32", "float64", "bfloat16", "float16"]
ModelName = Annotated[Positional[str], arg(metavar="[MODEL]")]
Folder = Annotated[Positional[Path], arg(metavar="DIR")]
OutFolder = Annotated[Path, arg(metavar="DIR")]


@dataclass(frozen=True)
class Discover:
    """Find directions that many samples share, and write a page that shows them.

    Writes directions.safetensors, report.json and report.html. What was in the folder before stays
    until all three are complete.
    """

    out: OutFolder
    """Folder to write to; it is made if it is not there."""
    model: ModelName = "portraits"
    """A shipped model (see `pullback models`), a folder in diffusers' layout, or a hub id."""
    samples: int = 32
    """Samples that the directions are made from."""
    held_out: int = 16
    """Other samples, on which the directions are judged and shown."""
    rank: int = 24
    """Local directions a sample, and at most as many global ones."""
    t_fraction: float = 0.8
    """Where in the noise to look: 1 is pure noise, 0 the picture. Early (near 1) is coarse, late is fine."""
    layer: Annotated[str, arg(metavar="PATH")] = ""
    """Feature layer, such as mid_block; the innermost block if none is given."""
    pool: PoolName = "none"
    """How the feature is pooled: not at all, summed over all positions, or over 2 x 2 or 4 x 4 windows."""
    seed: int = 0
    """Of the run: another seed takes other samples."""
    prompt: Annotated[str, arg(metavar="TEXT")] = ""
    """Prompt of a text model."""
    directions: int = 16
    """Directions to render pictures for."""
    people: int = 5
    """Held-out samples in each row of pictures."""
    max_scale: float = 12.0
    """Scale at the ends of the sliders; 1 moves the feature by a tenth of the distance of two random samples."""
    compare: int = 0
    """Held-out samples on which the directions are compared with controls and a supervised ceiling; 0 for no
    comparison, 64 as in the published table. The portrait model only; much slower than all the rest."""
    bank: Annotated[str, arg(metavar="DIR")] = ""
    """Folder that keeps local bases, so that no run computes one twice; OUT/bank if none is given, "off" for none."""
    device: Annotated[str, arg(metavar="NAME")] = "cpu"
    """Where to compute: cpu, cuda, cuda:1, mps."""
    dtype: DtypeName = "float32"
    """Precision of the network; float32 is needed to verify a basis."""
    threads: int = 0
    """Processor threads; 0 leaves the choice to torch."""
    quick: bool = False
    """A small run to see that everything works: fewer samples, lower rank, fewer pictures."""


@dataclass(frozen=True)
class Edit:
    """Edit a sample or a picture along a direction, or make the frames of an earlier edit again.

    Prints the path of the picture that it wrote: one frame a scale, side by side. Beside it lies PICTURE.edit, a folder
    of edit.json and edit.safetensors; `pullback edit --replay PICTURE.edit` makes the frames again, says of each
    whether it has the same bits, and ends with status 1 if one has not.
    """

    folder: Folder
    """Folder that `pullback discover` wrote; with --replay the folder PICTURE.edit."""
    direction: int | None = None
    """Which direction, counted from 0 as in the report."""
    scale: Annotated[str, arg(metavar="A,B,...")] = "-8,-4,0,4,8"
    """How far, one picture each; 0 is the unedited one, negative the other way."""
    seed: Annotated[int | None, arg(metavar="INT")] = None
    """Sample to edit; the first held-out sample of the folder if neither a seed nor a picture is given."""
    image: Annotated[Path | None, arg(metavar="FILE")] = None
    """Picture to edit instead of a sample; it is inverted first."""
    out: Annotated[Path | None, arg(metavar="FILE")] = None
    """Picture to write, by its ending PNG, WebP or JPEG; DIR/edit-DIRECTION-SAMPLE.png if none is given, and
    DIR/replay.png with --replay."""
    method: Literal["step", "x-guidance"] = "step"
    """One step along the direction, or the published repeated guidance in x."""
    normalise: Literal["off", "original", "edited"] = "off"
    """Repair of colour drift: none, about the unedited sample (as published), or about the edited one."""
    steps: int = 20
    """Steps from noise to picture."""
    model: Annotated[str, arg(metavar="MODEL")] = ""
    """Model to use instead of the one that the folder names."""
    device: Annotated[str, arg(metavar="NAME")] = "cpu"
    """Where to compute: cpu, cuda, cuda:1, mps."""
    dtype: DtypeName = "float32"
    """Precision of the network."""
    allow_mismatch: bool = False
    """Use the direction even if it was found in another model, layer or timestep."""
    replay: bool = False
    """Make the frames of an earlier edit again; only --out, --model, --device and --dtype go with it."""


@dataclass(frozen=True)
class Label:
    """Give a direction a name of your own.

    It appears in the report, and in directions.safetensors. An empty name takes the label away.
    """

    folder: Folder
    """Folder that `pullback discover` wrote."""
    direction: Annotated[Positional[int], arg(metavar="INDEX")]
    """Which direction, counted from 0 as in the report."""
    name: Annotated[Positional[str], arg(metavar="NAME")]
    """What to call it, such as "head turn"."""


@dataclass(frozen=True)
class Models:
    """List the models that come with the package."""


Command = (
    Annotated[Discover, subcommand("discover")]
    | Annotated[Edit, subcommand("edit")]
    | Annotated[Label, subcommand("label")]
    | Annotated[Models, subcommand("models")]
    | Annotated[Analyze, subcommand("analyze")]
    | Annotated[BankOptions, subcommand("bank")]
    | Annotated[CompareOptions, subcommand("compare")]
)
