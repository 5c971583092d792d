import pytest
import torch

from pullback.directions import Task, estimate, local_basis
from pullback.directions.estimators import ESTIMATORS
from pullback.errors import NumericalError, OptionError, RankError, ShapeError
from pullback.geometry import Plan, one_product
from pullback.models import toy_denoiser
from pullback.models.output_map import DecoderMap

T = 600
PLAN = Plan.fixed()


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
    found = estimate(name, task(den, xs))
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
