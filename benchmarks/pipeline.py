"""What people wait for: `discover` to its report by stage, an edit to its picture, and what batching brings."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.cases import Case, portraits_of_size
from benchmarks.ideas import fastest_of
from benchmarks.record import Figure, Row, say
from pullback.api import discover, forecast, load, make_report
from pullback.api.cost import Forecast
from pullback.api.model import Model
from pullback.api.pictures import NUM_NOISES
from pullback.api.settings import PageSettings, Settings
from pullback.directions import local_basis
from pullback.geometry import Plan, measure_plan
from pullback.measure.report_data import Stage
from pullback.models.multistep import picture_steps


def discover_rows(*, first: Path | None = None) -> list[Row]:
    """Seconds of each stage of the main job on portraits, default size.

    Args:
        first: A worktree of the first version, commit 154b00b, which runs right before ours; else that is not measured.
    """
    settings, page = Settings(), PageSettings()
    theirs = {} if first is None else stages_of(first)
    model = load("portraits")
    expected = forecast(model, settings, page)
    found = discover(model, plan=expected.plan, batch=expected.batch)
    report = make_report(
        model, found, source="portraits", command="", page=page, precision=expected.precision, plan=expected.record()
    )
    table = "`discover` on portraits, default size, seconds by stage"
    told = {
        "samples": expected.prices.of(expected.samples),
        "local bases": expected.seconds_bases,
        "pictures": expected.seconds_pictures,
        "names, factors and strips": expected.prices.of(expected.names),
    }
    rows = []
    for stage in report.stages:
        figures: dict[str, Figure] = {"seconds": stage.seconds, "forecast": told.get(stage.name)}
        figures |= compared(stage.seconds, theirs.get(stage.name))
        rows.append(Row(table, stage.name, figures | {"products": float(stage.num_products)}))
    total = sum(stage.seconds for stage in report.stages)
    figures = {"seconds": total, "forecast": expected.seconds, **compared(total, sum(theirs.values()) or None)}
    return [*rows, Row(table, "in all", figures), *floor_rows(model, expected, report.stages)]


def stages_of(worktree: Path) -> dict[str, float]:
    """Seconds of each stage of the main job as another checkout runs it, in a process of its own."""
    say(f"the main job of {worktree}")
    with TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pullback", "discover", "--out", f"{folder}/run"],
            env={**os.environ, "PYTHONPATH": str((worktree / "src").resolve())},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        report = json.loads((Path(folder) / "run" / "report.json").read_text(encoding="utf-8"))
    return {stage["name"]: stage["seconds"] for stage in report["stages"]}


def compared(seconds: float, first: float | None) -> dict[str, Figure]:
    """A stage beside the same one of the first version."""
    return {"first version, s": first, "share of that": None if first is None else seconds / first}


def floor_rows(model: Model, expected: Forecast, stages: Sequence[Stage]) -> list[Row]:
    """Of what the two long stages are made: pieces that no solver can leave out, and what one of them takes alone."""
    table = "`discover` on portraits: what its long stages are made of"
    settings = Settings()
    seconds = {stage.name: stage.seconds for stage in stages}
    num_products = next(stage.num_products for stage in stages if stage.name == "local bases")
    steps = picture_steps(settings.num_steps, settings.t_fraction) + NUM_NOISES
    num_rows = expected.num_pictures * steps
    x = model.sample_latent(t_fraction=settings.t_fraction, seeds=range(PageSettings().batch), num_steps=1)
    f = model.feature_map(t_fraction=settings.t_fraction)
    with torch.no_grad():
        row = fastest_of(lambda: model.predict(x, f.t or 0)) / len(x)
        encoder = fastest_of(lambda: f(x[: expected.batch])) / expected.batch
    least = 2 * settings.rank * (settings.num_samples + settings.num_held_out)
    return [
        Row(
            table,
            "pictures, in passes of the network",
            {"pieces": float(num_rows), "ms a piece": 1e3 * seconds["pictures"] / num_rows, "ms of a pass": 1e3 * row},
        ),
        Row(
            table,
            "local bases, in products",
            {
                "pieces": float(num_products),
                "of these 2k a sample": float(least),
                "ms a piece": 1e3 * seconds["local bases"] / num_products,
                "ms of a pass": 1e3 * encoder,
            },
        ),
    ]


def edit_rows(*, num: int = 8) -> list[Row]:
    """One edit of one picture after loading: from the call to pixels."""
    model = load("portraits")
    found = discover(model, num_samples=4, num_held_out=2, rank=4)
    direction = found[0]
    f = model.feature_map(t_fraction=0.8)
    table = "One edit of one picture, after loading"

    def timed(call: Callable[[int], object]) -> float:
        call(0)
        seconds = []
        for seed in range(1, num + 1):
            start = time.perf_counter()
            call(seed)
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)

    def with_basis(seed: int) -> object:
        local_basis(f, model.sample_latent(t_fraction=0.8, seed=seed), rank=10)
        return model.edit(seed=seed, direction=direction, scale=[2.0])

    rows = {"v by one product": lambda seed: model.edit(seed=seed, direction=direction, scale=[2.0])}
    rows |= {"with a basis of rank 10 on the target": with_basis}
    return [Row(table, name, {"seconds, median": timed(call)}) for name, call in rows.items()]


def batching_rows(*, sizes: Sequence[int] = (32, 64, 128), rank: int = 10, num: int = 8) -> list[Row]:
    """Bases of several samples together against one after the other, by the size of pictures."""
    table = "Batching samples and directions together"
    return [_batching(table, portraits_of_size(size, num=num), rank) for size in sizes]


def _batching(table: str, case: Case, rank: int) -> Row:
    alone, together = (measure_plan(case.f, x, rank=rank) for x in (case.x[0], case.x))

    def one_at_a_time() -> None:
        for x in case.x:
            local_basis(case.f, x, rank=rank, plan=alone)

    singly, batched, unbatched = (
        _seconds(one_at_a_time),
        _seconds(lambda: local_basis(case.f, case.x, rank=rank, plan=together)),
        _seconds(lambda: [local_basis(case.f, x, rank=rank, plan=Plan.fixed("loop", "loop", chunk=1)) for x in case.x]),
    )
    figures = {"one product at a time, s": unbatched, "one sample at a time, s": singly, "together, s": batched}
    figures |= {"gain": singly / batched, "gain on one product at a time": unbatched / batched}
    return Row(table, case.name, figures)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
