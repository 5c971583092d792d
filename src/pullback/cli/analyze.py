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
        OptionError: If two sizes are asked for, a figure is unknown, or prompts are too few, the same or not asked for.
        ModelError: If prompts are to be compared, and the model takes none.
    """
    from pullback.analyses.catalogue import chosen
    from pullback.analyses.sizes import SIZES, SizeName

    if options.quick and options.paper:
        raise OptionError(wanted="--quick or --paper", got="both", hint="leave one of them out")
    only = [name for name in options.only.split(",") if name]
    chosen(only)  # before the model is loaded
    prompts = [text.strip() for text in options.prompts.split(";") if text.strip()]
    size: SizeName = "quick" if options.quick else "paper" if options.paper else "default"

    from pullback.analyses.plan import planned
    from pullback.analyses.run import analyze, ready, siblings_of
    from pullback.analyses.texts import check_prompts

    model = loaded(options.model, device=options.device, threads=options.threads)
    siblings = Path(options.siblings) if options.siblings else siblings_of(model)
    names = chosen(only, ready=ready(siblings=siblings))
    check_prompts(model, prompts, names)
    bank = Path(options.bank) if options.bank else None
    how = planned(model, names, SIZES[size], options.out, bank=bank, num_prompts=len(prompts))
    log(how.text)
    with Bars() as progress:
        page = analyze(
            model,
            options.out,
            only=only,
            size=size,
            seed=options.seed,
            prompts=prompts,
            bank=bank,
            siblings=siblings,
            how=how,
            progress=progress,
        )
    out(str(page))
    hint("open it in a browser; every plot is drawn from the CSV files beside it")
