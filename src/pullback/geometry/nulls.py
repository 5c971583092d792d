"""What distance two spans would have by chance."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from scipy.linalg import eigvalsh_tridiagonal
from torch import Tensor

from pullback.errors import OptionError, RankError, ShapeError
from pullback.geometry.grassmann import geodesic_distance
from pullback.geometry.linalg import generator_or_fixed, randn, row_svd

Weighting = Literal["frequency", "uniform"]


def haar_distances(rank: int, dim: int, *, num_draws: int = 400, generator: torch.Generator | None = None) -> Tensor:
    """Geodesic distances of pairs of spans drawn uniformly from all of H.

    A k x k block of a random frame decides the angles. It is drawn as such, from a Gaussian block above the triangle
    of a Wishart matrix (Bartlett 1933): no vector of H is ever made, so that D may be anything.

    Args:
        rank: k of both spans.
        dim: D.
        num_draws: How many pairs.
        generator: For the draws.

    Returns:
        Radians in float64, shape `(num_draws,)`. Nearly every pair of real tangent spaces is closer: claims are made
        against `matched_distances`.

    Raises:
        RankError: If not 1 <= k <= D.

    Example:
        >>> haar_distances(2, 2, num_draws=2).round(decimals=6)
        tensor([0., 0.], dtype=torch.float64)
    """
    if not 1 <= rank <= dim:
        raise RankError(wanted=f"a rank between 1 and D = {dim}", got=str(rank), hint="ask for the rank of the bases")
    generator = generator_or_fixed(generator)
    above = torch.randn(num_draws, rank, rank, generator=generator, dtype=torch.float64)
    frame = torch.cat([above, _below(dim - rank, rank, num_draws, generator)], dim=1)  # (n, k + m, k)
    fixed = torch.eye(rank, frame.shape[1], dtype=torch.float64).expand(num_draws, -1, -1)
    return geodesic_distance(fixed, frame.mT)


def matched_distances(
    spans: Tensor,
    *,
    weighting: Weighting = "frequency",
    num_draws: int = 400,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Distances of pairs of spans drawn at random from the span of all samples' U: the matched null.

    Samples whose features merely share a few busy dimensions are close by this null too; to be closer than it, their
    spans must be more alike than random ones out of the same directions.

    Args:
        spans: Orthonormal rows of every sample, shape `(B, k, D)`.
        weighting: ``"frequency"``: rows are Gaussian mixtures of all the samples' u, so that what many samples have is
            drawn more often. ``"uniform"``: every dimension of the joint span counts alike; easier to beat.
        num_draws: How many pairs.
        generator: For the draws.

    Returns:
        Radians in float64, shape `(num_draws,)`.

    Raises:
        ShapeError, OptionError: If the spans are not (B, k, D), B is below 2, or the weighting is unknown.

    Example:
        >>> matched_distances(torch.eye(4)[:2].expand(3, -1, -1), num_draws=2).round(decimals=6)
        tensor([0., 0.], dtype=torch.float64)
    """
    if spans.ndim != 3 or spans.shape[1] < 1:
        raise ShapeError(wanted="spans of shape (B, k, D)", got=str(tuple(spans.shape)), hint="stack the u of bases")
    if len(spans) < 2 or weighting not in get_args(Weighting):
        raise OptionError(
            wanted=f"spans of at least 2 samples and a weighting among {', '.join(get_args(Weighting))}",
            got=f"{len(spans)} and {weighting!r}",
            hint="one sample's span holds nothing else to draw",
        )
    _, s, _ = row_svd(spans.double().flatten(0, 1)[None])
    s = s[0][s[0] > 1e-6 * s[0, 0]]  # (r,): mixtures of the rows have these deviations along the axes of the joint span
    generator = generator_or_fixed(generator)
    if weighting == "uniform":
        return haar_distances(spans.shape[1], len(s), num_draws=num_draws, generator=generator)
    pair = [randn((num_draws, spans.shape[1], len(s)), generator, like=s) * s for _ in range(2)]
    return geodesic_distance(*pair)


def random_spectra(
    shape: tuple[int, int], rank: int, *, num_draws: int = 8, generator: torch.Generator | None = None
) -> Tensor:
    """Largest singular values of matrices of independent N(0, 1) entries: how even a spectrum of that shape is by size.

    No matrix is ever made: such a one has the singular values of a bidiagonal matrix whose entries are chi variables,
    ``sqrt(chi2_n), sqrt(chi2_{n-1}) ...`` on the diagonal and ``sqrt(chi2_{m-1}) ...`` below it (Silverstein 1985).

    Args:
        shape: Rows and columns of the matrix.
        rank: How many of the largest, 1 to min(shape).
        num_draws: How many matrices.
        generator: For the draws.

    Returns:
        Falling, in float64, shape `(num_draws, rank)`.

    Raises:
        RankError: If the rank does not fit the shape.

    Example:
        >>> random_spectra((1000, 10), 3, num_draws=1).round(decimals=-1)
        tensor([[30., 30., 30.]], dtype=torch.float64)
    """
    num, largest = min(shape), max(shape)
    if not 1 <= rank <= num:
        raise RankError(wanted=f"a rank between 1 and {num}", got=str(rank), hint="ask for the rank of the bases")
    rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator_or_fixed(generator))))
    squares = rng.chisquare(largest - np.arange(num), (num_draws, num))  # on the diagonal
    below = rng.chisquare(np.arange(num - 1, 0, -1), (num_draws, num - 1))
    diagonal = squares + np.pad(below, ((0, 0), (1, 0)))  # of B B^T, which is tridiagonal
    beside = np.sqrt(squares[:, :-1] * below)
    kept = {"select": "i", "select_range": (num - rank, num - 1)}
    values = [eigvalsh_tridiagonal(a, b, **kept)[::-1] for a, b in zip(diagonal, beside, strict=True)]
    return torch.from_numpy(np.sqrt(np.maximum(values, 0)))


def _below(num_rows: int, rank: int, num_draws: int, generator: torch.Generator) -> Tensor:
    """A matrix with the Gram matrix of a Gaussian `(n, num_rows, rank)`, with at most ``rank`` rows."""
    if num_rows <= rank:
        return torch.randn(num_draws, num_rows, rank, generator=generator, dtype=torch.float64)
    seed = int(torch.randint(2**62, (1,), generator=generator))
    chi = np.sqrt(np.random.default_rng(seed).chisquare(num_rows - np.arange(rank), (num_draws, rank)))
    triangle = torch.randn(num_draws, rank, rank, generator=generator, dtype=torch.float64).triu(1)
    return triangle + torch.diag_embed(torch.from_numpy(chi))
