"""The benchmark's own arithmetic, on a toy; nothing is timed here."""

from typing import Any

import pytest
import torch

from benchmarks.cases import Case
from benchmarks.gpu import alone_rows, gpu_parts, replay_row, together_rows
from benchmarks.growth import BATCH_TABLE, RANK_TABLE, SIZE_TABLE, plot
from benchmarks.ideas import algebra_row
from benchmarks.memory import PULL, THEIRS, figures_of, measured
from benchmarks.pipeline import compared as compared_stage
from benchmarks.pipeline import stages_of
from benchmarks.record import Record, Row, compared, medians, shown
from benchmarks.resident import peak_bytes, reset_peak
from benchmarks.solvers import OURS, PUBLISHED, SOLVERS, TOGETHER, accuracy_rows, angle_deg, dense_triplets, true_bases
from benchmarks.starts import GUARD, start_rows
from benchmarks.traced import split
from pullback.geometry import Plan
from pullback.testing import ConvMap


def case(dtype=torch.float32, num=2):
    x = torch.randn(num, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Case("toy", ConvMap(dtype=dtype), x.to(dtype))


def plain(row: Row) -> dict[str, Any]:
    return dict(row.figures)


@pytest.fixture(scope="module")
def rows():
    told = []
    found = accuracy_rows([case()], [case(torch.float64)], rank=4, solvers=SOLVERS, progress=told.append, table="T")
    assert len(told) == 2 * 3 + len(SOLVERS) - 3 + 1  # ours at both latents, rivals at the first, ours together
    return {row.name: row.figures for row in found}


def test_rivals_that_take_long_see_the_first_case_alone():
    told = []
    cases = [case(num=1), case(num=1)]
    solvers = {name: SOLVERS[name] for name in (OURS, PUBLISHED)}
    found = accuracy_rows(cases, cases, rank=4, solvers=solvers, progress=told.append, table="T", num_rival_cases=1)
    assert len(told) == 2 + 1 + 2  # ours at both, the rival at one, ours together at both
    assert {row.name: plain(row)["latents"] for row in found} == {OURS: 2, PUBLISHED: 1, TOGETHER: 2}


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_is_counted_and_judged_against_the_truth(rows, name):
    figures = rows[name]
    assert figures["products"] >= 8
    assert figures["products / 2k"] == pytest.approx(figures["products"] / 8)
    assert 0 <= figures["worst angle, deg"] < 90
    if name in ("ours, verified", "published, until our residual", "scipy PROPACK"):
        assert figures["worst residual"] < 2e-3
    if name in ("ours, verified", "scipy PROPACK"):  # a small residual of k triplets alone leaves the span open
        assert figures["worst angle, deg"] < 1


def test_published_run_costs_up_to_fifty_iterations_and_the_probe_costs_products(rows):
    assert 2 * 4 * 13 <= rows["published, as its driver runs it (50 iterations)"]["products"] <= 2 * 4 * 51
    assert rows["ours, verified"]["products"] > rows["ours, without the probe"]["products"]


def test_a_batch_has_the_products_and_the_answers_of_its_samples(rows):
    together, alone = rows[TOGETHER], rows["ours, verified"]
    assert together["latents"] == alone["latents"] == 2
    assert together["worst angle, deg"] < 1
    assert together["worst residual"] < 2e-3
    assert together["products"] == pytest.approx(alone["products"], rel=0.5)


def test_the_truth_is_that_of_the_whole_matrix():
    exact = case(torch.float64, num=1)
    assert angle_deg(*dense_triplets(exact, 4), true_bases(exact, 4)[0]) < 1e-5


def test_a_record_comes_back_renews_its_tables_and_is_printed(tmp_path):
    record = Record({"processor": "p"}, [Row("A", "x", {"seconds": 2.0}), Row("B", "y", {"seconds": None}, "no GPU")])
    record.save(tmp_path / "r.json")
    back = Record.load(tmp_path / "r.json")
    assert back == record
    back.add([Row("A", "x", {"seconds": 1.0})])
    assert [row.figures["seconds"] for row in back.rows] == [None, 1.0]
    assert back.elsewhere().startswith("processor p, here ")
    assert Record().elsewhere() == ""
    text = back.markdown()
    assert "| y | not measured | no GPU |" in text
    assert "| A | x | seconds | 2 | 1 | 0.50 |" in compared(record, back)


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1,234"), (0.01234, "0.0123"), ("3 of 4", "3 of 4"), (None, "not measured")]
)
def test_figures_are_printed_to_three_digits(value, text):
    assert shown(value) == text


def test_growth_is_drawn(tmp_path):
    names = {"products a sample": 1.0, "seconds a sample": 2.0}
    rows = [
        Row(table, str(at), {"at": at, **names}) for table in (RANK_TABLE, SIZE_TABLE, BATCH_TABLE) for at in (1.0, 2.0)
    ]
    plot(Record({}, rows), tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes()[:4] == b"\x89PNG"


def test_a_traced_derivative_holds_at_latents_it_was_not_traced_at():
    toy = case()
    x, v = (torch.randn(toy.x.shape, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    with torch.no_grad():
        primal, tangent = split(toy.f, toy.x, torch.ones_like(toy.x))
        torch.testing.assert_close(tangent(v, *primal(x)), torch.func.jvp(toy.f, (x,), (v,))[1])


def test_starts_are_counted_and_none_beats_the_truth():
    """The truth is told to nobody else, so that nobody stops before; what one begins with may still save products."""
    rows = {(row.table, row.name): plain(row) for row in start_rows([case(num=6)], [case(num=1)], 4, 1)}
    least, ours = (
        next(f["products"] for (_, name), f in rows.items() if name.startswith(n)) for n in ("until 0.1", "until our")
    )
    assert 2 * 4 <= least <= ours
    blocks = {name: f["products"] for (table, name), f in rows.items() if table.startswith("First block")}
    assert len(blocks) == 6
    assert all(products >= 2 * (4 + GUARD) or name.startswith("no block") for name, products in blocks.items())
    assert blocks["its own v, 20 timesteps before"] <= blocks["random"]  # on the toy both maps are the same
    (phase, loose) = (f for (table, _), f in rows.items() if table.startswith("Two phases"))
    assert phase["first phase"] <= loose["first phase"] <= loose["at once to 1e-3"]


def test_gpu_rows_are_told_as_missing_without_one_and_made_anywhere():
    if not torch.cuda.is_available():
        rows = [row for part in gpu_parts().values() for row in part()]
        assert [row.figures for row in rows] == [{"seconds": None}] * 4
    alone = alone_rows(case(), (2,), most_products=44)
    ours, tf32, theirs = map(plain, alone)
    assert ours["time / ours"] == 1
    assert theirs["products"] == 4 * 51  # measured and multiplied, as its note says
    assert "10 iterations" in alone[-1].note
    assert max(ours["residual"], tf32["residual"]) <= 1e-3
    assert all(figures["products / 2k"] == figures["products"] / 4 for figures in (ours, tf32, theirs))
    replayed = plain(replay_row(case(), 1))
    assert all(replayed[name] > 0 for name in ("Jv, ms", "J^T u, ms", "Jv replayed, ms", "J^T u replayed, ms"))
    (row,) = together_rows(case(), (2,), (2,))
    assert plain(row)["products a sample"] >= 4


def test_memory_of_a_basis_is_told_with_its_krylov_bases():
    ours, theirs, pull = (measured(case(), 4, name, Plan.fixed()) for name in (OURS, THEIRS, PULL))
    assert (pull.products, pull.krylov_mib) == (1, 0.0)
    assert ours.krylov_mib > 0 == theirs.krylov_mib
    assert ours.products > theirs.products == 2 * 4 * 3
    assert ours.residual <= 1e-3
    assert figures_of(ours, theirs)["of it Krylov bases"] == ours.krylov_mib


def test_a_peak_is_seen_and_forgotten():
    before = reset_peak()
    block = bytearray(64 << 20)
    block[:: 1 << 12] = b"x" * len(block[:: 1 << 12])
    assert peak_bytes() - before >= 60 << 20
    del block
    assert reset_peak() - before < 60 << 20


def test_runs_become_medians_with_the_range_of_what_differs():
    def run(seconds, kept, missing=None):
        return [Row("A", "x", {"products": 8.0, "seconds": seconds, "kept": kept, "missing": missing}, "n")]

    (row,) = medians([run(3.0, "1 of 2"), run(1.0, "2 of 2"), run(2.0, "1 of 2")])
    assert row.figures == {"products": 8.0, "seconds": 2.0, "kept": "1 of 2, 2 of 2, 1 of 2", "missing": None}
    assert (row.spread, row.num_runs, row.note) == ({"seconds": (1.0, 3.0)}, 3, "n")
    printed = Record({}, [row]).markdown()
    assert "Medians of 3 runs" in printed
    assert "| x | 8 | 2 (1-3) | 1 of 2, 2 of 2, 1 of 2 | not measured | n |" in printed


def test_products_are_most_of_a_basis_and_the_rest_is_counted():
    figures = plain(algebra_row(case(), 2, 2))
    assert 0 < figures["of it products"] < figures["seconds"]
    assert figures["share of the rest"] == pytest.approx(1 - figures["of it products"] / figures["seconds"])


def test_the_first_version_is_run_from_its_own_worktree(tmp_path):
    (tmp_path / "src" / "pullback").mkdir(parents=True)
    (tmp_path / "src" / "pullback" / "__init__.py").touch()
    (tmp_path / "src" / "pullback" / "__main__.py").write_text(
        "import json, pathlib, sys\n"
        "assert sys.argv[1:-1] == ['discover', '--out']\n"
        "out = pathlib.Path(sys.argv[-1])\n"
        "out.mkdir()\n"
        "(out / 'report.json').write_text(json.dumps({'stages': [{'name': 'samples', 'seconds': 3.5}]}))\n"
    )
    theirs = stages_of(tmp_path)
    assert theirs == {"samples": 3.5}
    assert compared_stage(7.0, theirs["samples"])["share of that"] == 2.0
    assert compared_stage(7.0, None) == {"first version, s": None, "share of that": None}
