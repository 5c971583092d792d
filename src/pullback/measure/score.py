"""What a set of directions does to known factors, as figures (definitions: docs, Measures).

All functions take effects in standard units, shape `(K, S, F)`: K directions, S held-out seeds, F factors. The odd part
of an edit is ``e = (D(a) - D(-a)) / 2``, the even part ``d = (D(a) + D(-a)) / 2``, D(a) the change at strength a.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.stats import ortho_group

from pullback.errors import OptionError

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
TINY = 1e-12


def symmetry(odd: Array, even: Array) -> Array:
    """Share of the odd part, ``|e|^2 / (|e|^2 + |d|^2)``, shape `(K,)`: 1 when -a undoes a."""
    e, d = np.square(odd).sum(axis=(1, 2)), np.square(even).sum(axis=(1, 2))
    return e / np.maximum(e + d, TINY)


def purity_matrix(odd: Array) -> Array:
    """``P_ij = mean_s e_ij^2 / mean_s |e_i|^2``, shape `(K, F)`; rows sum to 1."""
    energy = np.square(odd).mean(axis=1)
    return energy / np.maximum(energy.sum(axis=1, keepdims=True), TINY)


def purity(odd: Array, drawn: Indices | None = None) -> Array:
    """Purity per sample, ``P_i = max_j P_ij``, shape `(K,)`.

    Args:
        odd: Odd effects.
        drawn: Seeds drawn with replacement, as for an interval, or None for each once. The factor j is the one of all
            seeds: were it chosen anew, each draw would pick what it has by chance, and intervals would lie too high.

    Example:
        >>> float(purity(np.array([[[3.0, 4.0]]]))[0])
        0.64
        >>> purity(np.array([[[1.0, 0.0], [0.0, 2.0]]]), np.array([0, 0])).tolist()
        [0.0]
    """
    main = purity_matrix(odd).argmax(axis=1)
    return purity_matrix(odd if drawn is None else odd[:, drawn])[np.arange(len(odd)), main]


def purity_of_mean(odd: Array) -> Array:
    """Purity of the mean effect, shape `(K,)`: effects whose sign changes from seed to seed cancel here."""
    return purity(odd.mean(axis=1, keepdims=True))


def transfer(odd: Array, drawn: Indices | None = None) -> Array:
    """``T_i = mean_{s != s'} <e_s, e_s'> / mean_s |e_s|^2``, shape `(K,)`; 1 when every seed does the same, null 0.

    Args:
        odd: Odd effects.
        drawn: Seeds drawn with replacement, as for an interval, or None for each once. One that was drawn twice agrees
            with itself perfectly, which says nothing: such pairs are left out.

    Raises:
        OptionError: If there are fewer than two seeds.

    Example:
        >>> transfer(np.array([[[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]]]), np.array([0, 0, 1])).tolist()
        [0.0]
    """
    num = odd.shape[1]
    if num < 2:
        raise OptionError(wanted="at least two seeds to compare", got=str(num), hint="measure more samples")
    often = np.ones(num) if drawn is None else np.bincount(drawn, minlength=num).astype(float)
    each = np.square(odd).sum(axis=2)  # (K, S)
    total = np.square(np.einsum("s,ksf->kf", often, odd)).sum(axis=1)
    num_pairs = often.sum() ** 2 - np.square(often).sum()
    alike = (total - each @ np.square(often)) / max(num_pairs, 1.0)
    return alike * often.sum() / np.maximum(each @ often, TINY)


def success(odd: Array, passed: NDArray[np.bool_]) -> Array:
    """Share of seeds with ``e_j* >= .25`` of the agreed sign, every other factor below half of it, gate passed.

    Args:
        odd: Odd effects, shape `(K, S, F)`.
        passed: Whether both edited pictures passed the gate, shape `(K, S)`.

    Returns:
        Shape `(K,)`.
    """
    rows = np.arange(len(odd))
    best = purity_matrix(odd).argmax(axis=1)
    main = odd[rows, :, best]
    main = main * np.where(main.mean(axis=1) < 0, -1.0, 1.0)[:, None]
    others = np.abs(odd)
    others[rows, :, best] = 0
    return ((main >= 0.25) & (others.max(axis=2) < main / 2) & passed).mean(axis=1)


def num_found(
    odd: Array, drawn: Indices | None = None, *, least_purity: float = 0.5, least_transfer: float = 0.5
) -> int:
    """D@K: the largest number of directions matched to distinct factors, over pairs with P >= .5 and T >= .5.

    Args:
        odd: Odd effects.
        drawn: As in `transfer`.
        least_purity: That counts.
        least_transfer: That counts.

    Example:
        >>> num_found(np.eye(3)[:, None].repeat(4, axis=1))
        3
    """
    pure = purity_matrix(odd if drawn is None else odd[:, drawn]) >= least_purity
    pairs = pure & (transfer(odd, drawn) >= least_transfer)[:, None]
    if not pairs.any():  # nearly always so under a null, and a matching takes long
        return 0
    return int((maximum_bipartite_matching(csr_array(pairs.astype(np.int8)), perm_type="column") >= 0).sum())


def num_found_null(odd: Array, *, num: int = 500, quantile: float = 0.99, seed: int = 0) -> float:
    """The matched null of D@K: the quantile over random rotations of the directions among themselves.

    A rotated direction ``sum_k R_ik u_k`` is given the effect ``sum_k R_ik e_k``, which is exact to first order.
    """
    rng = np.random.default_rng(seed)
    if len(odd) < 2:
        return float(len(odd))
    drawn = [num_found(np.einsum("ik,ksf->isf", ortho_group.rvs(len(odd), random_state=rng), odd)) for _ in range(num)]
    return float(np.quantile(drawn, quantile))


def coverage(odd: Array, *, least_transfer: float = 0.5) -> Array:
    """Share of each factor's axis in the span of the mean effects that transfer, shape `(F,)`."""
    means = odd.mean(axis=1)[transfer(odd) >= least_transfer]
    if not len(means):
        return np.zeros(odd.shape[2])
    _, s, vt = np.linalg.svd(means, full_matrices=False)
    return np.square(vt[s > 0.1 * s[0]]).sum(axis=0)


def dci(odd: Array) -> tuple[float, float]:
    """Disentanglement and completeness of ``E_ij = mean_s e_ij^2`` (Eastwood and Williams 2018), each in [0, 1]."""
    energy = np.square(odd).mean(axis=1)
    return _concentration(energy), _concentration(energy.T)


def _concentration(energy: Array) -> float:
    total = energy.sum(axis=1, keepdims=True)
    p = energy / np.maximum(total, TINY)
    entropy = -(p * np.log(np.maximum(p, TINY))).sum(axis=1) / np.log(max(energy.shape[1], 2))
    return float(((1 - entropy) * total[:, 0]).sum() / max(total.sum(), TINY))


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % bootstrap interval over seeds."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def bootstrap(figure: Callable[[Array, Indices], float], odd: Array, *, num: int = 300, seed: int = 0) -> Interval:
    """The 95 % percentile interval of ``figure(odd, drawn)`` when seeds are drawn again with replacement."""
    rng, num_seeds = np.random.default_rng(seed), odd.shape[1]
    found = [figure(odd, rng.integers(num_seeds, size=num_seeds)) for _ in range(num)]
    low, high = np.quantile(found, [0.025, 0.975])
    return Interval(float(figure(odd, np.arange(num_seeds))), float(low), float(high))
