"""``pullback discover``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from pullback.api.settings import PageSettings, Settings
from pullback.cli.loading import loaded
from pullback.cli.options import Discover
from pullback.cli.terminal import Bars, hint, log, out
from pullback.errors import OptionError
from pullback.measure.report_text import counted, duration, size

QUICK = {"samples": 6, "held_out": 4, "rank": 6, "directions": 4, "people": 2}
QUICK_STOPS = 5
BANK, NO_BANK = "bank", "off"
KINDS = {
    "calls": "network call",
    "rows": "picture step",
    "products": "product",
    "readings": "reading",
    "renders": "render",
    "strips": "strip",
}
"""Kinds of work in words."""


def run_discover(options: Discover) -> None:
    """Finds directions, prints where the page is."""
    settings, page = settings_of(options), page_of(options)
    from pullback.api.discovery import PAGE, staged

    with staged(options.out):  # a folder that cannot be written to is found out before the long work
        pass
    from pullback.api import discover, forecast, make_report
    from pullback.api.contest import comparison_rows, contest

    model = loaded(options.model, device=options.device, dtype=options.dtype, threads=options.threads)
    cond = model.cond(prompt=options.prompt) if options.prompt else None
    rivals = contest_of(options, model)
    expected = forecast(model, settings, page, cond=cond, bank=bank_of(options), rivals=rivals)
    log(plan_text(options, settings, expected))
    with Bars() as progress:
        found = discover(
            model,
            num_samples=settings.num_samples,
            num_held_out=settings.num_held_out,
            rank=settings.rank,
            t_fraction=settings.t_fraction,
            layer=settings.layer,
            pool=settings.pool,
            seed=settings.seed,
            cond=cond,
            plan=expected.plan,
            batch=expected.batch,
            bank=bank_of(options),
            progress=progress,
        )
        results = contest(model, found, rivals, progress=progress) if rivals else []
        report = make_report(
            model,
            found,
            source=options.model,
            command=command_of(options),
            page=page,
            precision=expected.precision,
            plan=expected.record(),
            comparisons=comparison_rows(results),
            cond=cond,
            progress=progress,
        )
    found.save(options.out, report)
    strong = sum(not card.is_weak for card in report.cards)
    seconds = sum(stage.seconds for stage in report.stages)
    log(f"{counted(len(found), 'direction')}, {strong} above chance, in {duration(seconds)}")
    out(str(options.out / PAGE))
    hint(f'open it in a browser; then try `pullback label {shlex.quote(str(options.out))} 0 "a name"`')


def contest_of(options: Discover, model: Any) -> Any:
    """Returns how the directions are to be compared with their rivals, or None if they are not.

    Raises:
        OptionError: If the factors of the model are not known, or there are too few samples.
    """
    from pullback.api.contest import ContestSettings
    from pullback.api.portrait import is_portraits

    if not options.compare:
        return None
    if not is_portraits(model):
        raise OptionError(
            wanted="the portrait model, whose factors are known, for --compare",
            got=options.model,
            hint="leave --compare out",
        )
    return ContestSettings(num_held_out=options.compare)


def kept_text(options: Discover, expected: Any) -> str:
    """Returns where local bases stay, and how large they are."""
    folder = bank_of(options)
    if folder is None:
        return "no local bases"
    return f"local bases in {folder} (up to {size(expected.bank_bytes)}); those that are there cost nothing"


def bank_of(options: Discover) -> Path | None:
    """Returns the folder that keeps local bases, or None if none does."""
    if options.bank == NO_BANK:
        return None
    return Path(options.bank) if options.bank else options.out / BANK


def settings_of(options: Discover) -> Settings:
    """Returns what is to be found; a quick run is small where nothing else was asked for."""
    from pullback.models.layers import pool_of

    chosen = _quick(options)
    return Settings(
        num_samples=chosen["samples"],
        num_held_out=chosen["held_out"],
        rank=chosen["rank"],
        t_fraction=options.t_fraction,
        layer=options.layer or None,
        pool=pool_of(options.pool),
        seed=options.seed,
    )


def page_of(options: Discover) -> PageSettings:
    """Returns what is to be shown."""
    chosen = _quick(options)
    return PageSettings(
        num_shown=chosen["directions"],
        num_people=min(chosen["people"], chosen["held_out"]),
        num_stops=QUICK_STOPS if options.quick else PageSettings.num_stops,
        max_scale=options.max_scale,
    )


def _quick(options: Discover) -> dict[str, int]:
    """Numbers of a run: an option that was given, else the quick or the usual default."""
    chosen = {}
    for name, small in QUICK.items():
        given = getattr(options, name)
        chosen[name] = small if options.quick and given == getattr(Discover, name) else given
    return chosen


def command_of(options: Discover) -> str:
    """Returns the command line that gives the same page: every option that is not at its default."""
    words = ["pullback", "discover", options.model, "--out", str(options.out)]
    for name in Discover.__dataclass_fields__:
        value = getattr(options, name)
        if name in ("model", "out", "threads") or value == getattr(Discover, name):
            continue
        flag = f"--{name.replace('_', '-')}"
        words += [flag] if value is True else [flag, f"{value}"]
    return shlex.join(words)


def plan_text(options: Discover, settings: Settings, expected: Any) -> str:
    """Returns the plan: what is going to be computed, how long it takes, what it needs and writes."""
    samples = f"{settings.num_samples} samples + {settings.num_held_out} held out"
    engines = f"{expected.plan.jvp_engine} / {expected.plan.vjp_engine}, {expected.plan.chunk} at a time"
    engines += ", as its bank was begun" if expected.is_of_bank else ""
    steps = f"{counted(expected.block, 'direction')} a step" if expected.block else "all of J"
    rivals = f"with rivals on {options.compare} samples: {work_text(expected, 'compared')}"
    lines = (
        f"samples   {samples}: {work_text(expected, 'samples')}",
        f"bases     rank {settings.rank}: about {expected.num_products:,} Jacobian products"
        f" ({engines}), {counted(expected.batch, 'sample')} together, {steps}, {duration(expected.seconds_bases)}",
        f"pictures  {expected.num_pictures:,} ({expected.precision.name} precision),"
        f" {duration(expected.seconds_pictures)}",
        f"names     {work_text(expected, 'names')}",
        *([f"compares  {rivals}"] if options.compare else []),
        f"total     about {duration(expected.seconds)}",
        f"memory    {size(expected.memory_bytes)}: weights and activations {size(expected.peak_bytes)} at any rank,"
        f" Krylov bases {size(expected.krylov_bytes)}, finished bases {size(expected.bank_bytes)}",
        f"writes    directions.safetensors, report.json, report.html to {options.out}"
        f" (about {size(expected.file_bytes)})",
        f"keeps     {kept_text(options, expected)}",
    )
    return "\n  ".join(("plan", *lines))


def work_text(expected: Any, stage: str) -> str:
    """Returns how much there is of each kind of work in a stage of a forecast, and how long it takes."""
    work = getattr(expected, stage)
    parts = [counted(getattr(work, name), word) for name, word in KINDS.items() if getattr(work, name)]
    return ", ".join((*parts, duration(expected.prices.of(work))))
