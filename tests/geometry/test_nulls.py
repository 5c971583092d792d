import pytest
import torch

from pullback.errors import OptionError, RankError, ShapeError
from pullback.geometry import geodesic_distance, haar_distances, matched_distances
from pullback.geometry.nulls import random_spectra


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def frames(num, rank, dim, seed=0):
    return torch.linalg.qr(torch.randn(num, dim, rank, generator=seeded(seed), dtype=torch.float64))[0].mT


@pytest.mark.parametrize(("rank", "dim"), [(1, 2), (3, 40), (4, 6), (5, 5)])
def test_haar_draws_are_those_of_explicit_random_spans(rank, dim):
    drawn = haar_distances(rank, dim, num_draws=4000, generator=seeded(1))
    explicit = geodesic_distance(frames(4000, rank, dim, 2), frames(4000, rank, dim, 3))
    for quantile in (0.05, 0.5, 0.95):
        assert float(drawn.quantile(quantile)) == pytest.approx(float(explicit.quantile(quantile)), abs=0.05)


def test_haar_in_a_huge_space_is_nearly_orthogonal():
    drawn = haar_distances(10, 10**8, num_draws=20)
    assert drawn == pytest.approx(torch.full((20,), 10**0.5 * torch.pi / 2).double(), rel=1e-3)


def test_matched_draws_come_from_the_joint_span():
    plane = frames(1, 6, 300)[0]
    spans = frames(8, 3, 6, seed=4) @ plane
    matched = matched_distances(spans, weighting="uniform", num_draws=4000)
    explicit = geodesic_distance(frames(4000, 3, 6, 5) @ plane, frames(4000, 3, 6, 6) @ plane)
    assert float(matched.median()) == pytest.approx(float(explicit.median()), abs=0.05)
    assert float(matched.median()) < 0.8 * float(haar_distances(3, 300).median())


def test_frequency_draws_what_many_samples_have_more_often():
    shared, own = frames(1, 1, 300)[0], frames(8, 2, 300, seed=9)
    spans = torch.linalg.qr(torch.cat([shared.expand(8, 1, 300), own], dim=1).mT)[0].mT
    by_frequency = matched_distances(spans, num_draws=1000)
    uniform = matched_distances(spans, weighting="uniform", num_draws=1000)
    assert by_frequency.median() < uniform.median()
    rows = torch.randn(1000, 2, 3, 24, generator=seeded(0), dtype=torch.float64) @ spans.flatten(0, 1)
    assert float(by_frequency.median()) == pytest.approx(
        float(geodesic_distance(rows[:, 0], rows[:, 1]).median()), abs=0.05
    )


def test_seeded():
    assert torch.equal(haar_distances(3, 30, generator=seeded(3)), haar_distances(3, 30, generator=seeded(3)))
    assert not torch.equal(haar_distances(3, 30, generator=seeded(3)), haar_distances(3, 30, generator=seeded(4)))


def test_errors():
    with pytest.raises(RankError, match="a rank between 1 and D = 3; got 4"):
        haar_distances(4, 3)
    with pytest.raises(OptionError, match="at least 2 samples and a weighting among frequency, uniform; got 1 and"):
        matched_distances(frames(1, 2, 5))
    with pytest.raises(OptionError, match="got 2 and 'even'"):
        matched_distances(frames(2, 2, 5), weighting="even")
    with pytest.raises(ShapeError, match=r"spans of shape \(B, k, D\); got \(2, 5\)"):
        matched_distances(frames(1, 2, 5)[0])


@pytest.mark.parametrize("shape", [(7, 12), (12, 7), (6, 6)])
def test_random_spectra_are_those_of_explicit_gaussian_matrices(shape):
    drawn = random_spectra(shape, 4, num_draws=2000, generator=torch.Generator().manual_seed(0))
    matrices = torch.randn(2000, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wanted = torch.linalg.svdvals(matrices)[:, :4]
    assert drawn.shape == (2000, 4)
    assert torch.allclose(drawn.mean(0), wanted.mean(0), atol=0.06)
    assert torch.allclose(drawn.std(0), wanted.std(0), atol=0.05)


def test_random_spectra_at_the_edges():
    assert random_spectra((1, 5), 1, num_draws=3).shape == (3, 1)
    whole = random_spectra((3, 4), 3, num_draws=2)
    assert (whole[:, :-1] >= whole[:, 1:]).all()
    with pytest.raises(RankError, match="a rank between 1 and 3; got 4; ask"):
        random_spectra((3, 9), 4)
