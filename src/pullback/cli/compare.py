"""``pullback compare``."""

from __future__ import annotations

import dataclasses
from typing import Any

from pullback.cli.bank_options import CompareOptions
from pullback.cli.loading import loaded
from pullback.cli.terminal import Bars, log, out

PAGE, DATA, BANK = "compare.html", "compare.json", "bank"


def run_compare(options: CompareOptions) -> None:
    """Compares, prints where the page is."""
    from pullback.cli.edit import scales_of

    t_fractions = scales_of(options.t_fractions, example="--t-fractions 0.8,0.5")
    from pullback.api.compare import compare
    from pullback.api.discovery import staged
    from pullback.api.model import pool_of
    from pullback.files import write_atomic, write_json
    from pullback.measure.compare_page import PageStep, compare_page, verdict

    models = [loaded(source, device=options.device, dtype=options.dtype) for source in (options.a, options.b)]
    with staged(options.out) as stage, Bars() as progress:
        steps = compare(
            *models,
            num_samples=options.samples,
            num_predictions=options.predictions,
            t_fractions=t_fractions,
            rank=options.rank,
            layer=options.layer or None,
            pool=pool_of(options.pool),
            seed=options.seed,
            num_steps=options.steps,
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


def _plain(step: Any) -> dict[str, object]:
    return {
        "angles": dataclasses.asdict(step.angles),
        "vanished": [dataclasses.asdict(each) for each in step.vanished.responses],
        "appeared": [dataclasses.asdict(each) for each in step.appeared.responses],
        "drawn": {side: dataclasses.asdict(found.lack) for side, found in step.drawn.items()},
        "num_products": step.num_products,
    }
