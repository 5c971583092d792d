"""``pullback bank run``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from pullback.cli.bank_options import BankRun
from pullback.cli.bank_plan import plan_text
from pullback.cli.loading import device_of, release_memory, use_threads
from pullback.cli.terminal import Bars, hint, log, out
from pullback.errors import MismatchError, OptionError

if TYPE_CHECKING:
    from pullback.bank import Bank, Part, Tally, Unit
    from pullback.bank.ray_backend import RaySettings
    from pullback.bank.request import BasisWork, ModelWork, Request

STOPPED, INCOMPLETE = 2, 1
NUM_SKETCHED = 3
"""Bases on which the error of a sketch is measured before a run."""


def run_run(options: BankRun) -> int:
    """Computes what is missing; prints the content digest. Ends with 1 if units are set aside."""
    from pullback.bank import Bank, Part
    from pullback.bank.contents import content_digest
    from pullback.bank.request import ModelWork, seeded

    part = Part.parse(options.shard)
    if options.ray:
        ray_settings(options)  # which refuses a GPU of a number
    device_of(options.device)  # which refuses what is not there before anything is loaded
    bank, work = _begun(options)
    request, templates = work.request, work.templates()
    make_work = ModelWork(request, bank.settings.plan, options.device)
    log(plan_text(bank, work))
    try:
        failed = _tell_sketch_error(bank, work, part, options.retries)
        here = None if options.ray else work
        del work
        if options.ray:
            release_memory()  # each worker loads a model of its own, where the driver's was
        tally = _computed(options, bank, seeded(templates, request), here or make_work, part)
        tally.failed += failed
    except KeyboardInterrupt:
        log("\nerror: wanted to go on to the end\n       got Ctrl-C; what was computed is kept")
        hint(f"`pullback bank run {options.folder}` goes on from there")
        return STOPPED
    log(f"{tally.num_computed} units computed, {tally.num_found} were there, {len(tally.failed)} set aside")
    num_before = tally.num_aside - len(failed)
    if num_before > 0:
        log(f"{num_before} of those that were there are set aside since an earlier run")
    reader = Bank.open(options.folder).reader()
    if tally.failed or tally.num_aside:
        name = (tally.failed or sorted(reader.index.failed))[0][:12]
        hint(f"`pullback bank show {options.folder} {name}` says why; --retry-failed tries them again")
    out(content_digest(reader))
    return INCOMPLETE if tally.failed or tally.num_aside else 0


def _begun(options: BankRun) -> tuple[Bank, BasisWork]:
    """The bank and a loaded model: of the options for a new folder, of run.json for one that was begun."""
    from pullback.api.finder import check_rank
    from pullback.bank import Bank, RunSettings, Storage
    from pullback.bank.request import BasisWork, ModelWork, measured_plan
    from pullback.bank.settings import NAME

    if (options.folder / NAME).exists():
        return _gone_on(options)
    request = request_of(options)
    use_threads(options.threads or int(bool(options.ray)))  # before the plan is measured; a worker on Ray has one core
    log(f"loading {request.model}")
    work = ModelWork(request, {}, options.device)()
    check_rank(work.first_map(), request.rank)
    request = replace(request, weights=work.model.digest)
    settings = RunSettings(
        storage=Storage(u=options.keep_u, v=options.keep_v),
        shard_size=options.shard_size,
        group=options.group,
        plan=measured_plan(work, group=options.group),
        device=device_name(options.device),
        request=request.record(),
    )
    bank = Bank.make(options.folder, settings)
    return bank, BasisWork(work.model, request, bank.settings.plan)


def _gone_on(options: BankRun) -> tuple[Bank, BasisWork]:
    """A bank that was begun. Options that were given must agree with it; the same model may lie elsewhere now."""
    from pullback.bank import Bank, RunSettings
    from pullback.bank.request import ModelWork, request_from

    bank = Bank.open(options.folder)
    _refuse_other_plan(options, bank)
    begun = request_from(bank.settings.request)
    kept = {f"keep_{name}": getattr(bank.settings.storage, name) for name in ("u", "v")}
    given = {name: getattr(options, name) for name in kept if _is_given(options, name)}
    storage = replace(bank.settings.storage, **{name.removeprefix("keep_"): value for name, value in given.items()})
    asked = request_of(replace(options, model="any"))
    names = [each.name for each in fields(asked) if each.name not in ("model", "weights")]
    changes = {name: getattr(asked, name) for name in names if _is_given(options, name.removeprefix("num_"))}
    Bank.make(options.folder, RunSettings(storage=storage, request=replace(begun, **changes).record()))  # or refuse
    request = replace(begun, model=options.model or begun.model)
    log(f"going on with {options.folder}; loading {request.model}")
    return bank, ModelWork(request, bank.settings.plan, options.device)()  # which refuses another checkpoint


def _is_given(options: BankRun, name: str) -> bool:
    """Whether somebody asked for it, if only for what is usual."""
    return name in options.given or getattr(options, name) != getattr(BankRun, name)


def _refuse_other_plan(options: BankRun, bank: Bank) -> None:
    settings = bank.settings
    begun = {"shard_size": settings.shard_size, "group": settings.group, "threads": settings.plan.get("threads", 0)}
    for name, value in begun.items():
        given = getattr(options, name)
        if _is_given(options, name) and given != value and (name, given) != ("threads", 0):  # 0 asks for nothing
            raise MismatchError(
                wanted=f"a bank with {name}={given}",
                got=f"{bank.folder} with {name}={value}",
                hint="leave the option out: a run keeps to the plan that it was begun with",
            )


def request_of(options: BankRun) -> Request:
    """What is asked for.

    Raises:
        OptionError: If a value has no meaning, or no model is named.
    """
    from pullback.bank.request import Request
    from pullback.cli.edit import scales_of

    if not options.model:
        raise OptionError(
            wanted="--model MODEL for a new bank",
            got=f"{options.folder}, where none was begun",
            hint="such as --model portraits",
        )
    return Request(
        model=options.model,
        num_samples=options.samples,
        first_seed=options.first_seed,
        t_fractions=scales_of(options.t_fractions, example="--t-fractions 0.8,0.5"),
        layer=options.layer,
        pool=options.pool,
        prompt=options.prompt,
        rank=options.rank,
        tol=options.tol,
        num_steps=options.steps,
        dtype=options.dtype,
    )


def _computed(options: BankRun, bank: Bank, units: Iterator[Unit], work: BasisWork | ModelWork, part: Part) -> Tally:
    from pullback.bank import run_here
    from pullback.bank.request import ModelWork

    with Bars() as bars:

        def progress(num_done: int, num_failed: int) -> None:
            bars("local bases", num_done + num_failed, work.request.num_units // part.count)

        shared = {"part": part, "retry_failed": options.retry_failed, "progress": progress}
        if not isinstance(work, ModelWork):
            return run_here(bank, units, lambda: work, retries=options.retries, **shared)
        from pullback.bank.ray_backend import run_on_ray

        return run_on_ray(bank, units, work, settings=ray_settings(options), **shared)


def ray_settings(options: BankRun) -> RaySettings:
    """Where on Ray, and on how much.

    Raises:
        OptionError: If a count is negative, or one GPU of several is named, which is for Ray to choose.
    """
    from pullback.bank.ray_backend import RaySettings, gpus_for

    return RaySettings(
        address=options.ray,
        num_workers=options.workers,
        gpus_per_worker=gpus_for(options.device),
        retries=options.retries,
    )


def _tell_sketch_error(bank: Bank, work: BasisWork, part: Part, retries: int) -> list[str]:
    """Computes our first units of a new bank of sketches, says how wrong their distances are, and keeps them.

    Returns the keys of those that failed.
    """
    from itertools import islice

    from pullback.bank.driver import Tally, attempt, grouped
    from pullback.bank.request import dims_of
    from pullback.bank.sketch import sketch_error

    storage = bank.settings.storage
    if storage.u != "sketch" or dims_of(work)[0] <= storage.sketch_dim or len(bank.reader()):
        return []
    first: list[Any] = []
    tally = Tally()
    with bank.writer("sketch") as writer:
        last = part.index + NUM_SKETCHED * part.count
        for group in islice(grouped(work.units(), bank.settings.group), part.index, last, part.count):
            answers = attempt(work, group, retries=retries, writer=writer, tally=tally)
            writer.add(answers)
            first += answers
    bases = [answer.tensors["u"] for answer in first[:NUM_SKETCHED]]
    if len(bases) > 1:
        error = sketch_error(bases, storage.sketch_dim)
        log(f"  sketch    {storage.sketch_dim} of D: distances of {len(bases)} bases are off by at most {error:.2%}")
    return tally.failed


def device_name(name: str) -> str:
    """Returns what people call a device, for ``run.json``."""
    import platform

    import torch

    device = device_of(name)
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return f"{device}: {kind}, torch {torch.__version__}"
