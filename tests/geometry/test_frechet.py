import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pullback.errors import NotConvergedError, NotConvergedWarning, OptionError, ShapeError
from pullback.geometry import frechet_mean, geodesic_distance, grassmann_exp, grassmann_log


def frame(seed, rank, dim):
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(dim, rank, generator=generator, dtype=torch.float64))[0].mT


def tangent(a, seed, length):
    x = torch.randn(a.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = x - x @ a.mT @ a
    return length * x / torch.linalg.matrix_norm(x, ord=2)


@given(seed=st.integers(0, 10**6), rank=st.integers(1, 5), dim=st.integers(6, 20), length=st.floats(0.01, 0.7))
@settings(max_examples=25, deadline=None)
def test_law14_mean_of_a_span_and_two_opposite_steps_is_the_span(seed, rank, dim, length):
    a = frame(seed, rank, dim)
    x = tangent(a, seed + 1, length)
    found = frechet_mean(torch.stack([grassmann_exp(a, x), a, grassmann_exp(a, -x)]))
    assert float(geodesic_distance(found.rows, a)) < 1e-6
    assert found.residual <= 1e-8
    assert found.spread_rad == pytest.approx(float(x.norm()) * (2 / 3) ** 0.5, rel=1e-6)


def test_law14_the_mean_tangent_vanishes_and_no_neighbour_is_better():
    a = frame(0, 3, 12)
    spans = torch.stack([grassmann_exp(a, tangent(a, i, 0.5)) for i in range(1, 7)])
    found = frechet_mean(spans)

    def cost(rows):
        return float(geodesic_distance(rows.expand_as(spans), spans).square().sum())

    assert grassmann_log(found.rows.expand_as(spans), spans).mean(0).norm() < 1e-7
    for i in range(5):
        assert cost(grassmann_exp(found.rows, tangent(found.rows, 50 + i, 0.05))) > cost(found.rows)


@pytest.mark.parametrize("seed", range(3))
def test_spans_that_lie_far_apart_have_a_mean_all_the_same(seed):
    """Angles of .9 rad on average: steps of one mean tangent take 61 to 172 rounds."""
    spans = torch.stack([frame(100 * seed + i, 6, 40) + 0.5 * frame(seed, 6, 40) for i in range(8)])
    spans = torch.stack([torch.linalg.qr(span.mT)[0].mT for span in spans])
    found = frechet_mean(spans, strict=True)
    assert found.spread_rad > 0.85 * 6**0.5
    assert found.num_rounds < 40
    assert grassmann_log(found.rows.expand_as(spans), spans).mean(0).norm() < 1e-7


def test_the_basis_of_a_sample_does_not_matter():
    a = frame(0, 3, 12)
    spans = torch.stack([grassmann_exp(a, tangent(a, i, 0.4)) for i in range(1, 5)])
    turned = torch.stack([frame(i, 3, 3) @ span for i, span in enumerate(spans)])
    assert float(geodesic_distance(frechet_mean(spans).rows, frechet_mean(turned).rows)) < 1e-7


def test_small_cases():
    same = frame(0, 2, 5).expand(3, -1, -1)
    assert float(geodesic_distance(frechet_mean(same).rows, same[0])) < 1e-7
    assert frechet_mean(torch.zeros(2, 0, 5)).rows.shape == (0, 5)


def test_errors():
    spans = torch.stack([frame(0, 2, 5), frame(1, 2, 5)])
    with pytest.raises(OptionError, match="spans of at least 2 samples; got 1; one span is its own mean"):
        frechet_mean(spans[:1])
    with pytest.raises(ShapeError, match=r"spans of shape \(B, k, D\); got \(2, 5\)"):
        frechet_mean(spans[0])
    far = torch.stack([frame(i, 4, 9) for i in range(5)])
    with pytest.warns(NotConvergedWarning, match=r"a mean tangent of at most 1e-08 rad; got"):
        frechet_mean(far, max_rounds=1)
    with pytest.raises(NotConvergedError, match="the spans lie too far apart for one mean"):
        frechet_mean(far, max_rounds=1, strict=True)
