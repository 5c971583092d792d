"""Do two tables of pairs go together, such as distances and similarities of prompts? Mantel's test (1967)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from pullback.analyses.record import NUM_BOOTSTRAP, redrawn

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


def spearman(a: Array, b: Array) -> float:
    """Rank correlation of two rows of numbers; 0 where one of them does not vary.

    Example:
        >>> spearman(np.array([1.0, 2.0, 9.0]), np.array([3.0, 2.0, 1.0])), spearman(np.ones(2), np.arange(2.0))
        (-1.0, 0.0)
    """
    if len(a) < 2:
        return 0.0
    return _correlation(rankdata(a), rankdata(b))


def related(distances: Array, similarities: Array) -> tuple[float, float, float]:
    """Spearman correlation over pairs of two symmetric tables, with a 95 % interval over what the pairs are made of.

    A pair counts for both of its members, so it is members that are drawn again; a member and itself are no pair.

    Args:
        distances: `(P, P)`.
        similarities: `(P, P)`.

    Returns:
        Correlation, and both ends of the interval.
    """

    def figure(members: Indices) -> float:
        first, second = pairs(members)
        return spearman(distances[first, second], similarities[first, second])

    low, high = redrawn(figure, len(distances))
    return figure(np.arange(len(distances))), low, high


def permuted(distances: Array, similarities: Array, *, seed: int = 0) -> Array:
    """Spearman correlations when the members of one table are shuffled: what chance would give, `(1000,)`.

    Rows and columns move together, so that every shuffled table is as much a table of pairs as the true one.

    Args:
        distances: `(P, P)`.
        similarities: `(P, P)`.
        seed: Of the shuffles.
    """
    rng, num = np.random.default_rng(seed), len(distances)
    first, second = pairs(np.arange(num))
    ranks = np.zeros((num, num))  # shuffled pairs have the ranks that they had
    ranks[first, second] = ranks[second, first] = rankdata(similarities[first, second])
    own = rankdata(distances[first, second])
    orders = (rng.permutation(num) for _ in range(NUM_BOOTSTRAP))
    return np.array([_correlation(own, ranks[order[first], order[second]]) for order in orders])


def pairs(members: Indices) -> tuple[Indices, Indices]:
    """Both members of every pair of different ones, each pair once for each time that it was drawn.

    Example:
        >>> [each.tolist() for each in pairs(np.array([4, 7, 7]))]
        [[4, 4], [7, 7]]
    """
    rows, columns = np.triu_indices(len(members), 1)
    first, second = members[rows], members[columns]
    return first[first != second], second[first != second]


def _correlation(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    length = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / length if length > 0 else 0.0
