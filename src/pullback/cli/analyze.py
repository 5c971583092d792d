"""``pullback analyze``."""

from __future__ import annotations

from pathlib import Path

from pullback.cli.analyze_options import Analyze
from pullback.cli.loading import loaded
from pullback.cli.terminal import Bars, hint, log, out
from pullback.errors import OptionError


def run_analyze(options: Analyze) -> None:
    """Makes the figures, prints where the page is.

    Raises:
        OptionError: If two sizes are asked for, or a figure is unknown.
    """
    from pullback.analyses.catalogue import chosen
    from pullback.analyses.sizes import SIZES, SizeName

    if options.quick and options.paper:
        raise OptionError(wanted="--quick or --paper", got="both", hint="leave one of them out")
    names = chosen([name for name in options.only.split(",") if name])
    size: SizeName = "quick" if options.quick else "paper" if options.paper else "default"

    from pullback.analyses.plan import plan_text
    from pullback.analyses.run import analyze

    model = loaded(options.model, device=options.device, threads=options.threads)
    log(plan_text(model, names, SIZES[size], options.out))
    with Bars() as progress:
        page = analyze(
            model,
            options.out,
            only=names,
            size=size,
            seed=options.seed,
            bank=Path(options.bank) if options.bank else None,
            siblings=Path(options.siblings) if options.siblings else None,
            progress=progress,
        )
    out(str(page))
    hint("open it in a browser; every plot is drawn from the CSV files beside it")
