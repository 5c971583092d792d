"""The page of a comparison: one file that loads nothing."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pullback.measure.compare import Angles, Response
from pullback.measure.lacking import Drawn
from pullback.measure.report_frames import encode_strip
from pullback.measure.report_text import esc

WIDTH, HEIGHT, LEFT, BOTTOM = 420, 220, 44, 34
LINES = (
    ("in_x", "A and B, in X", "#c2410c"),
    ("in_h", "A and B, in H", "#1d4ed8"),
    ("other_sample", "A at another latent, in X", "#6b7280"),
    ("chance", "random spans in X", "#b8bec9"),
)
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:#111}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:right}th{font-weight:600}"
    "svg text{font-size:11px;fill:#444}figure{margin:1rem 0}img{max-width:100%;display:block;margin:.2rem 0}"
    ".missing{color:#b91c1c;font-weight:600}.scroll{overflow-x:auto}"
)


@dataclass(frozen=True, eq=False)
class PageStep:
    """One t: angles, responses of either side by name, pictures by direction, what either alone draws by side."""

    angles: Angles
    responses: Mapping[str, Sequence[Response]]
    strips: Mapping[str, Mapping[int, np.ndarray]]
    drawn: Mapping[str, Drawn] = field(default_factory=dict)


def compare_page(names: tuple[str, str], steps: Sequence[PageStep], *, settings: Mapping[str, object]) -> bytes:
    """Returns the page.

    Args:
        names: Of the two models.
        steps: What was found at each t; sides are called "vanished" and "appeared".
        settings: For the foot of the page.
    """
    a, b = map(esc, names)
    foot = ", ".join(f"{esc(str(name))} {esc(str(value))}" for name, value in settings.items())
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{a} and {b}</title><style>{STYLE}</style><h1>A = {a}, B = {b}</h1>",
        f"<p>{esc(verdict(steps))}</p>",
        "<p>Both models were opened up at the same latents, which A made. A direction of one model is called missing "
        "in the other when the other responds to it with less than half of what it should, judged by its response to "
        "all other directions, and when that falls four spreads out of line. What a model no longer draws it may still "
        "respond to: so that mixture is sought, too, along which the predictions of one model vary and those of the "
        "other least. It is missing when the other's standard deviation along it, on latents that did not choose it, "
        "is less than half of its owner's.</p>",
        *(_section(step) for step in steps),
        f"<p><small>{foot}</small></p></html>",
    ]
    return "\n".join(parts).encode()


def verdict(steps: Sequence[PageStep]) -> str:
    """One sentence: what appeared and vanished, and where.

    Example:
        >>> verdict([])
        'No direction vanished from A to B, and none appeared.'
    """
    found = {
        side: [
            f"{each.index} at t = {step.angles.t:g}"
            for step in steps
            for each in step.responses[side]
            if each.is_missing
        ]
        + [
            f"something drawn at t = {s.angles.t:g} (the line in red)"
            for s in steps
            if side in s.drawn and s.drawn[side].lack.is_missing
        ]
        for side in ("vanished", "appeared")
    }
    if not any(found.values()):
        return "No direction vanished from A to B, and none appeared."
    vanished = f"Vanished from A to B: {', '.join(found['vanished']) or 'none'}."
    return f"{vanished} Appeared: {', '.join(found['appeared']) or 'none'}."


def _section(step: PageStep) -> str:
    sides = {"vanished": "Directions of A, as B responds to them", "appeared": "Directions of B, as A responds to them"}
    tables = "".join(
        f"<h3>{title}</h3>{_table(step.responses[side])}{_pictures(step.strips[side])}"
        f"{_drawn(step.drawn[side]) if side in step.drawn else ''}"
        for side, title in sides.items()
    )
    return f"<h2>t = {step.angles.t:g}</h2>{_chart(step.angles)}{tables}"


def _table(found: Sequence[Response]) -> str:
    rows = "".join(
        f"<tr{' class=missing' if each.is_missing else ''}><td>{each.index}<td>{each.share:.2f}"
        f"<td>{each.low:.2f} to {each.high:.2f}<td>{each.z:+.1f}<td>{'missing' if each.is_missing else ''}</tr>"
        for each in found
    )
    head = "<tr><th>direction<th>response<th>95 % interval<th>spreads<th></tr>"
    return f"<div class=scroll><table>{head}{rows}</table></div>"


def _pictures(strips: Mapping[int, np.ndarray]) -> str:
    figures = []
    for index, frames in strips.items():
        rows = "".join(_picture(own, f"direction {index}, {who}") for own, who in zip(frames, WHO, strict=True))
        caption = "above: by the model it comes from, below: by the other; each latent moved back, not at all, forward"
        figures.append(f"<figure><figcaption>direction {index}; {caption}</figcaption>{rows}</figure>")
    return "".join(figures)


def _drawn(found: Drawn) -> str:
    """What the other draws least: the number, and the latents at its two ends."""
    lack = found.lack
    share = f"{lack.share:.2f} ({lack.low:.2f} to {lack.high:.2f})"
    words = f"of the mixture that the other draws least, it draws {share} of the standard deviation"
    line = f"<p{' class=missing' if lack.is_missing else ''}>{words}{': missing' if lack.is_missing else ''}</p>"
    if found.strip is None:
        return line
    rows = "".join(_picture(own[None], f"drawn, {who}") for own, who in zip(found.strip, WHO, strict=True))
    caption = "latents with least and most of it, as predicted by its own model, above, and by the other, below"
    return f"{line}<figure><figcaption>{caption}</figcaption>{rows}</figure>"


WHO = ("its own model", "the other model")


def _picture(frames: np.ndarray, label: str) -> str:
    strip = encode_strip(frames.reshape(-1, *frames.shape[2:]), max_side=128)
    return f'<img alt="{esc(label)}" src="data:image/webp;base64,{base64.b64encode(strip).decode()}">'


def _chart(angles: Angles) -> str:
    """Principal angles against their index."""
    lines, legend = [], []
    for position, (name, words, colour) in enumerate(LINES):
        values = getattr(angles, name)
        if not values:
            continue
        step = (WIDTH - LEFT - 10) / max(1, len(values) - 1)
        points = " ".join(f"{LEFT + i * step:.1f},{_y(value):.1f}" for i, value in enumerate(values))
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>')
        where = f'x="{WIDTH + 12}" y="{20 + 18 * position}"'
        legend.append(f'<text {where}><tspan style="fill:{colour}">&#9632;</tspan> {words}</text>')
    ticks = "".join(
        f'<text x="{LEFT - 6}" y="{_y(value) + 4:.1f}" text-anchor="end">{value:g}</text>'
        f'<line x1="{LEFT}" x2="{WIDTH}" y1="{_y(value):.1f}" y2="{_y(value):.1f}" stroke="#eee"/>'
        for value in (0, 0.5, 1, 1.5)
    )
    label = f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">principal angle, by size; radians</text>'
    box = f'viewBox="0 0 {WIDTH + 190} {HEIGHT}" width="{WIDTH + 190}"'
    drawn = "".join([ticks, *lines, *legend, label])
    return f'<div class=scroll><svg {box} role="img" aria-label="principal angles">{drawn}</svg></div>'


def _y(angle: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 10) * angle / 1.6
