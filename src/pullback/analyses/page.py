"""The page of a folder of analyses: one self-contained file, drawn out of the CSV files and the record alone."""

from __future__ import annotations

import base64
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from pullback.analyses.catalogue import NEEDS, ORDER, Claim, claims, load_figure
from pullback.analyses.plotting import png
from pullback.analyses.record import Finding, Rows, read_csv
from pullback.errors import FileFormatError
from pullback.files import write_atomic
from pullback.measure.report_text import esc, number

PAGE = "analysis.html"
MAX_ROWS = 40
FIXED = (
    "The claims were fixed in claims.json before the first published run. How some of them are read was sharpened "
    "after that run had been seen: each says so, and the changelog tells why. Sizes stand in sizes.py."
)


def write_page(out: Path) -> Path:
    """Draws every figure whose CSV is in the folder, and writes ``analysis.html`` beside them.

    Where there is a record, only the figures that it tells of: another model's tables may lie beside them.

    Raises:
        FileFormatError: If there is no CSV of a figure, or one is damaged.
    """
    path = out / "analysis.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"figures": {}}
    wanted = [name for name in ORDER if name in record["figures"]] if path.exists() else ORDER
    names = [name for name in wanted if (out / f"{name}.csv").exists()]
    if not names:
        raise FileFormatError(
            wanted=f"a CSV file of a figure in {out}", got="none", hint="run `pullback analyze --out DIR` first"
        )
    sections = [_section(out, name, record["figures"].get(name, {})) for name in names]
    css = files("pullback.measure").joinpath("templates/page.css").read_text(encoding="utf-8")
    style = files("pullback.analyses").joinpath("page.css").read_text(encoding="utf-8")
    model = esc(record.get("model", "this model"))
    content = (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>Analyses of {model}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<style>{css}\n{style}</style></head>\n<body><header class='top plain'><p class='eyebrow'>pullback analyze</p>"
        f"<h1>The latent space of {model}</h1><p class='lead'>{_lead(record, names)}</p></header>\n"
        f"<main>{_findings(record, names)}\n{''.join(sections)}</main></body></html>\n"
    )
    write_atomic(out / PAGE, content.encode())
    return out / PAGE


def _lead(record: dict[str, Any], names: list[str]) -> str:
    seconds = sum(record["figures"].get(name, {}).get("seconds", 0) for name in names)
    return esc(
        f"{len(names)} figures of arXiv 2302.12469 and 2307.12868, on this model, in {seconds / 60:.0f} minutes. "
        "Bands and brackets are 95 % bootstrap intervals; dashed lines are what chance would give."
    )


def _findings(record: dict[str, Any], names: list[str]) -> str:
    """Every claim with its verdict, whichever way it fell; then those that were not tested, and why."""
    entries = [entry for name in names for entry in record["figures"].get(name, {}).get("findings", ())]
    if not entries:
        return ""
    tested = {entry["claim"] for entry in entries}
    rows = [_tested(Finding(**entry)) for entry in entries]
    rows += [_untested(claim) for claim in claims().values() if claim.name not in tested]
    head = "".join(f"<th scope='col'>{each}</th>" for each in ("claim", "effect [95 %]", "chance", "n", "verdict"))
    return (
        f"<section id='claims'><h2>What was claimed, and what was found</h2><p class='intro'>{esc(FIXED)}</p>"
        "<div class='scroll'><table class='claims'>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _tested(found: Finding) -> str:
    kind = {"shown": "good", "the opposite is shown": "bad"}.get(found.verdict, "open")
    numbers = f"{number(found.effect)} [{number(found.low)}, {number(found.high)}]", number(found.null), str(found.num)
    return _claim_row(claims()[found.claim], numbers, kind=kind, verdict=found.verdict)


def _untested(claim: Claim) -> str:
    need = f"; it needs {NEEDS[claim.figure]}" if claim.figure in NEEDS else ""
    verdict = f"not tested: the figure {claim.figure} was not made{need}"
    return _claim_row(claim, ("–",) * 3, kind="open", verdict=verdict)


def _claim_row(claim: Claim, numbers: tuple[str, ...], *, kind: str, verdict: str) -> str:
    cells = "".join(f"<td>{each}</td>" for each in numbers)
    told = f"{claim.effect}. {claim.sharpened}" if claim.sharpened else claim.effect
    return (
        f"<tr><td>{esc(claim.claim)}<br><span class='muted'>{esc(told)}</span></td>{cells}"
        f"<td class='verdict {kind}'>{esc(verdict)}</td></tr>"
    )


def _section(out: Path, name: str, entry: dict[str, Any]) -> str:
    module = load_figure(name)
    rows = read_csv(out / f"{name}.csv")
    images = [_image(png(module.draw(rows)), f"Plot: {module.TITLE}", "plot")]
    for picture in entry.get("pictures", ()):
        path = out / "pictures" / Path(picture).name
        if path.exists():
            images.append(_image(path.read_bytes(), f"{module.TITLE}: {path.stem}", "frames"))
    told = f"n = {entry['num']}. " if entry.get("num") else ""
    note = f"<p class='muted'>{esc(told + entry.get('note', ''))}</p>" if told or entry.get("note") else ""
    return (
        f"<section id='{name}'><h2>{esc(module.TITLE)}</h2><p class='intro'>{esc(module.CAPTION)}</p>"
        f"<p class='muted'>In the papers: {esc(module.PAPER)}</p>{''.join(images)}{note}"
        f"<details><summary>Numbers ({len(rows)} rows, {name}.csv)</summary>"
        f"<div class='scroll'>{_table(rows)}</div></details></section>"
    )


def _image(content: bytes, text: str, kind: str) -> str:
    return f"<img class='{kind}' alt='{esc(text)}' src='data:image/png;base64,{base64.b64encode(content).decode()}'>"


def _table(rows: Rows) -> str:
    head = "".join(f"<th scope='col'>{esc(each)}</th>" for each in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{esc(f'{v:.4g}' if isinstance(v, float) else v)}</td>" for v in row.values()) + "</tr>"
        for row in rows[:MAX_ROWS]
    )
    rest = f"<caption>The first {MAX_ROWS} of {len(rows)}.</caption>" if len(rows) > MAX_ROWS else ""
    return f"<table>{rest}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
