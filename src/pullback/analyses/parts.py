"""Parts of a figure that takes hours: a run that was killed goes on after the last one that was finished.

A part is small, its rows, pictures and numbers; the bases behind it, which no other figure asks for, are not kept.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pullback.analyses.record import Rows
from pullback.errors import FileFormatError
from pullback.files import write_json
from pullback.geometry.plan import counted_products


@dataclass(frozen=True, eq=False)
class Part:
    """What one part leaves to its figure.

    Attributes:
        rows: Its rows.
        pictures: PNG files by name.
        arrays: Numbers by name that the figure's findings are made of, and no table shows.
    """

    rows: Rows
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(eq=False)
class Parts:
    """The parts of one figure, a file each.

    Attributes:
        folder: Where they are kept; None keeps none.
        key: All that determines the figure: a file of another key is not one of its parts.
        num_products: What the parts that were found had taken when they were made.
        seconds: The same.
    """

    folder: Path | None = None
    key: str = ""
    num_products: int = 0
    seconds: float = 0.0

    def each(
        self,
        num: int,
        make: Callable[[Sequence[int]], Sequence[Part]],
        *,
        together: int,
        found: Callable[[int], None],
    ) -> list[Part]:
        """All parts, of which those that are not there yet are made, and kept as soon as they are.

        Args:
            num: How many there are.
            make: The parts of some numbers, in their order.
            together: How many are made at a time: what a kill loses at most.
            found: Told how many are there already, before the others are begun.

        Raises:
            FileFormatError: If a file of this figure is damaged.
        """
        parts = {i: part for i in range(num) if (part := self._found(i)) is not None}
        missing = [i for i in range(num) if i not in parts]
        found(len(parts))
        for first in range(0, len(missing), max(1, together)):
            some, start = missing[first : first + max(1, together)], time.perf_counter()
            with counted_products() as tally:
                made = dict(zip(some, make(some), strict=True))
            seconds = time.perf_counter() - start
            for i, part in made.items():
                self._keep(i, part, num_products=tally.products.total // len(some), seconds=seconds / len(some))
            parts |= made
        return [parts[i] for i in range(num)]

    def clear(self) -> None:
        """Removes them: the figure is finished."""
        if self.folder is not None and self.folder.is_dir():
            for path in self.folder.glob("*.json"):
                path.unlink()
            if not any(self.folder.iterdir()):
                self.folder.rmdir()

    def _found(self, i: int) -> Part | None:
        """A part whose file is there and of this figure."""
        if self.folder is None or not self._path(i).exists():
            return None
        try:
            content = json.loads(self._path(i).read_text(encoding="utf-8"))
            if content["key"] != self.key:
                return None
            pictures = {name: base64.b64decode(text, validate=True) for name, text in content["pictures"].items()}
            arrays = {name: np.array(each, dtype=np.float64) for name, each in content["arrays"].items()}
            part = Part([dict(row) for row in content["rows"]], pictures, arrays)
            self.num_products += int(content["num_products"])
            self.seconds += float(content["seconds"])
        except (ValueError, KeyError, AttributeError, TypeError) as error:  # a text that is no base64 is a ValueError
            raise FileFormatError(
                wanted=f"{self._path(i)} needs a finished part of a figure",
                got=f"{type(error).__name__}: {error}",
                hint="delete it: it is made again",
            ) from error
        return part

    def _keep(self, i: int, part: Part, *, num_products: int, seconds: float) -> None:
        if self.folder is None:
            return
        content = {
            "key": self.key,
            "num_products": num_products,
            "seconds": round(seconds, 1),
            "rows": list(part.rows),
            "pictures": {name: base64.b64encode(picture).decode() for name, picture in part.pictures.items()},
            "arrays": {name: array.tolist() for name, array in part.arrays.items()},
        }
        write_json(self._path(i), content)

    def _path(self, i: int) -> Path:
        return Path(self.folder or "") / f"part-{i}.json"
