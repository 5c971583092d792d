"""How much work each stage of a run holds, counted from its settings."""

from __future__ import annotations

from pullback.api import contest
from pullback.api.contest import INVERSES, RIVALS, ContestSettings
from pullback.api.portrait import NUM_VISIBLE
from pullback.api.settings import PageSettings, Settings
from pullback.api.work import Work
from pullback.measure.effects import NUM_ROUNDS
from pullback.models import Schedule
from pullback.portraits import NAMES


def walking(num: int, settings: Settings, schedule: Schedule) -> Work:
    """Returns the way of ``num`` latents from noise to t, one at a time.

    Args:
        num: Latents.
        settings: Of the run.
        schedule: Of the model.
    """
    t = schedule.timestep(settings.t_fraction)
    if t == schedule.timestep(1.0):
        return Work()
    return Work(calls=num * max(1, round(settings.num_steps * (1 - schedule.fraction(t)))))


def naming(settings: Settings, page: PageSettings, *, products_each: int, is_portraits: bool) -> Work:
    """Returns what names, effects on factors, gain and recall, and the strips of the page take.

    Args:
        settings: Of the run.
        page: What is shown; all of its directions are counted.
        products_each: Products of one basis.
        is_portraits: Whether factors are known; names are made of the pictures at hand where they are not.
    """
    num_shown = min(page.num_shown, settings.rank)
    num_people = min(page.num_people, settings.num_held_out)
    work = Work(strips=num_shown * num_people)
    if not is_portraits:
        return work
    num_edited = num_shown * num_people * page.num_stops
    num_unedited = settings.num_samples + settings.num_held_out
    num_factors = len(NAMES)
    visible = Work(products=products_each + num_factors, renders=1 + 2 * num_factors)
    return (
        work
        + Work(readings=num_unedited, renders=num_unedited)  # the gate
        + Work(readings=2 * num_edited, renders=num_edited)  # effects, and whether they pass it
        + NUM_VISIBLE * visible
    )


def comparing(settings: Settings, rivals: ContestSettings, schedule: Schedule, *, products_each: int) -> Work:
    """Returns what a `contest` takes; the few passes of the encoder alone are left out.

    Args:
        settings: Of the run.
        rivals: Of the contest.
        schedule: Of the model.
        products_each: Products of one basis.
    """
    num_gate = rivals.num_gate or contest.NUM_GATE
    num_walked = rivals.num_held_out + rivals.num_tuning + num_gate
    work = walking(num_walked, settings, schedule)
    work += Work(rows=num_walked * rivals.num_steps, readings=num_walked, renders=num_gate)  # unedited
    for method in rivals.methods:
        work += _measuring(method, settings, rivals)
        work += _making(method, settings, rivals, schedule, products_each=products_each)
    untrained = {method.startswith("random network") for method in rivals.methods}
    transported = {method.startswith("random network") for method in rivals.methods if _is_transported(method)}
    num_bases = settings.num_samples * (True in untrained)
    num_bases += len(transported) * (rivals.num_held_out + rivals.num_tuning)  # kept for all methods of one network
    return work + num_bases * Work(products=products_each)


def _is_transported(method: str) -> bool:
    return method.split()[-1] in INVERSES


def _measuring(method: str, settings: Settings, rivals: ContestSettings) -> Work:
    """Matching the effect of each direction on tuning samples, and reading it on held-out ones."""
    num = min(len(NAMES), settings.rank) if method.startswith("supervised") else settings.rank
    pictures = 2 * num * (NUM_ROUNDS * rivals.num_tuning + rivals.num_held_out)
    num_judged = 2 * num * rivals.num_held_out
    is_pulled = method != "random x" and not _is_transported(method)  # each direction by one product on each sample
    return Work(
        rows=pictures * rivals.num_steps,
        products=num * (rivals.num_tuning + rivals.num_held_out) * is_pulled,
        readings=pictures + num_judged,
        renders=num_judged,
    )


def _making(
    method: str, settings: Settings, rivals: ContestSettings, schedule: Schedule, *, products_each: int
) -> Work:
    """What a source of directions takes that is not shared; an estimator gets as many products as ours took."""
    if method in RIVALS:
        return Work(products=products_each * settings.num_samples)
    if method.startswith("pca of h"):
        return walking(rivals.num_pca or contest.NUM_PCA, settings, schedule)
    if method.startswith("supervised"):
        return Work(renders=rivals.num_known or contest.NUM_KNOWN)
    return Work()
