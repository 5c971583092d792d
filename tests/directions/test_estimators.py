import pytest
import torch

from pullback.directions import (
    MaskedOutput,
    Rectangle,
    Task,
    estimate,
    local_basis,
    loco_directions,
    outside_share,
    outside_vectors,
)
from pullback.directions.estimators import ESTIMATORS
from pullback.errors import NumericalError, OptionError, RankError, ShapeError
from pullback.geometry import JacobianAt, Plan, one_product
from pullback.models import toy_denoiser
from pullback.models.output_map import DecoderMap, OutputMap

T = 600
PLAN = Plan.fixed()
TOP = Rectangle(0, 0, 0.5, 1)


@pytest.fixture(scope="module")
def den():
    return toy_denoiser(dtype=torch.float64)


@pytest.fixture(scope="module")
def xs(den):
    return den.sample_latent(t=T, seeds=range(4))


def task(den, x, **options):
    return Task(den, x, T, **{"rank": 3, "plan": PLAN, "tol": 1e-6, **options})


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_gives_unit_directions_that_its_map_applies(den, xs, name):
    found = estimate(name, task(den, xs[0], mask=TOP) if name == "loco" else task(den, xs))
    assert 1 <= len(found.directions) <= 3
    for direction in found.directions:
        assert direction.origin["estimator"] == name
        assert float(direction.vector.norm()) == pytest.approx(1)
        assert {key: direction.origin.get(key) for key in found.f.origin} == dict(found.f.origin)
        if direction.space == "H":
            v = one_product(found.f, xs[0], direction.vector)
            assert float(v.norm()) == pytest.approx(1)
        else:
            assert direction.vector.shape == den.x_shape


@pytest.mark.parametrize("name", ["pullback", "pullback_pooled", "eps", "x0", "decoder", "pca_perturbed"])
def test_of_one_sample_they_are_local(den, xs, name):
    found = estimate(name, task(den, xs[0]))
    assert len(found.directions) == 3
    assert [d.s for d in found.directions] == sorted((d.s for d in found.directions), reverse=True)
    if found.bases:
        assert torch.equal(found.directions[1].vector, found.bases[0].u[1])


def test_the_pullback_is_the_local_basis(den, xs):
    found = estimate("pullback", task(den, xs[0]))
    basis = local_basis(den.feature_map(t=T), xs[0], rank=3, plan=PLAN, tol=1e-6)
    assert torch.allclose(found.bases[0].u, basis.u, atol=1e-6)
    pooled = estimate("pullback_pooled", task(den, xs[0]))
    assert pooled.directions[0].vector.shape == (16,)
    assert pooled.f.origin["pool"] == "sum"


def test_law29_decoder_directions_are_the_right_vectors_of_a_dense_jacobian(den, xs):
    found = estimate("decoder", task(den, xs[0]))
    f = DecoderMap(den, xs[0], t=T)
    exact = torch.autograd.functional.jacobian(lambda h: f(h[None])[0].flatten(), f.start).flatten(1)
    _, s, right = torch.linalg.svd(exact, full_matrices=False)
    for i, direction in enumerate(found.directions):
        assert abs(float(direction.vector @ right[i])) == pytest.approx(1, abs=1e-5)
        assert direction.s == pytest.approx(float(s[i]), rel=1e-6)


def test_law29_loco_is_that_of_its_mask(den, xs):
    found = estimate("loco", task(den, xs[0], mask=TOP, seed=5))
    f = OutputMap(den, t=T, kind="x0")
    exact = loco_directions(f, xs[0], TOP, rank=3, tol=1e-6, plan=PLAN, generator=torch.Generator().manual_seed(5))
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(found.directions, exact, strict=True))
    assert [each.s for each in found.directions] == [each.s for each in exact]
    assert found.directions[0].origin["mask_on"] == "x0"
    assert found.directions[0].origin["num_outside"] == 5
    batch_of_one = estimate("loco", task(den, xs[:1], mask=TOP, seed=5))
    assert torch.equal(batch_of_one.directions[2].vector, found.directions[2].vector)
    pushed = JacobianAt(f, xs[0]).jvp(torch.stack([each.vector for each in found.directions])).unflatten(-1, f.h_shape)
    plain = estimate("x0", task(den, xs[0])).bases[0]
    everywhere = JacobianAt(f, xs[0]).jvp(plain.v).unflatten(-1, f.h_shape)
    assert outside_share(pushed, TOP).mean() < outside_share(everywhere, TOP).mean()


def test_the_cost_of_loco_is_that_of_its_two_bases(den, xs):
    f, generator = OutputMap(den, t=T, kind="x0"), torch.Generator().manual_seed(0)
    how = {"tol": 1e-6, "plan": PLAN, "generator": generator}
    inside = local_basis(MaskedOutput(f, TOP, where="x0"), xs[0], rank=3, **how)
    outside = local_basis(MaskedOutput(f, TOP, is_outside=True, where="x0"), xs[0], rank=5, **how)
    cost = estimate("loco", task(den, xs[0], mask=TOP)).cost
    assert cost.network_products == inside.products.total + outside.products.total > 0
    assert cost.encoder_products == cost.encoder_passes == cost.network_passes == 0
    assert len(outside_vectors(f, xs[0], torch.ones(8, 8))) == 0
    full = estimate("loco", task(den, xs[0], mask=torch.ones(8, 8)))  # no outside, and no second basis
    assert full.cost.network_products == estimate("x0", task(den, xs[0])).cost.network_products


def test_masks_are_for_loco_alone(den, xs):
    with pytest.raises(OptionError, match=r"a mask and one latent for loco; got no mask and 1 latents; Task"):
        estimate("loco", task(den, xs[0]))
    with pytest.raises(OptionError, match="a mask and one latent for loco; got a mask and 4 latents"):
        estimate("loco", task(den, xs, mask=TOP))
    for name in set(ESTIMATORS) - {"loco"}:
        with pytest.raises(OptionError, match=f"no mask for {name}, which knows no region; got a mask; loco takes one"):
            estimate(name, task(den, xs, mask=TOP))
    with pytest.raises(ShapeError, match=r"a mask of shape \(8, 8\) or \(3, 8, 8\); got \(4, 4\)"):
        estimate("loco", task(den, xs[0], mask=torch.ones(4, 4)))


def test_costs_are_counted(den, xs):
    assert estimate("random_x", task(den, xs)).cost == type(estimate("random_h", task(den, xs)).cost)()
    assert estimate("pca", task(den, xs)).cost.encoder_passes == 4
    assert estimate("pca_perturbed", task(den, xs, num_perturbations=10)).cost.encoder_passes == 40
    local = estimate("pullback", task(den, xs[0]))
    assert local.cost.encoder_products == local.bases[0].products.total > 0
    assert estimate("eps", task(den, xs[0])).cost.network_products > 0 == local.cost.network_products


def test_the_same_task_gives_the_same_bits(den, xs):
    for name in ("pca_perturbed", "random_h", "pullback"):
        first, second = (estimate(name, task(den, xs[:2])).directions[0].vector for _ in range(2))
        assert torch.equal(first, second)
    assert not torch.equal(
        estimate("random_h", task(den, xs)).directions[0].vector,
        estimate("random_h", task(den, xs, seed=1)).directions[0].vector,
    )


def test_errors(den, xs):
    with pytest.raises(OptionError, match="an estimator among pullback, pullback_pooled, eps, x0, decoder, pca"):
        estimate("magic", task(den, xs))
    with pytest.raises(RankError, match=r"min\(B - 1, D\) = 0; got 3; give more samples"):
        estimate("pca", task(den, xs[0]))
    with pytest.raises(ShapeError, match=r"x of shape \(B, 3, 8, 8\)"):
        estimate("pullback", task(den, xs[:, :, :4]))
    with pytest.raises(NumericalError, match="finite latents"):
        estimate("random_x", task(den, xs * torch.nan))
