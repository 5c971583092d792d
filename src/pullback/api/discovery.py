"""What `discover` found, in memory and in a folder."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

from pullback.api.settings import Settings
from pullback.directions.store import load_directions, save_directions
from pullback.directions.types import Direction
from pullback.errors import FileFormatError, OptionError
from pullback.files import write_atomic, write_json
from pullback.geometry.tangent import TangentBasis
from pullback.measure.report import read_images, render
from pullback.measure.report_data import ReportData, Stage, from_plain, to_plain

if TYPE_CHECKING:
    from torch import Tensor

DIRECTIONS, REPORT, PAGE = "directions.safetensors", "report.json", "report.html"


@dataclass(frozen=True, eq=False)
class Discovery(Sequence[Direction]):
    """Global directions with all that led to them; a sequence of `Direction`.

    Attributes:
        directions: By falling mean singular value.
        bases: One a discovery sample.
        held_out_bases: One a held-out sample.
        held_out: Latents of the held-out samples, `(num_held_out, *x_shape)`.
        latents: Latents of the discovery samples, `(num_samples, *x_shape)`.
        settings: What was asked for.
        origin: All that determines the feature map.
        distance: Median |h(a) - h(b)| of the discovery samples: scale 1 is a tenth of it.
        stages: Seconds, products and network calls of each stage.
    """

    directions: tuple[Direction, ...]
    bases: tuple[TangentBasis, ...]
    held_out_bases: tuple[TangentBasis, ...]
    latents: Tensor
    held_out: Tensor
    settings: Settings
    origin: Mapping[str, str | int | float]
    distance: float
    stages: tuple[Stage, ...] = ()

    def __len__(self) -> int:
        return len(self.directions)

    def __iter__(self) -> Iterator[Direction]:
        return iter(self.directions)

    @overload
    def __getitem__(self, index: int) -> Direction: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Direction]: ...
    def __getitem__(self, index: int | slice) -> Direction | Sequence[Direction]:
        return self.directions[index]

    @property
    def timings(self) -> dict[str, float]:
        """Seconds by stage."""
        return {stage.name: stage.seconds for stage in self.stages}

    def save(self, folder: str | Path, report: ReportData | None = None) -> None:
        """Writes ``directions.safetensors`` and, given a report, ``report.json`` and ``report.html``.

        All of them, or, after a failure, none: what was there before stays.
        """
        save_results(folder, self.directions, report)


def save_results(folder: str | Path, directions: Sequence[Direction], report: ReportData | None) -> None:
    """Writes directions and report into ``folder`` together, replacing older ones only when all are complete."""
    with staged(folder) as stage:
        save_directions(stage / DIRECTIONS, directions)
        if report is not None:
            write_json(stage / REPORT, to_plain(report))
            write_atomic(stage / PAGE, render(report))


def load_discovery(folder: str | Path) -> tuple[list[Direction], ReportData]:
    """Returns the directions in ``folder`` and what its report says, without pictures.

    Raises:
        OptionError: If there is no such folder, or nothing was discovered into it.
        FileFormatError: If a file is damaged.
    """
    folder = Path(folder)
    if not (folder / DIRECTIONS).is_file() or not (folder / REPORT).is_file():
        raise OptionError(
            wanted=f"a folder with {DIRECTIONS} and {REPORT}",
            got=f"{folder}" + ("" if folder.is_dir() else ", which is no folder"),
            hint=f"`pullback discover --out {folder}` makes one",
        )
    try:
        plain = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(
            wanted=f"JSON in {folder / REPORT}", got=str(error)[:200], hint="run `pullback discover` again"
        ) from error
    return load_directions(folder / DIRECTIONS), from_plain(plain)


def label_direction(folder: str | Path, index: int, label: str) -> str:
    """Calls direction ``index`` of a folder ``label``, in all three files; returns what it was called before.

    Raises:
        OptionError: If there is no such direction, or the label has more than 80 characters or unprintable ones.
        FileFormatError: If a file is damaged.
    """
    directions, report = load_discovery(folder)
    chosen = pick(directions, index)
    if len(label) > 80 or not label.isprintable():
        raise OptionError(
            wanted="a label of at most 80 printable characters", got=repr(label[:100]), hint='such as "head turn"'
        )
    page = Path(folder) / PAGE
    if page.is_file():
        report = report.with_images(read_images(page.read_bytes()))
    renamed = [replace(each, name=label) if each is chosen else each for each in directions]
    save_results(folder, renamed, report.with_label(chosen.index, label))
    return chosen.name


def pick(directions: Sequence[Direction], index: int) -> Direction:
    """Returns direction ``index``, counted from 0.

    Raises:
        OptionError: If there is none.
    """
    if not 0 <= index < len(directions):
        raise OptionError(
            wanted=f"a direction from 0 to {len(directions) - 1}", got=str(index), hint="the report numbers them"
        )
    return directions[index]


@contextmanager
def staged(folder: str | Path) -> Generator[Path]:
    """A folder to write into; its files move to ``folder`` when the block ends well, and vanish when it does not."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    try:
        yield stage
        for file in sorted(stage.iterdir(), key=lambda file: (file.suffix == ".json", file.name)):
            file.replace(folder / file.name)  # records come last: they say that the others are there
    finally:
        shutil.rmtree(stage, ignore_errors=True)
