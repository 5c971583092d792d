"""The committed tables of the runs that docs/analyses.md tells of: pages and document come from them alone."""

import shutil
from pathlib import Path

import pytest

from pullback.analyses import FIGURES, write_page
from pullback.analyses.run import read_record
from tools.analysis_tables import claim_table, figure_table

ROOT = Path(__file__).parents[2]
RESULTS = {
    "analysis": (*FIGURES, "complexity"),
    "analysis_paper": ("local", "transport"),
}


@pytest.mark.parametrize(("folder", "names"), RESULTS.items())
def test_the_page_is_made_again_out_of_the_committed_tables(folder, names, tmp_path):
    shutil.copytree(ROOT / "docs" / "results" / folder, tmp_path / folder)
    page = write_page(tmp_path / folder).read_text()
    for name in names:
        section = page[page.index(f"<section id='{name}'>") :]
        assert "data:image/png;base64," in section[: section.index("</section>")]
    assert page.count("<section id=") == 1 + len(names)  # and that of the claims


@pytest.mark.parametrize("folder", RESULTS)
def test_the_document_says_what_the_record_says(folder):
    figures = read_record(ROOT / "docs" / "results" / folder)["figures"]
    document = (ROOT / "docs" / "analyses.md").read_text()
    assert all(line in document for line in claim_table(figures).splitlines() if "not tested" not in line)
    assert figure_table(figures) in document
