"""The committed tables of the runs that docs/analyses.md tells of: pages and document come from them alone."""

import shutil
from pathlib import Path

import pytest

from pullback.analyses import FIGURES, write_page
from pullback.analyses.run import read_record
from tools.analysis_tables import claim_table, figure_table

ROOT = Path(__file__).parents[2]
RESULTS = dict.fromkeys(("analysis", "analysis_paper"), (*FIGURES, "complexity"))


@pytest.mark.parametrize(("folder", "names"), RESULTS.items())
def test_the_page_is_made_again_out_of_the_committed_tables(folder, names, tmp_path):
    shutil.copytree(ROOT / "docs" / "results" / folder, tmp_path / folder)
    page = write_page(tmp_path / folder).read_text()
    for name in names:
        section = page[page.index(f"<section id='{name}'>") :]
        assert "data:image/png;base64," in section[: section.index("</section>")]
    assert page.count("<section id=") == 1 + len(names)  # and that of the claims


def as_told(folder):
    """The tables as the document has them: at the papers' sizes it leaves out what was not tested."""
    figures = read_record(ROOT / "docs" / "results" / folder)["figures"]
    claims = claim_table(figures).splitlines()
    if folder == "analysis_paper":
        claims = [line for line in claims if "not tested" not in line]
    return "\n".join(claims), figure_table(figures)


def tables_of(document):
    """Its tables of claims and of figures that were run, each a block of lines that begin with a bar."""
    blocks, block = [], []
    for line in [*document.splitlines(), ""]:
        if line.startswith("|"):
            block.append(line)
        elif block:
            blocks.append("\n".join(block))
            block = []
    heads = tuple(table.splitlines()[0] for table in as_told("analysis"))
    return [block for block in blocks if block.startswith(heads)]


def test_the_document_has_the_tables_of_the_records_and_no_others():
    told = tables_of((ROOT / "docs" / "analyses.md").read_text())
    assert told == [table for folder in RESULTS for table in as_told(folder)]


def test_a_stale_row_is_a_difference():
    """Such as one that still says "not tested" of what was tested since."""
    claims, figures = as_told("analysis")
    stale = "| Something. | | | | not tested: `samples` needs to be made |"
    assert tables_of(f"before\n\n{claims}\n\nbetween\n\n{figures}\n") == [claims, figures]
    assert tables_of(f"{claims}\n{stale}\n\n{figures}") != [claims, figures]
