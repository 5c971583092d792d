"""Global directions: what the local bases of many samples have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from pullback.directions.bases import check_alike, stacked
from pullback.directions.subspace import frechet_directions
from pullback.directions.types import Direction
from pullback.errors import OptionError
from pullback.geometry.tangent import TangentBasis, clusters_of, signs

Match = Literal["nearest", "hungarian", "frechet"]
MAX_ROUNDS = 100


def global_directions(
    bases: Sequence[TangentBasis],
    *,
    rank: int | None = None,
    match: Match = "nearest",
    merge_above: float = 0.9,
) -> list[Direction]:
    """Means over samples of matching local directions, in H  (2302.12469; sound near t = T only).

    1. Reference: the first ``rank`` u of the medoid, the sample whose span overlaps most with all others'.
    2. For each reference, in each sample: the u of largest ``|cos|``, its sign turned towards the reference.
    3. The mean of these, scaled to unit length, is the new reference; back to 2 until no match changes.
    4. Of two with ``|cos| > merge_above`` the one of smaller s is dropped, and named in ``merged`` of the other.

    That is ``match="nearest"``, the papers'. With ``"hungarian"`` step 2 is one assignment for each sample, so that no
    u serves two references. ``"frechet"`` takes the mean subspace of all samples instead, see `frechet_directions`.

    Departure: the papers take one pass from a sample of their choice; to iterate from the medoid removes that choice.

    Args:
        bases: Local bases of one feature map at two or more samples, single or batched.
        rank: Number of references, 1 to k; all k by default. Matches are always sought among all k.
        match: ``"nearest"``, ``"hungarian"`` or ``"frechet"``.
        merge_above: ``|cos|`` of a duplicate; 1 keeps all. Axes of a mean subspace are orthogonal anyway.

    Returns:
        At most ``rank`` directions of H by falling mean s, with `agreement` still to be measured (`with_agreement`).

    Raises:
        OptionError: If there are fewer than two samples, the rank is not there, or the match is unknown.
        MismatchError: If the bases come from different maps.
        ShapeError, RankError: If they differ in D or rank.
    """
    samples = check_alike(bases, at_least=2)
    rank = samples[0].rank if rank is None else rank
    if match not in get_args(Match) or not 1 <= rank <= samples[0].rank:
        raise OptionError(
            wanted=f"a match among {', '.join(get_args(Match))}, and a rank between 1 and {samples[0].rank}",
            got=f"match={match!r}, rank={rank}",
            hint="compute local bases of higher rank to get more global directions",
        )
    if match == "frechet":
        return frechet_directions(samples, rank=rank)
    u = stacked(samples)  # (B, k, D)
    means, weights = _fixed_point(u, u[medoid(u)][:rank], MATCHES[match])
    s = weights.abs().to(torch.float64) @ torch.stack([basis.s for basis in samples]).flatten().to("cpu", torch.float64)
    order = s.argsort(descending=True, stable=True).tolist()
    kept = _merged(means, order, merge_above)
    clusters = clusters_of([float(s[group[0]]) for group in kept])
    details = {"estimator": "global", "match": match, "num_samples": len(samples), "rank": samples[0].rank}
    return [
        Direction(
            vector=(signs(means[group[0]]) * means[group[0]]).clone(),
            space="H",
            origin={**samples[0].origin, **details},
            s=float(s[group[0]]),
            index=index,
            cluster=next(cluster for cluster in clusters if index in cluster),
            merged=tuple(group),
        )
        for index, group in enumerate(kept)
    ]


def medoid(u: Tensor) -> int:
    """The sample whose span overlaps most with all others': the largest ``sum_b |U_a U_b^T|_F^2``.

    Args:
        u: Orthonormal rows of every sample, shape `(B, k, D)`.
    """
    flat = u.flatten(0, 1)
    return int(torch.stack([torch.linalg.matrix_norm(rows @ flat.mT) for rows in u]).argmax())


def nearest(cosine: Tensor) -> Tensor:
    """For each reference and sample, the index of the largest |cos|: `(r, B, k)` to `(r, B)`."""
    return cosine.abs().argmax(-1)


def hungarian(cosine: Tensor) -> Tensor:
    """For each reference and sample, the index that makes the sum of |cos| over references largest, none used twice.

    `(r, B, k)` to `(r, B)`, r <= k.
    """
    chosen = [linear_sum_assignment(each, maximize=True)[1] for each in cosine.abs().transpose(0, 1).cpu().numpy()]
    return torch.stack([torch.from_numpy(row) for row in chosen], dim=1).to(cosine.device)


MATCHES: dict[str, Callable[[Tensor], Tensor]] = {"nearest": nearest, "hungarian": hungarian}


def _fixed_point(u: Tensor, reference: Tensor, match: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Match and average until no match changes: unit means `(r, D)`, and signed weights of each u `(r, B k)`."""
    num_samples, rank, _ = u.shape
    flat = u.flatten(0, 1)
    weights = flat.new_zeros(len(reference), num_samples, rank)
    for _ in range(MAX_ROUNDS):
        cosine = (reference @ flat.mT).unflatten(1, (num_samples, rank))
        chosen = match(cosine)[..., None]
        sign = torch.where(cosine.gather(-1, chosen) < 0, -1.0, 1.0).to(u) / num_samples
        before, weights = weights, torch.zeros_like(weights).scatter_(-1, chosen, sign)
        if torch.equal(before, weights):
            break
        mean = weights.flatten(1) @ flat
        reference = mean / torch.linalg.vector_norm(mean, dim=-1, keepdim=True)
    return reference, weights.flatten(1).cpu()


def _merged(means: Tensor, order: Sequence[int], merge_above: float) -> list[list[int]]:
    """Groups of references that became one direction, each led by that of largest s."""
    cosine = (means @ means.mT).abs().cpu()
    groups: list[list[int]] = []
    for i in order:
        twin = next((group for group in groups if float(cosine[group[0], i]) > merge_above), None)
        if twin is None:
            groups.append([i])
        else:
            twin.append(i)
    return groups
