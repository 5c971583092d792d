"""Words and numbers of the page: every value becomes text here, and all text is escaped here."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable


def esc(text: object) -> str:
    """Returns ``text`` safe inside an element or a quoted attribute; control characters are dropped.

    Example:
        >>> esc('<b title="x">')
        '&lt;b title=&quot;x&quot;&gt;'
    """
    return html.escape("".join(c if c.isprintable() else " " for c in str(text)), quote=True)


def number(value: float | None, digits: int = 2) -> str:
    """Returns a number as a reader wants it: ".62", "1.5", "12", "1,204"; a dash if there is none.

    Example:
        >>> number(0.617), number(-0.05), number(12.34), number(1204.3), number(None)
        ('.62', '−.05', '12.3', '1,204', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    digits = digits if size < 10 else 1 if size < 100 else 0
    text = f"{size:,.{digits}f}"
    if text.startswith("0."):
        text = text[1:]
    if float(f"{size:.{digits}f}") == 0:
        return "0"
    return f"−{text}" if value < 0 else text


def percent(value: float | None) -> str:
    """Returns a share as a percentage: "42 %", ".4 %"; a dash if there is none.

    Example:
        >>> percent(0.421), percent(0.004), percent(None)
        ('42 %', '.4 %', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    shown = 100 * value
    return f"{number(shown, 1) if abs(shown) < 10 else f'{shown:.0f}'} %"


def scale_text(scale: float) -> str:
    """Returns a scale with its sign: "−2", "0", "+1.5", "+.5"."""
    size = f"{abs(scale):g}"
    return ("+" if scale > 0 else "−" if scale < 0 else "") + size.removeprefix("0" if size.startswith("0.") else "")


def duration(seconds: float) -> str:
    """Returns a time span: "8 s", "2 min 05 s", "1 h 20 min"; under ten seconds with a decimal.

    Example:
        >>> duration(3.24), duration(125), duration(4800)
        ('3.2 s', '2 min 05 s', '1 h 20 min')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(num_bytes: float) -> str:
    """Returns bytes in the unit that suits: "812 B", "3.4 MB", "1.2 GB".

    Example:
        >>> size(812), size(3_400_000)
        ('812 B', '3.4 MB')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.1f} {unit}"
    return f"{num_bytes:.0f} B"


def table(label: str, head: Iterable[str], rows: Iterable[str], *, kind: str = "") -> str:
    """Returns a table that scrolls sideways on its own; ``head`` are finished cells, ``rows`` are finished ``<tr>``."""
    cells = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{esc(label)}"><table class="{kind}">'
        f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def counted(num: int, noun: str) -> str:
    """Returns "1 sample", "12 samples"."""
    return f"{num:,} {noun}" + ("" if num == 1 else "s")
