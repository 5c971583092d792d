"""Opens the report in a real browser, moves its sliders by key, mouse and master, and takes pictures of it.

    python tools/page_check.py [REPORT.html]

Without a page it makes one up. Pictures go to build/page/.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from browser import Browser
from page_sample import sample_report
from pullback.measure.report import render

OUT = Path("build/page")
CARD = "document.querySelector('.card')"


def main() -> int:
    """Runs all checks on one page; returns 1 if one fails."""
    OUT.mkdir(parents=True, exist_ok=True)
    page = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT / "sample.html"
    if len(sys.argv) > 1 and not page.is_file():
        raise SystemExit(f"there is no page {page}; `make demo` makes demo/report.html")
    if len(sys.argv) == 1:
        page.write_bytes(render(sample_report(label="<b>head</b> & shoulders")))
    failed = 0
    with Browser() as browser:
        browser.view(1280)
        browser.open(page)
        for check in (
            loads_alone,
            slider_by_key,
            slider_by_drag,
            master_moves_all,
            play_stops,
            weak_hides,
            fits,
            label_is_text,
        ):
            problem = check(browser)
            failed += problem is not None
            print(f"{'FAILED' if problem else 'ok':7} {check.__name__.replace('_', ' ')}", problem or "")
        pictures(browser)
        if browser.errors:
            failed += 1
            print("FAILED  the page complains:", *browser.errors, sep="\n        ")
    print(f"pictures in {OUT}/")
    return int(failed > 0)


def loads_alone(browser: Browser) -> str | None:
    """Nothing but the page itself is asked for, and every picture is there."""
    if len(browser.requests) != 1:
        return f"asked for {browser.requests}"
    missing = browser.run("[...document.images].filter(i => !i.complete || i.naturalWidth === 0).length")
    return f"{missing} pictures are missing" if missing else None


def slider_by_key(browser: Browser) -> str | None:
    """An arrow key moves one stop; the picture, the text and what a screen reader says follow."""
    browser.run(f"{CARD}.querySelector('input').focus()")
    before = _state(browser)
    browser.press("ArrowRight")
    after = _state(browser)
    browser.press("End")
    last = _state(browser)
    if after["k"] != before["k"] + 1 or last["k"] != before["last"]:
        return f"{before} {after} {last}"
    if after["position"] == before["position"] or "+" not in after["text"] or after["said"] != after["text"]:
        return f"{before} {after}"
    return None


def slider_by_drag(browser: Browser) -> str | None:
    """Dragging across the pictures moves the slider of their card."""
    browser.run(f"{CARD}.scrollIntoView({{behavior: 'instant', block: 'center'}})")
    rectangle = f"{CARD}.querySelector('.people').getBoundingClientRect()"
    box = browser.run(f"(r => [r.left, r.top, r.width, r.height])({rectangle})")

    left, top, width, height = box
    before = _state(browser)["k"]
    browser.drag((left + width * 0.8, top + height / 2), (left + width * 0.1, top + height / 2))
    after = _state(browser)["k"]
    return None if after < before else f"{before} -> {after}"


def master_moves_all(browser: Browser) -> str | None:
    """The slider at the top moves every card."""
    browser.run("(m => { m.value = 1; m.dispatchEvent(new Event('input')); })(document.getElementById('master'))")
    values = browser.run("[...document.querySelectorAll('.card input[type=range]')].map(i => i.value)")
    return None if set(values) == {"1"} else str(values)


def play_stops(browser: Browser) -> str | None:
    """Play runs, says so, and stops when asked."""
    browser.run("document.getElementById('play').click()")
    seen = set()
    for _ in range(4):
        browser.run("new Promise(done => setTimeout(done, 300))")
        seen.add(_state(browser)["k"])
    pressed = browser.run("document.getElementById('play').getAttribute('aria-pressed')")
    browser.run("document.getElementById('play').click()")
    before = _state(browser)["k"]
    browser.run("new Promise(done => setTimeout(done, 600))")
    return None if len(seen) > 1 and pressed == "true" and _state(browser)["k"] == before else f"{seen} {pressed}"


def weak_hides(browser: Browser) -> str | None:
    """The box hides weak directions, and shows them again; a page may show none."""
    count = "[...document.querySelectorAll('.card.weak')].filter(c => c.offsetParent !== null).length"
    if not browser.run("document.getElementById('weak') !== null && document.querySelector('.card.weak') !== null"):
        return None
    shown = browser.run(count)
    browser.run("document.getElementById('weak').click()")
    hidden = browser.run(count)
    browser.run("document.getElementById('weak').click()")
    return None if shown > 0 == hidden and browser.run(count) == shown else f"{shown} -> {hidden}"


def fits(browser: Browser) -> str | None:
    """Nothing sticks out to the side, on a desk or in a hand."""
    wide = []
    for width in (1280, 768, 390, 320):
        browser.view(width)
        if browser.run("document.documentElement.scrollWidth") > width:
            wide.append(width)
    browser.view(1280)
    return f"too wide at {wide}" if wide else None


def label_is_text(browser: Browser) -> str | None:
    """Markup in a label is shown, not obeyed."""
    return None if browser.run("document.querySelector('h3 b, .what b') === null") else "a label became markup"


def pictures(browser: Browser) -> None:
    """Takes pictures of the page as people see it."""
    for name, width, is_dark in (
        ("desk", 1280, False),
        ("desk-dark", 1280, True),
        ("hand", 390, False),
        ("hand-dark", 390, True),
    ):
        browser.view(width, is_dark=is_dark)
        for part, go in PARTS.items():
            go(browser)
            browser.picture(OUT / f"{name}-{part}.png")


def _to(selector: str) -> Callable[[Browser], None]:
    def go(browser: Browser) -> None:
        browser.run(f"document.querySelector('{selector}')?.scrollIntoView({{behavior: 'instant'}})")

    return go


PARTS = {"top": _to("header"), "cards": _to("#directions"), "effects": _to("#effects"), "settings": _to("#settings")}


def _state(browser: Browser) -> dict:
    return browser.run(
        f"(c => ({{k: Number(c.querySelector('input').value), last: Number(c.querySelector('input').max),"
        " text: c.querySelector('output').textContent, said: c.querySelector('input').getAttribute('aria-valuetext'),"
        f" position: getComputedStyle(c.querySelector('.strip')).objectPosition}}))({CARD})"
    )


if __name__ == "__main__":
    sys.exit(main())
