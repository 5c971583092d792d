"""Claims about a change are read against the same change of the matched null, and the change as it is stays visible."""

import re

import numpy as np
import pytest

import pullback
from pullback.analyses import Size, write_page
from pullback.analyses.beyond import beyond, raw_text
from pullback.analyses.catalogue import claims
from pullback.analyses.context import Context
from pullback.analyses.figures import complexity, psd, samples
from pullback.analyses.record import read_csv, write_csv
from pullback.models import toy_denoiser

TINY = Size(3, 2, 2, 2, 1, 1, 2, (0.8, 0.4), 4, 2)
NUM = 8
NOISE = 0.01 * np.linspace(-1, 1, NUM)  # of mean 0


def psd_rows(fall, null_fall):
    """Whole h: the share falls from .9, its null from .7, sample by sample; a pooled h that does the opposite."""
    values = {0.8: (0.9, 0.7), 0.4: (0.9 - fall, 0.7 - null_fall)}
    rows = [
        {"t_fraction": t, "pool": "none", "sample": i, "low_share": own + NOISE[i] * t, "low_share_null": null}
        | {"frequency": frequency, "power": 1.0}
        for t, (own, null) in values.items()
        for i in range(NUM)
        for frequency in (0.0, 0.25)
    ]
    turned = [
        {**row, "pool": "sum", "low_share": row["low_share_null"], "low_share_null": row["low_share"]} for row in rows
    ]
    return [*rows, *turned, {**rows[-1], "pool": "random x", "sample": 0, "low_share": 0.0, "low_share_null": 0.0}]


def sample_rows(rise, null_rise):
    values = {0.8: (2.0, 3.0), 0.4: (2.0 + rise, 3.0 + null_rise)}
    return [
        {"t_fraction": t, "sample": i, "distance": own + NOISE[i] * t, "matched_null": null, "haar_null": 5.0}
        for t, (own, null) in values.items()
        for i in range(NUM)
    ]


def level_rows(more, null_more):
    values = {"few": (2.0, 3.0), "many": (2.0 + more, 3.0 + null_more)}
    return [
        {"t_fraction": 0.8, "level": level, "training_seed": seed, "sample": i}
        | {"distance": own + NOISE[i] * own, "matched_null": null}
        for level, (own, null) in values.items()
        for seed in range(2)
        for i in range(NUM)
    ]


FIGURES = [
    (psd, psd_rows, "late directions are finer", "Low-frequency share at the largest t/T less that at the smallest"),
    (samples, sample_rows, "not shared late", "Distance at the smallest t/T less that at the largest, rad"),
    (complexity, level_rows, "simple data, consistent spaces", "Distance, many factors less few, rad"),
]


@pytest.mark.parametrize(("figure", "rows", "claim", "words"), FIGURES)
def test_a_change_that_the_null_has_too_shows_nothing_and_what_is_beyond_it_does(figure, rows, claim, words):
    def found(raw, null):
        return next(each for each in figure.findings_of(rows(raw, null)) if each.claim == claim)

    assert found(0.3, 0.0).verdict == "shown"
    assert found(0.3, 0.0).effect == pytest.approx(0.3, abs=0.02)
    assert found(0.3, 0.3).verdict == "not shown at this size"
    assert found(0.3, 0.1).effect == pytest.approx(0.2, abs=0.02)
    assert found(0.3, 0.5).verdict == "the opposite is shown"
    assert found(0.3, 0.3).num == NUM
    note = figure.note_of(rows(0.3, 0.25))
    assert words in note
    assert "of which the matched null has +0.25." in note
    mean, low, high = (float(each) for each in re.findall(r"([+-][\d.]+)", note)[:3])
    assert low <= mean <= high
    assert mean == pytest.approx(0.3, abs=0.02)


def test_a_null_of_each_unit_is_taken_off_unit_by_unit():
    """Raw and null differ wildly over units, and by one number in each: the interval is a point."""
    null = np.random.default_rng(1).normal(size=NUM)
    found = beyond("psd", null + 0.5, null)
    assert (found.effect, found.low, found.high) == (pytest.approx(0.5), pytest.approx(0.5), pytest.approx(0.5))
    assert raw_text("x", np.full(2, 0.5), np.array([0.1, 0.3])).endswith("has +0.20.")


def test_how_early_samples_share_is_read_against_the_null_as_before():
    early = next(each for each in samples.findings_of(sample_rows(0.3, 0.3)) if each.claim == "shared early")
    assert early.effect == pytest.approx(1.0, abs=0.02)


@pytest.fixture(scope="module")
def outcomes():
    model = pullback.load(toy_denoiser())
    context = Context(model, TINY)
    other = pullback.load(toy_denoiser(seed=1))
    return {
        "psd": (psd, psd.run(context)),
        "samples": (samples, samples.run(context)),
        "complexity": (complexity, complexity.consistency(context, {"few": [model], "many": [other]})),
    }


def test_findings_and_notes_come_from_the_table_alone(outcomes, tmp_path):
    for name, (module, outcome) in outcomes.items():
        write_csv(tmp_path / f"{name}.csv", outcome.rows)
        rows = read_csv(tmp_path / f"{name}.csv")
        for again, found in zip(module.findings_of(rows), outcome.findings, strict=True):
            assert again.claim == found.claim
            assert (again.effect, again.low) == (
                pytest.approx(found.effect, abs=1e-4),
                pytest.approx(found.low, abs=1e-4),
            )
        assert outcome.note.endswith(module.note_of(outcome.rows))


def test_a_claim_that_is_read_otherwise_than_in_the_first_run_says_so_on_the_page(outcomes, tmp_path):
    sharpened = {name for name, claim in claims().items() if claim.sharpened}
    assert sharpened == {claim for _, _, claim, _ in FIGURES}
    for name in sharpened:
        assert "minus the same of" in claims()[name].effect
        assert "matched null" in claims()[name].null
        assert re.search(r"since \d{4}-\d\d-\d\d \(version \d", claims()[name].sharpened)
    write_csv(tmp_path / "samples.csv", outcomes["samples"][1].rows)
    (tmp_path / "analysis.json").write_text(
        '{"figures": {"samples": {"num": 3, "findings": [{"claim": "not shared late", "effect": 1.0, "low": 0.5, '
        '"high": 2.0, "null": 0.0, "num": 8}]}}}'
    )
    page = write_page(tmp_path).read_text()
    assert page.count("Read against the matched null since") == len(sharpened)
    assert "fixed in claims.json before the first published run" in page
    assert "sharpened after that run had been seen" in page
