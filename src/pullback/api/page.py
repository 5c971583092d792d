"""From a discovery to the data of its report: pictures are made, changes measured, names given."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pullback import __version__
from pullback.api.discovery import Discovery
from pullback.api.model import Model
from pullback.api.pictures import Moved, Precision, Studio, Unedited
from pullback.api.portrait import Reader, Reading, factor_rows, is_portraits
from pullback.api.settings import PageSettings, Report, silent
from pullback.directions.types import Direction
from pullback.measure.descriptors import name_change
from pullback.measure.report_data import ComparisonRow, DirectionCard, Plain, ReportData, Spectrum, Stage, Strip
from pullback.measure.report_frames import encode_strips


def make_report(
    model: Model,
    found: Discovery,
    *,
    source: str = "",
    command: str = "",
    page: PageSettings | None = None,
    precision: Precision | None = None,
    plan: Mapping[str, Plain] | None = None,
    comparisons: Sequence[ComparisonRow] = (),
    cond: Any = None,
    progress: Report = silent,
) -> ReportData:
    """Returns everything that the page shows, pictures included.

    Args:
        model: That the directions were found in.
        found: The directions.
        source: What the model was loaded from.
        command: What to type to get the same page; made from the settings if empty.
        page: How much is shown.
        precision: Of the pictures; never of a Jacobian.
        plan: What was said before the run.
        comparisons: Figures of controls that went through the same measurement.
        cond: Condition, as for `discover`.
        progress: Called as ``progress(stage, done, total)``.

    Raises:
        MismatchError: If the directions do not belong to the model.
    """
    page = page or PageSettings()
    studio = Studio(model, found, page, precision=precision, cond=cond)
    start, calls = time.perf_counter(), model.num_calls
    unedited = studio.unedited(progress)
    moved = _all_moved(studio, unedited, progress)
    products = len(moved) * len(studio.people)
    frames = Stage("pictures", time.perf_counter() - start, products, model.num_calls - calls)
    start = time.perf_counter()
    reader = Reader(unedited.x0) if is_portraits(model) else None
    readings = [reader.read(each.x0, stop=page.reference) if reader else None for each in moved]
    cards = [_card(found, each) for each in found]
    for k, (each, reading) in enumerate(zip(moved, readings, strict=True)):
        cards[k] = _with_pictures(cards[k], studio, each, reading)
    factors, spent = factor_rows(model, found, plan=found.bases[0].plan) if reader else ((), 0)
    images = encode_strips({(k, p): rows for k, each in enumerate(moved) for p, rows in enumerate(each.frames)})
    naming = Stage("names, factors and strips", time.perf_counter() - start, spent)
    source = source or model.name
    data = ReportData(
        model=source,
        command=command or command_of(source, found),
        version=__version__,
        num_samples=found.settings.num_samples,
        num_held_out=found.settings.num_held_out,
        scales=page.scales,
        effect_scale=page.reference_scale,
        cards=tuple(cards),
        settings=_settings(found, page, studio),
        plan=dict(plan or {}),
        stages=(*found.stages, frames, naming),
        spectra=tuple(
            Spectrum(seed, tuple(float(s) for s in basis.s))
            for seed, basis in zip(found.settings.discovery_seeds, found.bases, strict=True)
        ),
        factor_names=reader.judge.names if reader else (),
        factors=factors,
        comparisons=tuple(comparisons),
        notes=_notes(found),
    )
    return data.with_images(images)


def command_of(source: str, found: Discovery) -> str:
    """Returns the command line that finds the same directions."""
    settings, layer = found.settings, str(found.origin.get("layer", ""))
    words = ["pullback", "discover", source, "--out", "OUT", "--samples", str(settings.num_samples)]
    words += ["--held-out", str(settings.num_held_out), "--rank", str(settings.rank)]
    words += ["--t-fraction", f"{settings.t_fraction:g}", "--layer", layer]
    words += ["--pool", str(found.origin.get("pool", "none")), "--seed", str(settings.seed)]
    return shlex.join(words)


def _all_moved(studio: Studio, unedited: Unedited, progress: Report) -> list[Moved]:
    moved: list[Moved] = []
    groups = studio.groups()
    total = sum(len(group) for group in groups)
    for group in groups:
        progress("pictures", len(moved), total)
        moved += studio.moved(group, unedited)
    progress("pictures", total, total)
    return moved


def _card(found: Discovery, each: Direction) -> DirectionCard:
    return DirectionCard(
        index=each.index,
        name="not measured",
        label=each.name,
        s=each.s or 0.0,
        cluster=each.cluster,
        agreement=each.agreement,
        agreement_null=each.agreement_null,
    )


def _with_pictures(card: DirectionCard, studio: Studio, moved: Moved, reading: Reading | None) -> DirectionCard:
    seeds = studio.found.settings.held_out_seeds[: len(moved.frames)]
    passed = reading.passed if reading else np.zeros((len(seeds), 0), bool)
    change = moved.change
    return replace(
        card,
        name=reading.name if reading else name_change(change),
        usable=(moved.usable.low, moved.usable.high),
        symmetry=reading.symmetry if reading else change.symmetry,
        step=moved.unit,
        facts={"colour share": change.colour_share, "locality": change.locality},
        effects=tuple(float(value) for value in reading.effects.mean(axis=0)) if reading else (),
        strips=tuple(
            Strip(seed, passed=tuple(bool(ok) for ok in row)) for seed, row in zip(seeds, passed, strict=True)
        ),
    )


def _settings(found: Discovery, page: PageSettings, studio: Studio) -> dict[str, Plain]:
    settings = found.settings
    asked = {
        "samples": settings.num_samples,
        "held-out samples": settings.num_held_out,
        "rank": settings.rank,
        "t_fraction": settings.t_fraction,
        "seed": settings.seed,
        "prompt": getattr(studio.cond, "text", "") or None,
        "tolerance": settings.tol,
        "DDIM steps from noise to picture": settings.num_steps,
        "distance of two samples in h": found.distance,
        "precision of pictures": studio.precision.name,
        "largest scale": page.max_scale,
    }
    return {**asked, **found.origin}


def _notes(found: Discovery) -> tuple[str, ...]:
    notes = []
    bases = (*found.bases, *found.held_out_bases)
    num_unsure = sum(not basis.verified for basis in bases)
    if num_unsure:
        notes.append(f"{num_unsure} of {len(bases)} local bases could not be verified to hold the largest values.")
    twins = [each for each in found if len(each.merged) > 1]
    if twins:
        listed = ", ".join(str(each.index) for each in twins)
        notes.append(
            f"Several axes of the reference sample led to one direction (|cos| > .9) and were merged: {listed}."
        )
    return tuple(notes)
