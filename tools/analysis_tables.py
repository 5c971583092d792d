"""Print the tables of docs/analyses.md out of the record of a run of `pullback analyze`.

python tools/analysis_tables.py docs/results/analysis
"""

from __future__ import annotations

import sys
from pathlib import Path

from pullback.analyses.catalogue import NEEDS, ORDER, claims, load_figure
from pullback.analyses.record import Finding
from pullback.analyses.run import read_record
from pullback.measure.report_text import number


def main() -> None:
    """Prints both tables."""
    figures = read_record(Path(sys.argv[1]))["figures"]
    print(claim_table(figures), figure_table(figures), sep="\n\n")


def claim_table(figures: dict) -> str:
    """Every claim with its effect, interval and verdict."""
    found = [Finding(**entry) for name in ORDER for entry in figures.get(name, {}).get("findings", ())]
    lines = ["| claim | effect [95 %] | chance | n | verdict |", "|---|---|---|---|---|"]
    lines += [
        f"| {claims()[each.claim].claim} | {number(each.effect)} [{number(each.low)}, {number(each.high)}] |"
        f" {number(each.null)} | {each.num} | {each.verdict} |"
        for each in found
    ]
    tested = {each.claim for each in found}
    lines += [
        f"| {claim.claim} | – | – | – | not tested: `{claim.figure}` needs {NEEDS.get(claim.figure, 'to be made')} |"
        for claim in claims().values()
        if claim.name not in tested
    ]
    return "\n".join(lines)


def figure_table(figures: dict) -> str:
    """Every figure with what it took and what it says of itself."""
    lines = ["| figure | shows | n | products | minutes | note |", "|---|---|---|---|---|---|"]
    lines += [
        f"| `{name}` | {load_figure(name).TITLE} | {entry['num'] or '–'} | {entry['num_products']:,} |"
        f" {entry['seconds'] / 60:.1f} | {entry['note']} |"
        for name in ORDER
        if (entry := figures.get(name))
    ]
    seconds = sum(entry["seconds"] for entry in figures.values())
    products = sum(entry["num_products"] for entry in figures.values())
    return "\n".join([*lines, f"| in all | – | – | {products:,} | {seconds / 60:.1f} | – |"])


if __name__ == "__main__":
    main()
