"""The committed tables of the run that docs/analyses.md tells of: the page and the document come from them alone."""

import shutil
from pathlib import Path

import pytest

from pullback.analyses import FIGURES, write_page
from pullback.analyses.run import read_record
from tools.analysis_tables import claim_table, figure_table

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results" / "analysis"
NAMES = (*FIGURES, "complexity")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "analysis"
    shutil.copytree(RESULTS, folder)
    return write_page(folder).read_text()


@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_made_again_out_of_the_committed_tables(page, name):
    assert (RESULTS / f"{name}.csv").is_file()
    section = page[page.index(f"<section id='{name}'>") :]
    assert "data:image/png;base64," in section[: section.index("</section>")]


def test_the_document_says_what_the_record_says():
    figures = read_record(RESULTS)["figures"]
    document = (ROOT / "docs" / "analyses.md").read_text()
    assert claim_table(figures) in document
    assert figure_table(figures) in document
