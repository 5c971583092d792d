"""Global directions and their agreement, against planted ones and against chance."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pullback.directions import (
    Direction,
    agreement,
    agreement_null,
    global_directions,
    rotated,
    with_agreement,
)
from pullback.directions.global_ import medoid
from pullback.errors import MismatchError, OptionError, RankError, ShapeError
from pullback.geometry import Plan, Products, TangentBasis

DIM_H = 400
ORIGIN = {"weights": "w", "layer": "mid_block", "t": 800, "pool": "none"}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def orthonormal(rank, seed, dim=DIM_H):
    return torch.linalg.qr(torch.randn(dim, rank, generator=seeded(seed), dtype=torch.float64))[0].mT


def basis_from(u, s=None, origin=ORIGIN):
    rank = len(u)
    s = torch.arange(rank, 0, -1, dtype=u.dtype) if s is None else s
    return TangentBasis(
        u=u,
        s=s,
        v=torch.zeros(rank, 5, dtype=u.dtype),
        residual=torch.zeros(rank),
        s_next=torch.zeros(()),
        is_verified=torch.tensor(True),
        products_each=(Products(),),
        plan=Plan.fixed(),
        method="planted",
        origin=origin,
    )


def noised_copies(u, num, seed, noise=0.01):
    """The same rows permuted, flipped, noised; each keeps its own s."""
    copies = []
    for i in range(num):
        generator = seeded(seed + i)
        order = torch.randperm(len(u), generator=generator)
        flip = torch.randint(0, 2, (len(u), 1), generator=generator) * 2 - 1
        rows = flip * u[order] + noise * torch.randn(u.shape, generator=generator, dtype=u.dtype)
        rows = rows / rows.norm(dim=1, keepdim=True)
        copies.append(basis_from(rows, s=torch.arange(len(u), 0, -1, dtype=u.dtype)[order]))
    return copies


def unrelated(num, rank, seed):
    return [basis_from(orthonormal(rank, seed + i)) for i in range(num)]


@given(seed=st.integers(0, 1_000_000))
@settings(max_examples=5, deadline=None)
def test_law13_permuted_flipped_noised_copies_are_recovered(seed):
    u = orthonormal(8, seed)
    found = global_directions(noised_copies(u, 12, seed + 100), rank=8)
    cosine = torch.stack([direction.vector for direction in found]) @ u.mT
    assert len(found) == 8
    assert torch.equal(cosine.abs().argmax(1), torch.arange(8))  # by falling s, as planted
    assert cosine.abs().amax(1).min() > 0.99
    assert [direction.index for direction in found] == list(range(8))
    assert [direction.s for direction in found] == pytest.approx(list(range(8, 0, -1)))


def test_law13_recovered_directions_agree_with_held_out_samples():
    u = orthonormal(8, 0)
    found = global_directions(noised_copies(u, 12, 100))
    checked = with_agreement(found, noised_copies(u, 6, 900))
    for direction in checked:
        assert direction.agreement is not None
        assert direction.agreement_null is not None
        assert direction.agreement > 0.95 > direction.agreement_null


def test_law13_unrelated_bases_agree_at_their_null():
    found = global_directions(unrelated(12, 10, 0))
    held_out = unrelated(8, 10, 500)
    above = [agreement(d, held_out) > agreement_null(d, held_out, generator=seeded(i)) for i, d in enumerate(found)]
    assert len(found) >= 9
    assert sum(above) <= 2  # 5 % are expected
    haar = [agreement(d, held_out) > agreement_null(d, held_out, kind="haar", num_draws=200) for d in found]
    assert sum(haar) <= 2


def test_a_shared_span_without_shared_vectors_stays_at_the_matched_null():
    above = []
    for trial in range(6):
        u = orthonormal(10, trial)
        turns = torch.randn(24, 10, 10, generator=seeded(trial), dtype=torch.float64)
        samples = [basis_from(rows) for rows in torch.linalg.qr(turns)[0] @ u]
        for i, direction in enumerate(global_directions(samples[:12])):
            value = agreement(direction, samples[12:])
            above.append(value > agreement_null(direction, samples[12:], generator=seeded(i)))
            assert value > agreement_null(direction, samples[12:], kind="haar", num_draws=100)
    assert len(above) >= 55
    assert sum(above) <= 8  # 5 % are expected: 3


def test_matched_null_equals_rotating_the_bases():
    u = orthonormal(6, 0)
    held_out = noised_copies(u, 5, 40)
    direction = global_directions(noised_copies(u, 5, 80))[0]
    figures = []
    for i in range(300):
        turned = [
            basis_from(torch.linalg.qr(torch.randn(6, 6, generator=seeded(7 * i + j), dtype=torch.float64))[0] @ b.u)
            for j, b in enumerate(held_out)
        ]
        figures.append(agreement(direction, turned))
    exact = float(torch.tensor(figures).double().quantile(0.95))
    assert agreement_null(direction, held_out, num_draws=2000) == pytest.approx(exact, abs=0.02)


def test_mean_is_made_after_the_signs_are_turned():
    u = orthonormal(3, 0)
    found = global_directions([basis_from(u), basis_from(-u), basis_from(u), basis_from(-u)])
    cosine = torch.stack([d.vector for d in found]) @ u.mT
    assert cosine.abs().diagonal().min() == pytest.approx(1)


def test_duplicates_are_merged_and_named():
    u = orthonormal(6, 0)
    lone = torch.cat([u[:2], orthonormal(8, 0)[6:8]])  # the medoid's third and fourth axis exist nowhere else
    bases = [basis_from(u[:4]), *(basis_from(u[:4]) for _ in range(3)), basis_from(lone)]
    twins = [basis_from(torch.stack([u[0], u[1], u[2], u[3]])) for _ in range(3)]
    assert len(global_directions(bases + twins)) == 4
    close = u[:2].clone()
    close[1] = 0.95 * u[0] + (1 - 0.95**2) ** 0.5 * u[1]
    merged = global_directions([basis_from(close), basis_from(close)])
    assert [direction.merged for direction in merged] == [(0, 1)]
    kept = global_directions([basis_from(close), basis_from(close)], merge_above=1.0)
    assert [direction.merged for direction in kept] == [(0,), (1,)]


def test_order_clusters_and_signs():
    u = orthonormal(4, 0)
    s = torch.tensor([1.0, 3.0, 2.99, 0.5], dtype=torch.float64)
    found = global_directions([basis_from(u, s=s), basis_from(u, s=s)])
    assert [direction.merged[0] for direction in found] == [1, 2, 0, 3]
    assert [direction.cluster for direction in found] == [(0, 1), (0, 1), (2,), (3,)]
    assert all(float(d.vector[d.vector.abs().argmax()]) > 0 for d in found)


def test_origin_says_how_they_were_made():
    found = global_directions([basis_from(orthonormal(3, 0)), basis_from(orthonormal(3, 0))], rank=2)
    assert len(found) == 2
    assert found[0].origin == {**ORIGIN, "estimator": "global", "match": "nearest", "num_samples": 2, "rank": 3}
    assert found[0].agreement is None


def test_a_batch_counts_as_its_samples():
    u = torch.stack([orthonormal(3, 0), orthonormal(3, 1)])
    single = [basis_from(rows) for rows in u]
    batch = dataclasses.replace(
        single[0],
        u=u,
        s=torch.stack([b.s for b in single]),
        v=torch.zeros(2, 3, 5),
        residual=torch.zeros(2, 3),
        s_next=torch.zeros(2),
        is_verified=torch.ones(2, dtype=torch.bool),
        products_each=(Products(), Products()),
    )
    for one, other in zip(global_directions(single), global_directions([batch]), strict=True):
        assert torch.equal(one.vector, other.vector)


def test_medoid_is_the_sample_in_the_middle():
    a, b = orthonormal(1, 0)[0], orthonormal(2, 0)[1]
    between = (a + b) / 2**0.5
    assert medoid(torch.stack([a, between, b])[:, None, :]) == 1


def test_rotated_directions_keep_the_span_and_lose_the_vectors():
    u = orthonormal(6, 0)
    found = global_directions(noised_copies(u, 5, 80))
    control = torch.stack([direction.vector for direction in rotated(found)])
    span = torch.stack([direction.vector for direction in found])
    q = torch.linalg.qr(span.mT)[0]
    assert torch.allclose(control @ control.mT, torch.eye(6, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(control @ q @ q.mT, control, atol=1e-12)
    assert rotated(found)[0].origin["estimator"] == "rotated"


def test_one_direction_of_rank_one():
    u = orthonormal(1, 0)
    found = global_directions([basis_from(u), basis_from(-u)])
    assert len(found) == 1


def test_errors():
    u = orthonormal(3, 0)
    with pytest.raises(OptionError, match="bases of at least 2 samples; got 1; compute more local bases"):
        global_directions([basis_from(u)])
    with pytest.raises(OptionError, match="at least 2 samples; got 0"):
        global_directions([])
    with pytest.raises(MismatchError, match="bases of one feature map; got different layer, t; compare bases of one"):
        global_directions([basis_from(u), basis_from(u, origin={**ORIGIN, "t": 600, "layer": "down"})])
    with pytest.raises(RankError, match=r"bases of one rank, at least 1; got \[2, 3\]"):
        global_directions([basis_from(u), basis_from(u[:2])])
    with pytest.raises(ShapeError, match="features of 400 values; got 300"):
        global_directions([basis_from(u), basis_from(orthonormal(3, 0, 300))])
    with pytest.raises(
        OptionError,
        match=r"a match among nearest, hungarian, frechet, and a rank between 1 and 3; got match='best', rank=3",
    ):
        global_directions([basis_from(u), basis_from(u)], match="best")
    with pytest.raises(OptionError, match="rank=4; compute local bases of higher rank"):
        global_directions([basis_from(u), basis_from(u)], rank=4)
    with pytest.raises(ShapeError, match=r"a direction of H, shape \(400,\); got one of X"):
        agreement(Direction(torch.ones(1), "X", {}), [basis_from(u)])
    with pytest.raises(OptionError, match="kind must be matched or haar"):
        agreement_null(Direction(u[0], "H", {}), [basis_from(u)], kind="none")
    with pytest.raises(OptionError, match="at least one direction"):
        rotated([])
    with pytest.raises(ShapeError, match=r"directions of one space, H of shape \(400,\); got X of"):
        rotated([Direction(u[0], "H", {}), Direction(u[0, :1] / u[0, :1].abs(), "X", {})])
