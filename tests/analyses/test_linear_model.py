"""Figures on a model whose feature is linear in x: what curvature would do must not be there."""

import dataclasses

import pytest
import torch
from torch import nn

import pullback
from pullback.analyses import Size
from pullback.analyses.catalogue import load_figure
from pullback.analyses.context import Context
from pullback.analyses.record import column
from pullback.models import VPSchedule, wrap_module

TINY = Size(3, 2, 2, 2, 1, 1, 2, (0.8, 0.4), 4, 2)
SHAPE = (3, 4, 4)


class LinearNetwork(nn.Module):
    """``h = W x`` with distinct singular values; eps is a share of x."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        turn = torch.linalg.qr(torch.randn(48, 48, generator=generator, dtype=torch.float64))[0]
        self.mid_block = nn.Linear(48, 48, bias=False, dtype=torch.float64)
        self.mid_block.weight = nn.Parameter(turn * torch.linspace(1.0, 0.1, 48, dtype=torch.float64))

    def forward(self, x, t):
        return 0.9 * x + 0.01 * self.mid_block(x.flatten(1)).reshape(x.shape)


@pytest.fixture(scope="module")
def context():
    schedule = VPSchedule.from_betas(torch.linspace(1e-4, 0.02, 1000))
    network = wrap_module(
        LinearNetwork(),
        schedule=schedule,
        prediction="epsilon",
        x_shape=SHAPE,
        call=lambda network, x, t, cond: network(x, t),
    )
    return Context(pullback.load(network), TINY)


def run(context, name):
    return load_figure(name).run(dataclasses.replace(context))


def test_no_path_is_warped_and_no_claim_about_lengths_is_shown(context):
    outcome = run(context, "paths")
    assert max(row["curvedness"] for row in outcome.rows) < 1e-4
    assert all(abs(each.effect) < 1e-4 for each in outcome.findings)
    assert column(outcome.rows, "miss", path="shooting").min() > 0.1


def test_time_changes_nothing_and_the_note_says_so_beside_chance(context):
    outcome = run(context, "times")
    assert "across 0.00 [0.00, 0.00], fix_x 0.00 [0.00, 0.00], fix_t 0.00 [0.00, 0.00]" in outcome.note
    assert outcome.note.endswith("matched null 0.00.")


def test_the_null_of_many_paths_is_drawn_from_some_of_their_inner_points(context, monkeypatch):
    """Two pairs of four paths of six segments, rank 2: 40 rows a pair, and the ends, which paths share, are no part."""
    module, seen = load_figure("paths"), []
    whole = module.matched_distances
    longer = dataclasses.replace(context, size=dataclasses.replace(TINY, num_segments=6))
    monkeypatch.setattr(module, "matched_distances", lambda u, **rest: seen.append(len(u)) or whole(u, **rest))
    for most in (40, 20, 1):
        monkeypatch.setattr(module, "MOST_ROWS", most)
        run(longer, "paths")
    assert seen == [20, 20, 8, 8, 4, 4]


def test_the_claim_about_local_directions_is_answered_by_local_ones(context):
    outcome = run(context, "local")
    own, drawn = (column(outcome.rows, "purity", kind=kind) for kind in ("own", "random in span"))
    assert [each.claim for each in outcome.findings] == ["local directions are semantic"]
    assert outcome.findings[0].effect == pytest.approx((own - drawn).mean())
    assert outcome.findings[0].num == outcome.num == 2


def test_transport_keeps_every_direction_and_h_does_the_same(context):
    rows = run(context, "transport").rows
    assert column(rows, "retained") == pytest.approx([1.0] * len(rows), abs=1e-4)
    assert column(rows, "cos_h") == pytest.approx([1.0] * len(rows), abs=1e-4)


def test_every_sample_has_the_same_directions(context):
    outcome = run(context, "global")
    assert column(outcome.rows, "agreement") == pytest.approx([1.0] * len(outcome.rows), abs=1e-4)
    assert outcome.findings[0].low > outcome.findings[0].null
    assert outcome.findings[0].num == 2  # directions, and held-out samples: the fewer count
    assert outcome.findings[0].effect == pytest.approx(
        (column(outcome.rows, "agreement", kind="nearest") - column(outcome.rows, "null", kind="nearest")).mean(),
        abs=1e-6,
    )
    alike = run(context, "samples")
    assert max(row["distance"] for row in alike.rows) < 1e-4


def test_however_far_h_answers_as_the_jacobian_promised(context):
    rows = run(context, "shooting").rows
    for name in ("response", "along"):
        assert column(rows, name) == pytest.approx([1.0] * len(rows), abs=1e-4)


def test_a_direction_carried_through_time_is_the_own_one(context):
    rows = run(context, "timesteps").rows
    own, carried = (column(rows, "low_share", kind=kind) for kind in ("own", "carried"))
    assert own == pytest.approx(carried, abs=1e-3)
