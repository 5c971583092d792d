"""One run of analyses: figure after figure into a folder; what stands there already is not computed again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pullback
from pullback.analyses.catalogue import REVISIONS, chosen, load_figure, most_bases
from pullback.analyses.context import Context
from pullback.analyses.page import write_page
from pullback.analyses.parts import Parts
from pullback.analyses.plan import Planned
from pullback.analyses.record import write_csv
from pullback.analyses.sizes import SIZES, Size, SizeName
from pullback.analyses.texts import check_prompts, text_conditions
from pullback.api.model import Model
from pullback.api.portrait import is_portraits
from pullback.api.settings import Report, silent
from pullback.errors import FileFormatError
from pullback.files import write_atomic, write_json
from pullback.geometry.plan import counted_products
from pullback.portraits.judge import load_judge
from pullback.portraits.siblings import SHIPPED

RECORD = "analysis.json"


def analyze(
    model: Model,
    out: Path,
    *,
    only: Sequence[str] = (),
    size: SizeName | Size = "default",
    seed: int = 0,
    bank: Path | None = None,
    siblings: Path | None = None,
    prompts: Sequence[str] = (),
    how: Planned | None = None,
    progress: Report = silent,
) -> Path:
    """Computes figures into ``out`` and draws the page; a run that was killed goes on where it stopped.

    Args:
        model: The model.
        out: Folder for ``NAME.csv``, pictures, ``analysis.json`` and ``analysis.html``.
        only: Figures by name; all that have what they need if empty.
        size: ``"quick"``, ``"default"`` or ``"paper"``, or numbers of your own.
        seed: Of the run.
        bank: Folder that keeps bases, ``out/bank`` by default.
        siblings: Folder of models ``few-*`` and ``many-*``, for the figure `complexity`; `siblings_of` by default.
        how: How the run computes, as `planned`; measured at its first latents if None.
        prompts: Three or more texts, for the figure `prompts`, which has to be named in ``only``.
        progress: Called as ``progress(stage, done, total)``.

    Returns:
        The page.

    Raises:
        OptionError: If a figure is unknown, or prompts are given that are too few, the same, or not asked for.
        ModelError: If prompts are to be compared, and the model takes none.
        FileFormatError: If ``analysis.json`` is there but is no such record.
    """
    siblings = siblings or siblings_of(model)
    names = chosen(only, ready=ready(siblings=siblings))
    numbers = size if isinstance(size, Size) else SIZES[size]
    context = Context(
        model=model,
        size=numbers,
        seed=seed,
        bank=out / "bank" if bank is None else bank,
        judge=load_judge() if is_portraits(model) else None,
        siblings=siblings,
        prompts=tuple(prompts),
        progress=progress,
        batch=how.bases.how.batch if how else 0,
        how=how.bases.how.plan if how else None,
    )
    check_prompts(model, prompts, names)
    record = read_record(out)
    if record.get("weights", model.digest) != model.digest:
        record = {"figures": {}}  # of another model: its tables stay, but have no place on this one's page
    record |= {"model": model.name, "weights": model.digest, "version": pullback.__version__}
    record |= {"plan": how.bases.record()} if how else {}
    for name in names:
        key = _key(context, name)
        kept, parts = record["figures"].get(name, {}), Parts(out / f"{name}.parts", key)
        if kept.get("key") != key or not (out / f"{name}.csv").exists():
            record["figures"][name] = _made(context, name, out, parts) | {"key": key}
            write_json(out / RECORD, record)
        parts.clear()
    return write_page(out)


def siblings_of(model: Model) -> Path | None:
    """The siblings that the package ships, if the model is the portraits one."""
    return SHIPPED if is_portraits(model) else None


def ready(*, siblings: Path | None) -> tuple[str, ...]:
    """Which of the figures that need more than the model have it."""
    return ("complexity",) if siblings is not None else ()


def read_record(out: Path) -> dict[str, Any]:
    """What has been computed into a folder so far.

    Raises:
        FileFormatError: If ``analysis.json`` is no such record.
    """
    path = out / RECORD
    if not path.exists():
        return {"figures": {}}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(each, dict) and "key" in each for each in record["figures"].values()):
            raise ValueError("a figure without its key")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise FileFormatError(
            wanted=f"{path} needs a record of figures", got=str(error), hint="delete it, and run the analysis again"
        ) from error
    return record


def _made(context: Context, name: str, out: Path, parts: Parts) -> dict[str, Any]:
    """Computes one figure and writes its files, the record's entry last."""
    start = time.perf_counter()
    context.begin(name, most_bases(name, context.size, num_prompts=len(context.prompts)), parts)
    with counted_products() as tally:
        outcome = load_figure(name).run(context)
    context.progress(name, context.most_bases, context.most_bases)
    for picture, content in outcome.pictures.items():
        write_atomic(out / "pictures" / f"{name}-{picture}.png", content)
    write_csv(out / f"{name}.csv", outcome.rows)
    return {
        "num": outcome.num,
        "note": outcome.note,
        "findings": [asdict(each) for each in outcome.findings],
        "pictures": [f"{name}-{picture}.png" for picture in outcome.pictures],
        "seconds": round(time.perf_counter() - start + parts.seconds, 1),
        "num_products": tally.products.total + parts.num_products,
        "seed": context.seed,
        "size": asdict(context.size),
    }


def _key(context: Context, name: str) -> str:
    """All that determines a figure."""
    parts = [name, asdict(context.size), context.seed, context.model.digest, pullback.__version__]
    if name in REVISIONS:
        parts.append(REVISIONS[name])
    if name == "prompts":
        conditions = text_conditions(context.model, context.prompts)
        parts += [[cond.text, cond.digest()] for cond in conditions]
    if name == "complexity" and context.siblings is not None:
        weights = sorted(context.siblings.rglob("*.safetensors"))
        parts += [
            [str(path.relative_to(context.siblings)), hashlib.sha256(path.read_bytes()).hexdigest()] for path in weights
        ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
