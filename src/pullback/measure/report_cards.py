"""One direction on the page: pictures under one slider, and what was measured beside them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

from PIL import Image

from pullback.measure.report_data import DirectionCard, ReportData, Strip
from pullback.measure.report_text import esc, number, scale_text

NUM_HERO = 6
NUM_EFFECTS = 4
SMALL_EFFECT = 0.05  # standard units; below it a factor is left out of a card


def card(data: ReportData, each: DirectionCard) -> str:
    """Returns the card of one direction."""
    middle, last = middle_scale(data.scales), max(len(data.scales) - 1, 1)
    weak = '<span class="badge">weak: agreement not above its null</span>' if each.is_weak else ""
    measured = f'<span class="measured">measured: {esc(each.name)}</span>' if each.label else ""
    index = f'<span class="index" title="index, as the command line counts">{each.index}</span>'
    return f"""<article class="card{" weak" if each.is_weak else ""}" id="d{each.index}"
 aria-labelledby="h{each.index}" style="--k:{middle};--last:{last}">
<header>{index}<h3 id="h{each.index}">{esc(each.title)}</h3>{measured}{weak}</header>
<div>{_people(data, each)}{_slider(data.scales, each, middle)}</div>
{_stats(each)}{_effects(data, each)}
</article>"""


def hero(data: ReportData) -> str:
    """Returns up to six moving pictures for the top of the page, each another direction on another sample."""
    some = [
        each
        for each in data.cards
        if all(s.image for s in each.strips) and each.strips and not each.is_weak and each.title != "unclear"
    ][:NUM_HERO]
    if len(some) < NUM_HERO or len(data.scales) < 2:
        return ""
    return f'<ul class="hero">{"".join(_hero_tile(data, each, k) for k, each in enumerate(some))}</ul>'


def _hero_tile(data: ReportData, each: DirectionCard, position: int) -> str:
    strip = each.strips[position % len(each.strips)]
    style = f"{_aspect(strip, len(data.scales))};animation-timing-function:steps({len(data.scales)},jump-none)"
    picture = f'<img class="strip" style="{style}" alt="" src="data:image/webp;base64,{_encoded(strip)}">'
    return f'<li><a href="#d{each.index}">{picture}<span>{esc(each.label or each.name.split(", ")[0])}</span></a></li>'


def with_pictures(data: ReportData) -> list[DirectionCard]:
    """Returns the cards that have pictures, or all of them if none has."""
    return [each for each in data.cards if any(strip.image for strip in each.strips)] or list(data.cards)


def glance(data: ReportData) -> str:
    """Returns the list of all directions with their agreement, each a link to its card if it has one."""
    linked = {each.index for each in with_pictures(data)}
    return f'<ol class="glance">{"".join(_glance_row(each, each.index in linked) for each in data.cards)}</ol>'


def _glance_row(each: DirectionCard, is_linked: bool) -> str:
    tag, link = ("a", f' href="#d{each.index}"') if is_linked else ("div", "")
    kind = "row weak" if each.is_weak else "row"
    number, name = f'<span class="num">{each.index}</span>', f'<span class="what">{esc(each.title)}</span>'
    return f'<li><{tag} class="{kind}"{link}>{number}{name}{agreement_bar(each)}</{tag}></li>'


def agreement_bar(each: DirectionCard) -> str:
    """Returns a bar for the agreement with a mark at its null."""
    if each.agreement is None:
        return "<span></span>"
    null = "" if each.agreement_null is None else f", matched null {number(each.agreement_null)}"
    mark = "" if each.agreement_null is None else f'<b style="--n:{_percent(each.agreement_null)}"></b>'
    label = f"agreement {number(each.agreement)}{null}"
    fill = f'<i style="--v:{_percent(each.agreement)}"></i>'
    return f'<span class="bar" role="img" aria-label="{label}" title="{label}">{fill}{mark}</span>'


def middle_scale(scales: Sequence[float]) -> int:
    """Returns the position of the scale nearest to 0."""
    return min(range(len(scales)), key=lambda k: abs(scales[k])) if scales else 0


def _people(data: ReportData, each: DirectionCard) -> str:
    if not any(strip.image for strip in each.strips):
        return '<p class="muted">No pictures were rendered for this direction.</p>'
    figures = "".join(_figure(each, strip, position, len(data.scales)) for position, strip in enumerate(each.strips))
    return f'<div class="people" style="--people:{len(each.strips)}">{figures}</div>'


def _figure(each: DirectionCard, strip: Strip, position: int, num_scales: int) -> str:
    caption = f"seed {strip.seed}"
    passed = "".join("1" if ok else "0" for ok in strip.passed)
    gate = f' data-passed="{passed}" data-caption="{caption}"' if len(passed) == num_scales else ""
    return (
        f'<figure{gate}><img class="strip" data-strip="{each.index}-{position}" style="{_aspect(strip, num_scales)}"'
        f' decoding="async" alt="Sample {strip.seed} moved along direction {each.index}"'
        f' src="data:image/webp;base64,{_encoded(strip)}"><figcaption>{caption}</figcaption></figure>'
    )


def _slider(scales: Sequence[float], each: DirectionCard, middle: int) -> str:
    if not any(strip.image for strip in each.strips) or len(scales) < 2:
        return ""
    usable, limits = "", ""
    if each.usable is not None:
        start, end = (_position(value, scales) for value in each.usable)
        usable = f'<span class="usable" style="--from:{start:.4f};--to:{end:.4f}"></span>'
        limits = f' data-low="{each.usable[0]:g}" data-high="{each.usable[1]:g}"'
    last = len(scales) - 1
    ticks = "".join(f'<span style="left:{100 * k / last:.2f}%">{scale_text(v)}</span>' for k, v in enumerate(scales))
    stops = ",".join(f"{value:g}" for value in scales)
    return f"""<div class="scale"><div class="rail"><span class="track"></span>{usable}
<input type="range" min="0" max="{last}" step="1" value="{middle}" autocomplete="off" data-scales="{stops}"{limits}
 aria-label="Scale of direction {each.index}: {esc(each.title)}">
<span class="ticks" aria-hidden="true">{ticks}</span></div><output>scale {scale_text(scales[middle])}</output></div>"""


def _position(value: float, scales: Sequence[float]) -> float:
    """Where ``value`` lies on a slider whose stops are evenly spaced: 0 at its start, 1 at its end."""
    if value <= scales[0]:
        return 0.0
    for k in range(1, len(scales)):
        if value <= scales[k]:
            return (k - 1 + (value - scales[k - 1]) / (scales[k] - scales[k - 1])) / (len(scales) - 1)
    return 1.0


def _stats(each: DirectionCard) -> str:
    rows = []
    if each.agreement is not None:
        null = "" if each.agreement_null is None else f"<span>null {number(each.agreement_null)}</span>"
        text = f'<span class="bartext"><span>agreement <strong>{number(each.agreement)}</strong></span>{null}</span>'
        rows.append(f'<div class="wide">{text}{agreement_bar(each)}</div>')
    rows += [f"<dt>{esc(name)}</dt><dd>{esc(text)}</dd>" for name, text in _figures(each)]
    return f'<dl class="stats">{"".join(rows)}</dl>'


def _figures(each: DirectionCard) -> list[tuple[str, str]]:
    """The lines of small print beside the pictures; what is not known is left out."""
    pairs = [("singular value s", number(each.s))]
    others = [str(i) for i in each.cluster if i != each.index]
    if others:
        pairs.append(("nearly equal s", f"with {', '.join(others)}"))
    if each.usable is not None:
        low, high = (scale_text(round(value, 1)) for value in each.usable)
        pairs.append(("usable range", f"{low} … {high}"))
    if each.symmetry is not None:
        pairs.append(("symmetry", number(each.symmetry)))
    if each.step is not None:
        pairs.append(("scale 1 in x", number(each.step)))
    return pairs + [(name, number(value)) for name, value in each.facts.items() if value is not None]


def _effects(data: ReportData, each: DirectionCard) -> str:
    """The factors that move most, as bars that reach their end at the largest effect of the card (or 1)."""
    pairs = sorted(zip(data.factor_names, each.effects, strict=False), key=lambda pair: -abs(pair[1]))[:NUM_EFFECTS]
    pairs = [(name, value) for name, value in pairs if abs(value) >= SMALL_EFFECT]
    if not pairs:
        return ""
    top = max(1.0, abs(pairs[0][1]))
    items = "".join(_effect(name, value, top) for name, value in pairs)
    meaning = f"mean effect of scale {data.effect_scale:g}, standard deviations of each factor"
    return f'<ul class="effects" title="{meaning}">{items}</ul>'


def _effect(name: str, value: float, top: float) -> str:
    bar = f'<i class="{"pos" if value > 0 else "neg"}" style="--v:{100 * abs(value) / top:.0f}"></i>'
    shown = f'<span class="num">{scale_text(round(value, 2))}</span>'
    return f'<li><span class="name">{esc(name)}</span><span class="twoway">{bar}</span>{shown}</li>'


def _percent(value: float) -> str:
    return f"{100 * min(max(value, 0.0), 1.0):.1f}"


def _encoded(strip: Strip) -> str:
    return base64.b64encode(strip.image).decode()


def _aspect(strip: Strip, num_scales: int) -> str:
    """The shape of one frame as a style, read off the picture's header."""
    if not strip.image:
        return "--aspect:1"
    with Image.open(io.BytesIO(strip.image)) as picture:
        width, height = picture.size
    return f"--aspect:{width // max(num_scales, 1)}/{height}"
