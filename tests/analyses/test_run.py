"""A run on a toy: every figure has its table, its plot and its findings; what stands is not computed again."""

import dataclasses
import html
import json
import re

import pytest

import pullback
from pullback.analyses import FIGURES, SIZES, Size, analyze, write_page
from pullback.analyses.catalogue import AMONG, ORDER, chosen, claims, load_figure, total_bases
from pullback.analyses.context import Context
from pullback.analyses.figures.times import note_of, num_trajectories
from pullback.analyses.halves import NUM_PROBES
from pullback.analyses.plan import planned, rank_rule_products
from pullback.analyses.record import MIN_UNITS, Finding, read_csv
from pullback.api.banked import Banked
from pullback.errors import FileFormatError, MemoryWarning, NoMemoryError, OptionError
from pullback.geometry import Plan
from pullback.geometry.plan import counted_products
from pullback.models import toy_denoiser

TINY = Size(3, 2, 2, 2, 1, 1, 2, (0.8, 0.4), 4, 2)


@pytest.fixture(scope="module")
def model():
    return pullback.load(toy_denoiser())


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("analyses")
    analyze(model, out, size=TINY)
    return out


def record_of(folder):
    return json.loads((folder / "analysis.json").read_text())


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_table_a_plot_and_its_number_of_units(folder, name):
    entry = record_of(folder)["figures"][name]
    rows = read_csv(folder / f"{name}.csv")
    assert rows
    assert entry["num"] >= 2
    assert f"id='{name}'" in (folder / "analysis.html").read_text()
    module = load_figure(name)
    assert module.draw(rows).axes
    assert module.num_bases(TINY) >= 0


@pytest.mark.parametrize("name", FIGURES)
def test_every_claim_of_a_figure_is_answered_and_none_is_made_up(folder, name):
    wanted = {claim.name for claim in claims().values() if claim.figure == name}
    assert {entry["claim"] for entry in record_of(folder)["figures"][name]["findings"]} == wanted


def test_no_verdict_is_given_at_this_size_whether_or_not_the_interval_includes_its_null(folder):
    found = [Finding(**each) for entry in record_of(folder)["figures"].values() for each in entry["findings"]]
    assert len(found) >= 10
    for each in found:
        assert each.verdict == "not shown at this size"
        enough = dataclasses.replace(each, num=MIN_UNITS)
        assert (enough.verdict == "not shown at this size") == (each.low <= each.null <= each.high)


def test_the_page_loads_nothing_and_says_every_verdict(folder):
    page = (folder / "analysis.html").read_text()
    assert not re.findall(r'(?:src|href)=["\'](?!data:|#)', page)
    assert "default-src 'none'" in page
    num = sum(len(entry["findings"]) for entry in record_of(folder)["figures"].values())
    verdicts = re.findall(r"class='verdict \w+'>([^<]*)<", page)
    untested = [verdict for verdict in verdicts if verdict.startswith("not tested: ")]
    assert len(verdicts) - len(untested) == num > 0
    assert len(verdicts) == len(claims())


def test_the_page_says_what_the_counterpart_of_each_figure_shows(folder):
    told = {name: load_figure(name).PAPER for name in ORDER}
    assert all("paper" in text or "arXiv" in text or "230" in text for text in told.values())
    assert len(set(told.values())) == len(ORDER)
    page = (folder / "analysis.html").read_text()
    assert all(f"In the papers: {html.escape(told[name])}" in page for name in FIGURES)


def test_the_page_says_which_claims_were_not_tested_and_what_they_need(folder):
    page = (folder / "analysis.html").read_text()
    assert "not tested: the figure complexity was not made; it needs models few-* and many-*" in page
    assert page.count("not tested: the figure prompts was not made; it needs a text-to-image model") == 2


def test_the_page_comes_from_the_csv_files_alone(folder, tmp_path):
    for name in FIGURES:
        (tmp_path / f"{name}.csv").write_bytes((folder / f"{name}.csv").read_bytes())
    page = write_page(tmp_path).read_text()
    assert all(f"id='{name}'" in page for name in FIGURES)


def test_what_stands_is_not_computed_again_and_another_seed_is(model, folder, monkeypatch, tmp_path):
    module, made = load_figure("samples"), []
    whole = module.run
    monkeypatch.setattr(module, "run", lambda context: made.append(context.seed) or whole(context))
    analyze(model, folder, size=TINY, only=["samples"])
    assert made == []
    analyze(model, tmp_path, size=TINY, only=["samples"], seed=3)
    assert made == [3]
    assert read_csv(tmp_path / "samples.csv") != read_csv(folder / "samples.csv")


def test_a_killed_run_goes_on_with_the_figure_it_was_at(model, tmp_path, monkeypatch):
    def killed(context):
        raise KeyboardInterrupt

    module = load_figure("spectra")
    whole = module.run
    monkeypatch.setattr(module, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        analyze(model, tmp_path, size=TINY, only=["psd", "spectra"])
    before = (tmp_path / "psd.csv").stat().st_mtime_ns
    assert list(record_of(tmp_path)["figures"]) == ["psd"]
    monkeypatch.setattr(module, "run", whole)
    analyze(model, tmp_path, size=TINY, only=["psd", "spectra"])
    assert (tmp_path / "psd.csv").stat().st_mtime_ns == before
    assert list(record_of(tmp_path)["figures"]) == ["psd", "spectra"]


def test_figures_of_another_model_are_not_on_the_page(model, tmp_path):
    analyze(model, tmp_path, size=TINY, only=["samples", "spectra"])
    other = pullback.load(toy_denoiser(seed=1))
    page = analyze(other, tmp_path, size=TINY, only=["samples"]).read_text()
    assert "id='samples'" in page
    assert "id='spectra'" not in page
    assert (tmp_path / "spectra.csv").exists()
    again = analyze(other, tmp_path, size=TINY, only=["spectra"]).read_text()
    assert "id='samples'" in again
    assert "id='spectra'" in again


def test_figures_share_their_bases_and_the_plan_knows_what_comes_on_top(model, folder):
    """The spectra ask for the bases of psd, and finds them all in the bank."""
    figures = record_of(folder)["figures"]
    assert figures["psd"]["num_products"] > 0
    num_ranked = rank_rule_products(model, TINY)
    assert num_ranked == 2 * 3 * (16 + NUM_PROBES)
    assert [figures[name]["num_products"] for name in AMONG] == [num_ranked, 0]
    text = planned(model, FIGURES, TINY, folder).text
    assert f"{num_ranked} of them of the rank rule" in text
    assert "rank rule" not in planned(model, ["psd"], TINY, folder).text
    assert figures["estimators"]["num_products"] > 0, "of maps of their own"
    assert figures["masks"]["num_products"] > 0


def test_the_plan_is_that_of_the_bank_if_one_was_begun_and_stands_in_the_record(model, tmp_path):
    how = planned(model, ["samples"], TINY, tmp_path)
    assert "as its bank was begun" not in how.text
    analyze(model, tmp_path, size=TINY, only=["samples"], how=how)
    assert record_of(tmp_path)["plan"] == how.bases.record()
    assert how.bases.record()["products"] == how.bases.num_products > 0
    again = planned(model, ["samples"], TINY, tmp_path / "other", bank=tmp_path / "bank")
    assert "as its bank was begun" in again.text
    names = ("jvp_engine", "vjp_engine", "chunk")
    plans = (each.bases.how.plan for each in (again, how))
    first, second = ([getattr(plan, name) for name in names] for plan in plans)
    assert first == second


def test_the_diagonals_of_the_maps_over_time_are_bases_that_samples_has(model, tmp_path):
    context = Context(model, TINY, bank=tmp_path)
    load_figure("samples").run(context)
    with counted_products() as shared:
        load_figure("times").run(context)
    with counted_products() as alone:
        load_figure("times").run(Context(model, TINY, bank=tmp_path / "alone"))
    assert 0 < shared.products.total < 0.75 * alone.products.total  # half of a 2 x 2 grid


def test_errors_say_what_to_do(model, tmp_path):
    with pytest.raises(OptionError, match=r"a figure among .*; got 'magic'"):
        chosen(["magic"])
    with pytest.raises(
        OptionError, match=r"num_samples >= 3, num_held_out >= 2; got Size\(.*; quick, default and paper"
    ):
        Size(2, 1, 2, 2, 1, 1, 2, (0.8, 0.4), 4, 2)
    for shares in ((0.4, 0.8), (0.8, 0.8), (0.8,), (1.2, 0.4), (0.4, 0.0)):
        with pytest.raises(OptionError, match="two or more falling shares of T"):
            Size(3, 2, 2, 2, 1, 1, 2, shares, 4, 2)
    with pytest.raises(FileFormatError, match="a CSV file of a figure"):
        write_page(tmp_path)
    (tmp_path / "analysis.json").write_text('{"figures": {"psd": 3}}')
    with pytest.raises(FileFormatError, match="needs a record of figures"):
        analyze(model, tmp_path, size=TINY, only=["psd"])


def test_the_default_size_stays_within_its_budget_of_bases():
    assert total_bases(chosen([], ready=["complexity"]), SIZES["default"]) <= 1200


def test_maps_over_time_have_their_null_and_an_interval_only_of_enough_trajectories(folder):
    rows = read_csv(folder / "times.csv")
    assert all(row["matched_null"] > 0 for row in rows)
    assert "(n = 2: the range, no interval)" in record_of(folder)["figures"]["times"]["note"]
    more = [{**row, "trajectory": i} for i in range(MIN_UNITS) for row in rows if row["trajectory"] == 0]
    assert "(95 % intervals)" in note_of(more)
    assert num_trajectories(SIZES["default"]) >= MIN_UNITS
    null = load_figure("times").draw(rows).axes[3].lines[-1]
    assert null.get_linestyle() == "--"
    assert null.get_ydata()[0] == pytest.approx(sum(row["matched_null"] for row in rows) / len(rows))


def test_a_plan_that_does_not_fit_into_memory_is_measured_on_fewer_latents(monkeypatch):
    tried = []

    def cramped(f, x, **options):
        tried.append(len(x))
        if len(x) > 1:
            raise NoMemoryError(wanted="memory", got="none", hint="wait")
        return Plan.fixed()

    monkeypatch.setattr("pullback.geometry.batching.measure_plan", cramped)
    context = Context(pullback.load(toy_denoiser()), TINY)
    with pytest.warns(MemoryWarning) as warned:
        context.plan(context.feature_map(0.8), context.latents(0.8, 5))
    assert [str(each.message).removeprefix("out of memory ") for each in warned] == [
        "with 5 samples together; going on with 2",
        "with 2 samples together; going on with 1",
    ]
    assert tried == [5, 2, 1]
    assert context.batch == 1


def test_a_batch_that_did_not_fit_is_not_tried_again(monkeypatch):
    def banked(f, x, units, *, batch, **options):
        asked.append(batch)
        return Banked([], 0, 0, min(batch, 3))

    asked = []
    monkeypatch.setattr("pullback.analyses.context.banked_bases", banked)
    context = Context(pullback.load(toy_denoiser()), TINY, batch=8, how=Plan.fixed())
    for _ in range(2):
        context.bases(context.feature_map(0.8), context.latents(0.8, 5))
    assert asked == [8, 3]
