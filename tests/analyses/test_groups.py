"""Paths, trajectories and shots in groups: the same numbers, and no more bases at a time than are needed."""

import pytest
import torch

import pullback
from pullback.analyses import Size
from pullback.analyses.aside import aside
from pullback.analyses.context import Context
from pullback.analyses.figures import paths, shooting, times
from pullback.analyses.record import column
from pullback.geometry import JacobianAt, top_singular
from pullback.geometry.distances import time_maps
from pullback.models import toy_denoiser
from pullback.testing import UnitMap

SIZE = Size(5, 2, 3, 2, 1, 1, 2, (0.8, 0.4), 4, 2)


def ends(num):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(num, 2, 4, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("kind", paths.KINDS)
def test_paths_in_groups_are_the_paths_made_at_once(kind):
    f, asked = UnitMap(4), []

    def bases_at(x):
        asked.append(len(x))
        return [top_singular(JacobianAt(f, each), 2) for each in x]

    pairs, options = ends(5), {"kind": kind, "num_segments": 4, "bases_at": bases_at}
    whole = list(paths.paths(f, pairs, **options, batch=100))
    at_once, asked = max(asked), []
    some = list(paths.paths(f, pairs, **options, batch=2))
    assert at_once == (5 if kind == "shooting" else 25)
    assert max(asked) == 2
    assert sum(asked) == 25
    for one, other in zip(whole, some, strict=True):
        assert torch.equal(one.points, other.points)
        assert torch.equal(one.lengths.curvedness, other.lengths.curvedness)
        assert (one.lengths.miss, len(other.bases)) == (other.lengths.miss, 5)


def test_a_path_is_given_away_before_the_next_ones_are_begun():
    f, asked = UnitMap(4), []

    def bases_at(x):
        asked.append(len(x))
        return [top_singular(JacobianAt(f, each), 2) for each in x]

    for kind in ("lerp", "shooting"):
        asked.clear()
        next(paths.paths(f, ends(5), kind=kind, num_segments=4, bases_at=bases_at, batch=3))
        assert sum(asked) == (6 if kind == "lerp" else 15)  # two batches; five points of three shots


@pytest.fixture(scope="module")
def model():
    return pullback.load(toy_denoiser())


def run_with(model, figure, batch):
    context, seen = Context(model, SIZE), []
    context.batch = batch
    whole = context.bases
    context.bases = lambda f, x, **rest: seen.append(len(x)) or whole(f, x, **rest)
    return figure.run(context), seen


@pytest.mark.parametrize(
    ("figure", "names", "most"),
    [
        (paths, ("curvedness", "h", "x", "miss"), 2),
        (times, ("distance", "matched_null"), 4),
        (shooting, ("response", "along"), 2),
    ],
)
def test_a_figure_in_groups_has_the_numbers_of_one_made_at_once(model, figure, names, most):
    """To the tolerance of the bases, whose search begins elsewhere in a batch of another size."""
    whole, _ = run_with(model, figure, 64)
    some, seen = run_with(model, figure, 2)
    assert max(seen) == most
    for name in names:
        assert column(some.rows, name) == pytest.approx(column(whole.rows, name), rel=5e-3, abs=5e-3)
    assert [{k: v for k, v in row.items() if isinstance(v, str)} for row in some.rows] == [
        {k: v for k, v in row.items() if isinstance(v, str)} for row in whole.rows
    ]


def test_what_is_laid_aside_does_not_keep_its_batch():
    batch = top_singular(JacobianAt(UnitMap(4), torch.eye(4).double()), 2)
    view, own, lean = batch.sample(1), aside(batch.sample(1)), aside(batch.sample(1), only_u=True)
    assert view.u.untyped_storage().nbytes() == batch.u.untyped_storage().nbytes()
    for name in ("u", "s", "v"):
        assert torch.equal(getattr(own, name), getattr(view, name))
        assert getattr(own, name).untyped_storage().nbytes() == getattr(view, name).numel() * 8
    assert torch.equal(lean.u, view.u)
    assert (lean.v.shape, lean.v.untyped_storage().nbytes(), lean.rank) == ((2, 0), 0, 2)


def test_bases_of_a_trajectory_wait_on_their_own(model, monkeypatch):
    """None of them is a view of a batch, nor has a v."""
    seen = []

    def spy(basis_of, at):
        seen.extend(basis_of(a, b) for a in at for b in at)
        return time_maps(basis_of, at)

    monkeypatch.setattr(times, "time_maps", spy)
    times.run(Context(model, SIZE))
    assert len(seen) == 3 * 2 * 2
    assert all(basis.u.untyped_storage().nbytes() == basis.u.numel() * 4 for basis in seen)
    assert all(basis.v.numel() == 0 for basis in seen)
