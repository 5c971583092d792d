"""Global directions as axes of the mean of all samples' tangent spaces."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pullback.directions.bases import check_alike, stacked
from pullback.directions.types import Direction
from pullback.geometry.frechet import frechet_mean
from pullback.geometry.tangent import TangentBasis, clusters_of, signs

MEAN_RESIDUAL = "mean_residual"
"""Of the origin: length of the mean tangent at which the mean subspace stopped, radians; 0 is a stationary point."""


def frechet_directions(bases: Sequence[TangentBasis], *, rank: int | None = None) -> list[Direction]:
    """Axes of the Frechet mean M of all T_h: eigenvectors of ``sum_b M U_b^T S_b^2 U_b M^T``.

    No sample and no single u is singled out; what is averaged are subspaces, and the axes are those along which the
    samples' h moves most inside the mean.

    Args:
        bases: Local bases of one feature map at two or more samples, single or batched.
        rank: How many axes, by falling eigenvalue, 1 to k; all k by default.

    Returns:
        Orthonormal directions of H; ``s`` is the root of the eigenvalue over the number of samples; the origin has the
        residual of the mean, `MEAN_RESIDUAL`.

    Raises:
        OptionError, MismatchError, ShapeError, RankError: As `global_directions`.
        NumericalError: If a sample has a direction orthogonal to the running mean.
    """
    samples = check_alike(bases, at_least=2)
    found = frechet_mean(stacked(samples))
    mean = found.rows  # (k, D)
    moved = torch.stack([basis.s.to(mean)[:, None] * (basis.u.to(mean) @ mean.mT) for basis in samples])  # (B, k, k)
    values, axes = torch.linalg.eigh((moved.mT @ moved).sum(0))
    rows = (axes.mT @ mean).flip(0)[:rank]
    rows = signs(rows) * rows / torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    s = (values.flip(0).clamp_min(0) / len(samples)).sqrt().tolist()
    clusters = clusters_of(s[: len(rows)])
    details = {"estimator": "global", "match": "frechet", "num_samples": len(samples), "rank": samples[0].rank}
    details[MEAN_RESIDUAL] = found.residual
    return [
        Direction(
            vector=row.to(samples[0].u).clone(),
            space="H",
            origin={**samples[0].origin, **details},
            s=s[index],
            index=index,
            cluster=next(cluster for cluster in clusters if index in cluster),
        )
        for index, row in enumerate(rows)
    ]
