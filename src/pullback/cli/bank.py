"""``pullback bank run | ls | show | verify | merge | maps``."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from pullback.cli.bank_options import BankLs, BankMaps, BankMerge, BankOptions, BankRun, BankShow, BankVerify
from pullback.cli.loading import device_of
from pullback.cli.terminal import hint, log, out
from pullback.errors import OptionError

if TYPE_CHECKING:
    from pullback.bank import Bank, Reader

DAMAGED = 1
"""Exit status of a verification that found damage."""


def run_bank(options: BankOptions) -> int:
    """Runs one action; returns its exit status."""
    action = options.action
    if isinstance(action, BankRun):
        from pullback.cli.bank_run import run_run

        return run_run(action)
    if isinstance(action, BankMaps):
        from pullback.cli.bank_maps import run_maps

        return run_maps(action)
    if isinstance(action, BankLs):
        return run_ls(action)
    if isinstance(action, BankShow):
        return run_show(action)
    return run_verify(action) if isinstance(action, BankVerify) else run_merge(action)


def run_ls(options: BankLs) -> int:
    """Prints a line for each timestep."""
    from pullback.bank import Bank
    from pullback.bank.contents import content_digest
    from pullback.bank.means import ids_by_t
    from pullback.measure.report_text import size

    bank = Bank.open(options.folder)
    reader = bank.reader()
    index = reader.index
    num_bytes = sum((options.folder / "shards" / name).stat().st_size for name in index.shards)
    for t, ids in ids_by_t(reader).items():
        out(f"t {t:g}\t{len(ids)} units")
    total = f"{len(list(reader.ids()))} units in {len(index.shards)} files, {size(num_bytes)}"
    out(f"{total}, contents {content_digest(reader)}")
    for problem in index.problems:
        log(f"refused {problem}")
    if index.failed:
        log(f"{len(index.failed)} set aside: " + ", ".join(key[:12] for key in sorted(index.failed)[:8]))
        hint(f"`pullback bank show {options.folder} {min(index.failed)[:12]}` says why")
    return 0


def run_show(options: BankShow) -> int:
    """Prints one unit as JSON."""
    from pullback.bank import Bank

    reader = Bank.open(options.folder).reader()
    name = found_id(reader, options.unit)
    if name in reader.index.failed:
        entry = dict(reader.index.failed[name])
        trace = entry.pop("traceback", "")
        out(json.dumps(entry, indent=1, sort_keys=True))
        out(str(trace))
        return 0
    answer = reader.get(name)
    shapes = {key: f"{tuple(value.shape)} {value.dtype}" for key, value in answer.tensors.items()}
    record = {"id": name, "unit": answer.unit.record(), "facts": dict(answer.facts), "tensors": shapes}
    s = answer.tensors.get("s")
    if s is not None:
        record["s"] = [round(float(value), 6) for value in s]
    out(json.dumps(record, indent=1, sort_keys=True))
    return 0


def found_id(reader: Reader, start: str) -> str:
    """Returns the id, or the key of a failed unit, that begins so.

    Raises:
        OptionError: If there is none, or more than one.
    """
    names = [each for each in (*reader.ids(), *sorted(reader.index.failed)) if each.startswith(start.lower())]
    if not start or len(names) != 1:
        raise OptionError(
            wanted="the first digits of one unit's id",
            got=f"{start!r}, which fits {len(names)}",
            hint="`pullback bank ls` counts them; ids are in done/*.jsonl",
        )
    return names[0]


def run_verify(options: BankVerify) -> int:
    """Prints what is wrong, and what was right."""
    from pullback.bank import Bank
    from pullback.bank.verify import verify_bank

    if options.spot:
        device_of(options.device)
    bank = Bank.open(options.folder)
    verdict = verify_bank(bank, clean=options.clean)
    for name, reason in verdict.refused.items():
        out(f"refused {name}: {reason}")
    for problem in verdict.problems:
        out(f"problem {problem}")
    for name in verdict.orphans:
        out(f"orphan {name}")
    out(f"{verdict.num_units} units in {verdict.num_shards} files are whole")
    if options.clean:
        log(f"{len(verdict.refused)} files set aside, {len(verdict.orphans)} removed")
    elif not verdict.is_sound or verdict.orphans:
        hint(f"`pullback bank verify {options.folder} --clean` sets these aside; a run computes what they held again")
    agrees = _spots(options, bank) if options.spot else True
    return 0 if verdict.is_sound and agrees else DAMAGED


def _spots(options: BankVerify, bank: Bank) -> bool:
    from pullback.bank.request import ModelWork, request_from
    from pullback.bank.spot import spot_check

    request = request_from(bank.settings.request)
    request = replace(request, model=options.model or request.model)
    work = ModelWork(request, bank.settings.plan, options.device)()
    spots = spot_check(bank, work, options.spot)
    for spot in spots:
        bits = "same bits" if spot.has_same_bits else f"s off by {spot.s_error:.1e} of s_1"
        allowed = f"(allowed {spot.allowed_rad:.1e})"
        angle = "" if spot.angle_rad is None else f", span off by {spot.angle_rad:.1e} rad {allowed}"
        out(f"{'agrees' if spot.agrees else 'DIFFERS'} {spot.unit_id}: {bits}{angle}")
    return all(spot.agrees for spot in spots)


def run_merge(options: BankMerge) -> int:
    """Prints how many files were copied."""
    from pullback.bank import Bank
    from pullback.bank.merge import merge_banks

    merged = merge_banks(options.folder, [Bank.open(source) for source in options.sources])
    for path, reason in merged.refused.items():
        log(f"refused {path}: {reason}")
    out(f"{merged.num_copied} files copied, {merged.num_known} held nothing new, {len(merged.refused)} refused")
    return DAMAGED if merged.refused else 0
