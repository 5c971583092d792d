"""Does the planner keep its word? Forecast against what happened, in ten cases."""

from __future__ import annotations

import time

from benchmarks.record import Row
from benchmarks.resident import peak_bytes, reset_peak
from pullback.api import discover, forecast, load
from pullback.api.settings import PageSettings, Settings

CASES: tuple[dict, ...] = (
    {"rank": 4},
    {"rank": 10},
    {"rank": 24},
    {"rank": 50, "num_samples": 4},
    {"rank": 10, "batch": 1},
    {"rank": 24, "batch": 2},
    {"rank": 10, "t_fraction": 0.5},
    {"rank": 24, "t_fraction": 0.2},
    {"rank": 10, "pool": "sum"},
    {"rank": 10, "layer": "down_blocks.1"},
)


def planner_rows() -> list[Row]:
    """Products and seconds of the local bases, and resident memory of the process, as forecast and as they came."""
    table, model, rows, kept = "Planner: forecast and fact, local bases", load("portraits"), [], 0
    for options in CASES:
        given = {"num_samples": 6, "num_held_out": 2, "rank": 10, **options}
        expected = forecast(model, Settings(**given), PageSettings())
        start = time.perf_counter()
        reset_peak()
        found = discover(model, plan=expected.plan, **{**given, "batch": expected.batch})
        seconds, resident = time.perf_counter() - start, peak_bytes()
        stage = next(stage for stage in found.stages if stage.name == "local bases")
        ratio = stage.seconds / expected.seconds_bases
        kept += abs(ratio - 1) <= 0.3
        figures = {
            "products, forecast": float(expected.num_products),
            "products": float(stage.num_products),
            "seconds, forecast": expected.seconds_bases,
            "seconds": stage.seconds,
            "fact / forecast": ratio,
            "seconds in all": seconds,
            "memory, forecast, MiB": expected.memory_bytes / 2**20,
            "memory, MiB": resident / 2**20,
        }
        rows.append(Row(table, ", ".join(f"{name} {value}" for name, value in options.items()), figures))
    rows.append(Row(table, "within 30 %", {"fact / forecast": f"{kept} of {len(CASES)}"}))
    return rows
