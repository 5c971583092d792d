"""What people wait for: `discover` to its report by stage, an edit to its picture, and what batching brings."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from benchmarks.cases import Case, portraits_of_size
from benchmarks.record import Row
from pullback.api import discover, forecast, load, make_report
from pullback.api.settings import PageSettings, Settings
from pullback.directions import local_basis
from pullback.geometry import Plan, measure_plan


def discover_rows() -> list[Row]:
    """Seconds of each stage of the main job on portraits, default size."""
    settings, page, model = Settings(), PageSettings(), load("portraits")
    expected = forecast(model, settings, page)
    found = discover(model, plan=expected.plan)
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
        figures = {"seconds": stage.seconds, "products": float(stage.num_products)}
        rows.append(Row(table, stage.name, figures | {"forecast": told[stage.name]} if stage.name in told else figures))
    total = sum(stage.seconds for stage in report.stages)
    return [*rows, Row(table, "in all", {"seconds": total, "forecast": expected.seconds})]


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
