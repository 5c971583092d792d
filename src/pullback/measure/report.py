"""The report: one self-contained HTML page that shows what each direction does.

It loads nothing from the network; a content policy in its head forbids it to, and lets only its own script run.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from string import Template

from pullback.errors import FileFormatError
from pullback.measure import report_words as words
from pullback.measure.report_cards import card, glance, hero, middle_scale, with_pictures
from pullback.measure.report_charts import spectra_chart
from pullback.measure.report_data import (
    ComparisonRow,
    DirectionCard,
    FactorRow,
    ReportData,
    Spectrum,
    Stage,
    Strip,
    from_plain,
    to_plain,
)
from pullback.measure.report_tables import (
    comparison_table,
    cost_table,
    effects_table,
    factors_table,
    settings_list,
    tiles,
)
from pullback.measure.report_text import counted, esc

__all__ = [
    "ComparisonRow",
    "DirectionCard",
    "FactorRow",
    "ReportData",
    "Spectrum",
    "Stage",
    "Strip",
    "from_plain",
    "read_images",
    "render",
    "to_plain",
]

MAX_BYTES = 15_000_000


def render(data: ReportData) -> bytes:
    """Returns the page, UTF-8.

    Raises:
        FileFormatError: If it would be 15 MB or more: the strips were not encoded by `encode_strips`.

    Example:
        >>> render(ReportData("m", "pullback discover m", "0", 2, 1, (0.0,), (), {}))[:15]
        b'<!doctype html>'
    """
    script = _asset("page.js").strip()
    digest = base64.b64encode(hashlib.sha256(f"\n{script}\n".encode()).digest()).decode()
    moving = hero(data)
    page = Template(_asset("page.html")).substitute(
        title=esc(f"Directions of {data.model}"),
        headline=esc(f"What moves inside {data.model}"),
        lead=esc(_lead(data)),
        version=esc(data.version),
        script_hash=f"sha256-{digest}",
        css=_asset("page.css").strip(),
        script=script,
        header="top" if moving else "top plain",
        hero=moving,
        tiles=tiles(data),
        sections="\n".join(section for section in _sections(data) if section),
    )
    content = page.encode()
    if len(content) >= MAX_BYTES:
        raise FileFormatError(
            wanted=f"a page below {MAX_BYTES:,} bytes", got=f"{len(content):,}", hint="render fewer frames or samples"
        )
    return content


def read_images(page: bytes) -> dict[tuple[int, int], bytes]:
    """Returns the strips of a page by (direction, position), to render it again with another label.

    Raises:
        FileFormatError: If the page is not UTF-8 or holds a strip that is not base64.
    """
    pattern = re.compile(r'data-strip="(\d{1,6})-(\d{1,6})"[^>]*? src="data:image/webp;base64,([A-Za-z0-9+/=]*)"')
    try:
        found = pattern.findall(page.decode())
        return {(int(i), int(k)): base64.b64decode(encoded, validate=True) for i, k, encoded in found}
    except ValueError as error:
        raise FileFormatError(
            wanted="a report.html of this package", got=str(error), hint="run `pullback discover` again"
        ) from error


def _asset(name: str) -> str:
    return (files("pullback.measure") / "templates" / name).read_text(encoding="utf-8")


def _lead(data: ReportData) -> str:
    strong = sum(not each.is_weak for each in data.cards)
    shown = max((len(each.strips) for each in data.cards), default=0)
    found = f"{counted(len(data.cards), 'direction')} found without a single label"
    where = f" in {counted(data.num_samples, 'sample')}" + (f", shown on {shown} that took no part." if shown else ".")
    verdict = f" {strong} of them {'is' if strong == 1 else 'are'} known to unseen samples more than chance would allow"
    return found + where + verdict + ("." if strong == len(data.cards) else "; the others are shown faded.")


def _sections(data: ReportData) -> list[str]:
    shown = with_pictures(data)
    cards = _toolbar(data) + "\n".join(card(data, each) for each in shown) + _left_out(data, len(shown))
    terms = "".join(f"<details><summary>{esc(a)}</summary><p>{esc(b)}</p></details>" for a, b in words.WORDS)
    return [
        _section("how", "How to read this page", "", words.HOW),
        _section("glance", "At a glance", words.GLANCE, glance(data)) if data.cards else "",
        _section("directions", "Directions", words.DIRECTIONS, cards),
        _optional(
            "effects",
            "What each direction changes",
            words.EFFECTS.format(scale=f"{data.effect_scale:g}"),
            effects_table(data),
        ),
        _optional("comparison", "Against controls", words.COMPARISON, comparison_table(data.comparisons)),
        _optional("spectra", "How strongly the network reacts", words.SPECTRA, spectra_chart(data.spectra)),
        _optional("factors", "What could be found at all", words.FACTORS, factors_table(data.factors)),
        _optional("cost", "What it cost", "", cost_table(data.stages)),
        _section("settings", "Settings, and how to get this page again", "", _reproduce(data)),
        _section("words", "Words", "", terms),
    ]


def _section(key: str, title: str, intro: str, body: str) -> str:
    lead = f'<p class="intro">{intro}</p>' if intro else ""
    return f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{title}</h2>{lead}{body}</section>'


def _optional(key: str, title: str, intro: str, body: str) -> str:
    return _section(key, title, intro, body) if body else ""


def _toolbar(data: ReportData) -> str:
    last = len(data.scales) - 1
    if not data.cards or last < 1:
        return ""
    stops = ",".join(f"{value:g}" for value in data.scales)
    has_weak = any(each.is_weak for each in data.cards)
    box = '<label><input type="checkbox" id="weak" autocomplete="off"> hide weak directions</label>' if has_weak else ""
    return f"""<div class="toolbar"><label>All directions
<input type="range" id="master" min="0" max="{last}" step="1" value="{middle_scale(data.scales)}"
 autocomplete="off" data-scales="{stops}"></label>
<button type="button" id="play" aria-pressed="false">Play</button>{box}</div>"""


def _left_out(data: ReportData, num_shown: int) -> str:
    if num_shown == len(data.cards):
        return ""
    names = ", ".join(str(each.index) for each in data.cards if not any(strip.image for strip in each.strips))
    how = f"<code>--directions {len(data.cards)}</code> renders all"
    return f'<p class="muted">Without pictures: directions {names}; {how}.</p>'


def _reproduce(data: ReportData) -> str:
    notes = "".join(f"<li>{esc(note)}</li>" for note in data.notes)
    listed = f'<h3 class="apart">Notes</h3><ul class="notes">{notes}</ul>' if notes else ""
    return f"""<div class="command"><code id="command">{esc(data.command)}</code>
<button type="button" id="copy">Copy</button></div>
{settings_list(data)}{listed}"""
