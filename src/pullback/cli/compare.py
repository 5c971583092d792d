"""``pullback compare``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pullback.cli.bank_options import CompareOptions
from pullback.cli.loading import loaded
from pullback.cli.terminal import Bars, log, out

if TYPE_CHECKING:
    from pullback.api.bases_plan import BasesPlan

PAGE, DATA, BANK = "compare.html", "compare.json", "bank"


def run_compare(options: CompareOptions) -> None:
    """Compares, prints where the page is."""
    from pullback.cli.edit import scales_of

    t_fractions = scales_of(options.t_fractions, example="--t-fractions 0.8,0.5")
    from pullback.api.compare import check_comparison, compare
    from pullback.api.discovery import staged
    from pullback.files import write_atomic, write_json
    from pullback.measure.compare_page import PageStep, compare_page, verdict
    from pullback.models.layers import pool_of

    a, b = (loaded(source, device=options.device, dtype=options.dtype) for source in (options.a, options.b))
    check_comparison(a, b, t_fractions=t_fractions, num_samples=options.samples, rank=options.rank)
    bases = planned(a, options, t_fractions)
    log(plan_text(bases, options, t_fractions))
    with staged(options.out) as stage, Bars() as progress:
        steps = compare(
            a,
            b,
            num_samples=options.samples,
            num_predictions=options.predictions,
            t_fractions=t_fractions,
            rank=options.rank,
            layer=options.layer or None,
            pool=pool_of(options.pool),
            seed=options.seed,
            num_steps=options.steps,
            plan=bases.how.plan,
            batch=bases.how.batch,
            bank=options.out / BANK,
            progress=progress,
        )
        pages = [
            PageStep(
                step.angles,
                {"vanished": step.vanished.responses, "appeared": step.appeared.responses},
                {"vanished": step.vanished.strips, "appeared": step.appeared.strips},
                step.drawn,
            )
            for step in steps
        ]
        settings = {name: value for name, value in dataclasses.asdict(options).items() if name not in ("a", "b", "out")}
        write_atomic(stage / PAGE, compare_page((options.a, options.b), pages, settings=settings))
        write_json(
            stage / DATA, {"a": options.a, "b": options.b, **settings, "steps": [_plain(step) for step in steps]}
        )
    log(verdict(pages))
    out(str(options.out / PAGE))


def planned(model: Any, options: CompareOptions, t_fractions: Sequence[float]) -> BasesPlan:
    """Returns what the bases of both models take, measured on the first."""
    from pullback.api.bases_plan import plan_bases
    from pullback.api.finder import check_rank
    from pullback.geometry.batching import most_on
    from pullback.models.layers import pool_of

    at = t_fractions[0]
    f = model.feature_map(t_fraction=at, layer=options.layer or None, pool=pool_of(options.pool))
    check_rank(f, options.rank)
    seeds = range(options.seed, options.seed + min(most_on(model.device), options.samples))
    x = model.sample_latent(t_fraction=at, seeds=seeds, num_steps=1)
    num_bases = 2 * options.samples * len(t_fractions)
    return plan_bases(f, x, num_bases, rank=options.rank, t_fractions=t_fractions, bank=options.out / BANK)


def plan_text(bases: BasesPlan, options: CompareOptions, t_fractions: Sequence[float]) -> str:
    """Returns the plan in words."""
    from pullback.measure.report_text import counted, size

    return "\n".join(
        (
            "plan",
            f"  bases     {bases.num_bases:,} of rank {options.rank}, {counted(options.samples, 'sample')} of both"
            f" models at t/T {', '.join(f'{t:g}' for t in t_fractions)}: about {bases.num_products:,} Jacobian products"
            f" {bases.text}",
            f"  memory    {bases.memory_text}",
            f"  writes    {PAGE} and {DATA} to {options.out}; bases in its bank, up to {size(bases.bank_bytes)}",
        )
    )


def _plain(step: Any) -> dict[str, object]:
    return {
        "angles": dataclasses.asdict(step.angles),
        "vanished": [dataclasses.asdict(each) for each in step.vanished.responses],
        "appeared": [dataclasses.asdict(each) for each in step.appeared.responses],
        "drawn": {side: dataclasses.asdict(found.lack) for side, found in step.drawn.items()},
        "num_products": step.num_products,
    }
