"""The list of faults fits the sources as they are: each text stands once, each named test exists."""

import pytest

from tools.faults import MUTANTS
from tools.mutants import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_fault_can_be_planted_and_its_test_exists(mutant):
    assert (ROOT / "src" / "pullback" / mutant.file).read_text().count(mutant.before) == 1
    assert mutant.after != mutant.before
    file, _, name = mutant.test.partition("::")
    assert f"def {name.split('[')[0]}(" in (ROOT / file).read_text()
