"""What a benchmark run leaves behind: rows of figures, the machine, the versions; as JSON and as tables."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import pullback
from pullback.files import write_json

Figure = float | str | None


@dataclass(frozen=True)
class Row:
    """One line of one table.

    Attributes:
        table: The table's name.
        name: What was measured.
        figures: By column; None is printed as "not measured".
        note: What a reader must know.
        num_runs: Runs that the figures are medians of.
        spread: Smallest and largest of these runs, of figures that differ by more than `SAME`.
    """

    table: str
    name: str
    figures: Mapping[str, Figure]
    note: str = ""
    num_runs: int = 1
    spread: Mapping[str, tuple[float, float]] = field(default_factory=dict)


SAME = 0.02


def medians(runs: Sequence[Sequence[Row]]) -> list[Row]:
    """Returns the rows of several runs of one part as one row each; figures that are words stand as in each run.

    Args:
        runs: Each with rows of the same names.
    """
    found = []
    for row in runs[0]:
        rows = [next(each for each in run if (each.table, each.name) == (row.table, row.name)) for run in runs]
        figures, spread = dict(row.figures), {}
        for column in row.figures:
            values = [each.figures[column] for each in rows]
            numbers = [value for value in values if isinstance(value, float | int)]
            if len(numbers) < len(rows):
                figures[column] = values[0] if len(set(values)) == 1 else ", ".join(map(shown, values))
                continue
            figures[column] = statistics.median(numbers)
            if max(numbers) - min(numbers) > SAME * abs(statistics.median(numbers)):
                spread[column] = min(numbers), max(numbers)
        note = "; ".join(dict.fromkeys(each.note for each in rows))
        found.append(Row(row.table, row.name, figures, note, len(runs), spread))
    return found


def machine() -> dict[str, str]:
    """Returns what determines speed: processor, cores, threads, accelerator, versions."""
    import torch

    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "accelerator": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "diffusers", "numpy", "scipy")},
        "pullback": pullback.__version__,
    }


@dataclass
class Record:
    """A run: where it was made, and its rows."""

    machine: Mapping[str, str] = field(default_factory=machine)
    rows: list[Row] = field(default_factory=list)

    def add(self, rows: Iterable[Row]) -> None:
        """Takes rows in place of those of the same tables."""
        rows = list(rows)
        renewed = {row.table for row in rows}
        self.rows = [row for row in self.rows if row.table not in renewed] + rows

    def elsewhere(self) -> str:
        """Returns in what its machine and versions differ from here: figures of two do not belong into one table."""
        here = machine()
        return ", ".join(
            f"{name} {self.machine.get(name)}, here {here[name]}"
            for name in here
            if self.machine.get(name) != here[name]
        )

    def save(self, path: Path) -> None:
        """Writes JSON."""
        write_json(path, {"machine": dict(self.machine), "rows": [asdict(row) for row in self.rows]})

    @staticmethod
    def load(path: Path) -> Record:
        """Reads what `save` wrote."""
        content = json.loads(path.read_text())
        return Record(content["machine"], [Row(**row) for row in content["rows"]])

    def markdown(self) -> str:
        """Returns every table as Markdown, under a line that says where it was measured."""
        tables = dict.fromkeys(row.table for row in self.rows)
        where = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        parts = [f"Measured on: {where}."]
        return "\n\n".join(parts + [_table(name, [row for row in self.rows if row.table == name]) for name in tables])


def compared(before: Record, after: Record) -> str:
    """Returns a table of ratios after / before, of every figure that both have."""
    old = {(row.table, row.name): row.figures for row in before.rows}
    lines = ["| table | row | figure | before | after | after / before |", "|---|---|---|---|---|---|"]
    for row in after.rows:
        for name, value in row.figures.items():
            was = old.get((row.table, row.name), {}).get(name)
            if isinstance(value, int | float) and isinstance(was, int | float) and was:
                cells = (row.table, row.name, name, shown(was), shown(value), f"{value / was:.2f}")
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def shown(value: Figure) -> str:
    """Returns a figure as it stands in a table."""
    if value is None:
        return "not measured"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _table(name: str, rows: Sequence[Row]) -> str:
    columns = list(dict.fromkeys(column for row in rows for column in row.figures))
    notes = any(row.note for row in rows)
    head = ["", *columns, *(["note"] if notes else [])]
    lines = [f"### {name}", "", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    if rows[0].num_runs > 1:
        lines[2:2] = [f"Medians of {rows[0].num_runs} runs; in brackets their range, where it is more than 2 %.", ""]
    for row in rows:
        cells = [row.name, *(_cell(row, column) for column in columns)]
        lines.append(f"| {' | '.join(cells + ([row.note] if notes else []))} |")
    return "\n".join(lines)


def _cell(row: Row, column: str) -> str:
    if column not in row.figures:
        return ""
    low_high = row.spread.get(column)
    return shown(row.figures[column]) + (f" ({shown(low_high[0])}-{shown(low_high[1])})" if low_high else "")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def say(text: str) -> None:
    """Tells whoever waits what is being measured."""
    print(f"  {text}", file=sys.stderr, flush=True)
