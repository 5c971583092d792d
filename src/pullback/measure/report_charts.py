"""Spectra as an inline SVG drawing, on a logarithmic axis."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from pullback.measure.report_data import Spectrum
from pullback.measure.report_text import esc, number

WIDTH, HEIGHT = 840, 300
MIN_TICKS, MAX_TICKS = 4, 10
Position = Callable[[int, float], tuple[float, float]]
LEFT, RIGHT, TOP, BOTTOM = 58, 20, 18, 40


def spectra_chart(spectra: Sequence[Spectrum]) -> str:
    """Returns the singular values of every sample as thin lines with their median on top; empty without any."""
    lines = [[v for v in each.values if v > 0] for each in spectra]
    lines = [line for line in lines if line]
    if not lines:
        return ""
    low = math.log10(min(map(min, lines)))
    high = math.log10(max(map(max, lines)))
    low, high = low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1)
    rank = max(map(len, lines))

    def at(k: int, value: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * k / max(rank - 1, 1)
        return x, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (math.log10(value) - low) / (high - low)

    def path(values: Sequence[float]) -> str:
        return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in (at(k, v) for k, v in enumerate(values)))

    median = [statistics.median(line[k] for line in lines if k < len(line)) for k in range(rank)]
    thin = "".join(f'<path class="thin" d="{path(line)}"/>' for line in lines)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>direction {k}: s = {number(v)}</title></circle>'
        for k, v in enumerate(median)
        for x, y in [at(k, v)]
    )
    summary = f"{len(lines)} samples; the median falls from {number(median[0])} to {number(median[-1])}"
    label = esc(f"Singular values of {summary}")
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Spectra">'
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f'{_axes(low, high, rank, at)}{thin}<path class="thick" d="{path(median)}"/>{dots}</svg></div>'
    )


def _axes(low: float, high: float, rank: int, position: Position) -> str:
    parts = []
    for value in _ticks(low, high):
        _, y = position(0, value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 9}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    every = max(1, round(rank / 8))
    for k in range(0, rank, every):
        x, _ = position(k, 10**low)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{k}</text>')
    center = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{center}" y="{HEIGHT - 5}" text-anchor="middle">local direction, by falling s</text>')
    middle = HEIGHT / 2
    turned = f'transform="rotate(-90 14 {middle})"'
    parts.append(f'<text x="14" y="{middle}" text-anchor="middle" {turned}>singular value s</text>')
    return "".join(parts)


def _ticks(low: float, high: float) -> list[float]:
    """Round values from 10^low to 10^high: powers of ten where there are many, finer digits where few."""
    decades = range(math.floor(low), math.ceil(high) + 1)
    ticks: list[float] = []
    for digits in ((1,), (1, 2, 5), tuple(range(1, 10)), tuple(k / 2 for k in range(2, 20))):
        finer = [m * 10.0**e for e in decades for m in digits if low <= math.log10(m * 10.0**e) <= high]
        if len(finer) > MAX_TICKS:
            break
        ticks = finer
        if len(ticks) >= MIN_TICKS:
            break
    return ticks
