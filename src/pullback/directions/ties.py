"""Near ties: inside a cluster of nearly equal s single vectors are arbitrary; here they are turned alike everywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from pullback.directions.bases import check_alike, stacked
from pullback.directions.global_ import medoid
from pullback.geometry.tangent import CLUSTER_GAP, TangentBasis, clusters_of

MAX_ROUNDS = 20


def canonical(bases: Sequence[TangentBasis], *, relative_gap: float = CLUSTER_GAP) -> list[TangentBasis]:
    """The same tangent spaces, each near-tie cluster turned towards what the samples have in common.

    1. Reference: the u of the medoid sample.
    2. In each sample every cluster gets as many rows of the reference as it has members, by one assignment on the
       share of a row that lies in the cluster's span; then the rotation inside the span that brings it closest to
       them (orthogonal Procrustes).
    3. The mean of the rotated rows, orthonormalised, is the new reference; until it rests, 20 rounds at most.

    What remains is invariant: a rotation of a cluster before it makes no difference to the result, up to the choice of
    the medoid's own basis. A single direction can only change its sign.

    Args:
        bases: Local bases of one feature map at two or more samples, single or batched.
        relative_gap: Neighbours closer than this, as a share of the larger s, are near ties.

    Returns:
        One basis for each sample, with u and v turned alike. ``J v = s u`` then holds up to the spread of the cluster,
        which is added to its residuals; s becomes ``sqrt(sum_j R_ij^2 s_j^2)``, the length of J v.

    Raises:
        OptionError, MismatchError, ShapeError, RankError: As `global_directions`.
    """
    samples = check_alike(bases, at_least=2)
    u = stacked(samples).double()  # (B, k, D)
    clusters = [clusters_of(basis.s.tolist(), relative_gap=relative_gap) for basis in samples]
    reference = u[medoid(u)]
    turns = torch.eye(u.shape[1], dtype=u.dtype, device=u.device).expand(len(u), -1, -1)
    for _ in range(MAX_ROUNDS):
        before, turned_to = turns, [_turn(rows, runs, reference) for rows, runs in zip(u, clusters, strict=True)]
        turns = torch.stack([turn for turn, _ in turned_to])
        aligned = torch.stack([_in_order(turn @ rows, order) for rows, (turn, order) in zip(u, turned_to, strict=True)])
        reference = _nearest_frame(aligned.mean(0))
        if torch.allclose(before, turns, atol=1e-10):
            break
    return [_turned(basis, turn) for basis, turn in zip(samples, turns, strict=True)]


def _turn(u: Tensor, clusters: Sequence[Sequence[int]], reference: Tensor) -> tuple[Tensor, Tensor]:
    """Block-diagonal rotation `(k, k)`, and for each turned row the row of the reference that it stands for."""
    cosine = u @ reference.mT  # (k, k)
    share = torch.cat([cosine[list(run)].square().sum(0).expand(len(run), -1) for run in clusters])  # a slot a member
    order = torch.from_numpy(linear_sum_assignment(share.cpu().numpy(), maximize=True)[1]).to(u.device)
    turn = torch.zeros_like(cosine)
    for run in clusters:
        index = torch.tensor(run, device=u.device)
        order[index] = order[index].sort().values  # slots of a cluster are alike: the assignment left their order open
        left, _, right = torch.linalg.svd(cosine[index][:, order[index]])  # (m, m): rows of the cluster, their targets
        turn[index[:, None], index] = (left @ right).mT
    return turn, order


def _in_order(rows: Tensor, order: Tensor) -> Tensor:
    """Turned rows at the places of the reference's rows that they stand for."""
    return torch.zeros_like(rows).index_copy(0, order, rows)


def _nearest_frame(rows: Tensor) -> Tensor:
    """The orthonormal rows closest to the given ones."""
    left, _, right = torch.linalg.svd(rows, full_matrices=False)
    return left @ right


def _turned(basis: TangentBasis, turn: Tensor) -> TangentBasis:
    turn = turn.to(basis.u)
    u, v = turn @ basis.u, (turn @ basis.v.flatten(1)).reshape(basis.v.shape)
    s = (turn.square() @ basis.s.square()).sqrt()
    slip = (turn.square() * (basis.s[None] - s[:, None]).square()).sum(1).sqrt()  # |J v' - s' u'|
    spread = slip / basis.s.max().clamp_min(torch.finfo(s.dtype).tiny)
    return dataclasses.replace(basis, u=u, s=s, v=v, residual=turn.abs() @ basis.residual + spread)
