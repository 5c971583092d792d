"""The tables of the page: effects, gain and recall, comparisons, cost, settings."""

from __future__ import annotations

from collections.abc import Sequence

from pullback.measure.report_data import ComparisonRow, DirectionCard, FactorRow, ReportData, Stage
from pullback.measure.report_text import counted, duration, esc, number, percent, scale_text, table

FULL_EFFECT = 1.0
"""Standard deviations at which a cell of the effects table has its full colour."""
FAINT_EFFECT = 0.05
"""Below it a cell shows a dot."""


def effects_table(data: ReportData) -> str:
    """Returns directions x factors as a coloured table; empty when no effects are known."""
    rows = [each for each in data.cards if each.effects]
    if not rows or not data.factor_names:
        return ""
    head = ["direction", *(f"<span>{esc(name)}</span>" for name in data.factor_names)]
    return table("Effect of each direction on each factor", head, map(_effects_row, rows), kind="heat")


def _effects_row(each: DirectionCard) -> str:
    name = f'<a href="#d{each.index}">{each.index}</a> {esc(each.title)}'
    cells = "".join(map(_heat, each.effects))
    return f'<tr{" class=weak" if each.is_weak else ""}><th scope="row">{name}</th>{cells}</tr>'


def _heat(value: float) -> str:
    if abs(value) < FAINT_EFFECT:
        return '<td class="faint">·</td>'
    depth = 85 * min(abs(value) / FULL_EFFECT, 1)
    return f'<td class="{"pos" if value > 0 else "neg"}" style="--v:{depth:.0f}">{scale_text(round(value, 1))}</td>'


def factors_table(rows: Sequence[FactorRow]) -> str:
    """Returns energy share, gain and both recalls of each factor; empty without factors."""
    if not rows:
        return ""
    body = (
        f'<tr><th scope="row">{esc(row.name)}</th><td>{percent(row.energy_share)}</td><td>{number(row.gain)}</td>'
        f"<td>{_recall(row.recall_x, row.recall_x_null)}</td><td>{_recall(row.recall_h, row.recall_h_null)}</td></tr>"
        for row in rows
    )
    head = ["factor", "share of the picture's energy", "gain", "recall in x", "recall in h"]
    return table("Gain and recall of each factor", head, body)


def _recall(value: float | None, null: float | None) -> str:
    if value is None:
        return "–"
    mark = "" if null is None else f'<b style="--n:{100 * null:.1f}"></b>'
    text = "" if null is None else f' <span class="null">null {_small(null)}</span>'
    bar = f'<span class="bar"><i style="--v:{100 * min(max(value, 0), 1):.1f}"></i>{mark}</span>'
    return f'<span class="cell">{bar}<span>{_small(value)}{text}</span></span>'


def _small(value: float) -> str:
    """Two digits that matter down to a thousandth."""
    return number(value) if value >= 0.095 else number(value, 3) if value >= 0.0005 else "&lt;.001"


def comparison_table(rows: Sequence[ComparisonRow]) -> str:
    """Returns our figures among those of the controls; empty without controls."""
    if not rows:
        return ""
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    body = (
        f'<tr{" class=ours" if row.is_ours else ""}><th scope="row">{esc(row.method)}</th>'
        + "".join(f"<td>{_interval(row.figures.get(name))}</td>" for name in names)
        + "</tr>"
        for row in rows
    )
    return table("Comparison with controls", ["method", *map(esc, names)], body)


def _interval(value: tuple[float, ...] | None) -> str:
    if value is None or len(value) == 0:
        return "–"
    main, *ends = value
    if len(ends) < 2:
        return number(main)
    return f'{number(main)} <span class="null">{number(ends[0])} to {number(ends[1])}</span>'


def cost_table(stages: Sequence[Stage]) -> str:
    """Returns what each stage took; empty when nothing was timed."""
    if not stages:
        return ""
    rows = [_cost_row(stage) for stage in stages]
    total = Stage(
        "all",
        sum(stage.seconds for stage in stages),
        sum(stage.num_products for stage in stages),
        sum(stage.num_calls for stage in stages),
    )
    head = ["stage", "time", "Jacobian products", "network calls (batches)"]
    return table("Cost by stage", head, [*rows, _cost_row(total, kind=" class=ours")])


def _cost_row(stage: Stage, *, kind: str = "") -> str:
    counts = "".join(f"<td>{num:,}</td>" if num else "<td>–</td>" for num in (stage.num_products, stage.num_calls))
    return f'<tr{kind}><th scope="row">{esc(stage.name)}</th><td>{duration(stage.seconds)}</td>{counts}</tr>'


def settings_list(data: ReportData) -> str:
    """Returns all settings, and the plan that was made before the run."""
    pairs = [*data.settings.items(), *((f"plan: {name}", value) for name, value in data.plan.items())]
    rows = "".join(f"<dt>{esc(name)}</dt><dd>{esc(value)}</dd>" for name, value in pairs if value not in (None, ""))
    return f'<dl class="settings">{rows}</dl>'


def tiles(data: ReportData) -> str:
    """Returns the handful of figures at the top of the page."""
    strong = sum(not each.is_weak for each in data.cards)
    seconds = sum(stage.seconds for stage in data.stages)
    products = sum(stage.num_products for stage in data.stages)
    t_fraction = data.settings.get("t_fraction")
    pairs = [
        ("above chance", f"{strong} of {len(data.cards)}"),
        ("found in", counted(data.num_samples, "sample")),
        ("checked on", counted(data.num_held_out, "other")),
        ("timestep", f"{t_fraction:g} T" if isinstance(t_fraction, int | float) else ""),
        ("Jacobian products", f"{products:,}" if products else ""),
        ("time", duration(seconds) if seconds else ""),
    ]
    return "".join(f"<div><dt>{esc(name)}</dt><dd>{esc(value)}</dd></div>" for name, value in pairs if value)
