import pytest
import torch

from pullback.edit import calibrate, denoising_loss, one_step, typical_distance, usable_range, x_guidance
from pullback.errors import NotConvergedWarning, NumericalError, ShapeError
from pullback.geometry.jacobian import as_feature_map
from pullback.models import gaussian_denoiser, toy_denoiser


@pytest.fixture
def setting():
    den = toy_denoiser(dtype=torch.float64)
    x = den.draw([0, 1, 2])
    v = den.draw([9])[0]
    return den, den.feature_map(t_fraction=0.8), x, v / v.norm()


def displacement(f, x, moved):
    with torch.no_grad():
        return (f(moved) - f(x)).flatten(1).norm(dim=1)


def test_typical_distance_is_the_median_over_pairs(setting):
    _, f, x, _ = setting
    with torch.no_grad():
        h = f(x).flatten(1)
    pairs = sorted((h[a] - h[b]).norm().item() for a, b in ((0, 1), (0, 2), (1, 2)))
    assert typical_distance(f, x) == pytest.approx(pairs[1])


def test_scale_one_is_a_tenth_of_the_typical_distance(setting):
    _, f, x, v = setting
    distance = typical_distance(f, x)
    found = calibrate(f, x, v, distance=distance, tolerance=1e-3)
    reached = displacement(f, x, one_step(x, v, found.unit))
    torch.testing.assert_close(reached, torch.full_like(reached, 0.1 * distance), rtol=1e-3, atol=0)
    torch.testing.assert_close(found.displacement, reached)
    assert found.is_reached.all()
    assert found.num_calls <= 8


def test_few_calls_for_a_whole_batch(setting):
    _, f, x, v = setting
    calls = []
    f.network.register_forward_pre_hook(lambda *call: calls.append(call))
    found = calibrate(f, x, v, distance=1.0)
    assert len(calls) == found.num_calls + 1


def test_a_linear_displacement_is_hit_by_the_second_call():
    f = as_feature_map(lambda x: 3 * x.flatten(1), torch.zeros(1, 1, 2, 2))
    x, v = torch.ones(2, 1, 2, 2), torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    found = calibrate(f, x, v, distance=60.0)
    torch.testing.assert_close(found.unit, torch.tensor([2.0, 2.0]))
    assert found.num_calls == 2


@pytest.mark.parametrize("bend", [lambda r: r**3, lambda r: r.sqrt(), lambda r: 8 * torch.tanh(r)])
def test_bent_displacements_are_hit_too(bend):
    f = as_feature_map(lambda x: bend(x.flatten(1)), torch.zeros(1, 1, 1, 1))
    x, v = torch.zeros(2, 1, 1, 1), torch.ones(1, 1, 1)
    found = calibrate(f, x + torch.tensor([0.0, 0.5]).reshape(2, 1, 1, 1), v, distance=10.0, max_calls=60)
    assert ((found.displacement - 1).abs() < 0.01).all()


def test_any_move_can_be_calibrated(setting):
    den, f, x, v = setting

    def move(x, v, g):
        return x_guidance(den, x, 800, v, weight=g, num_iterations=3)

    distance = typical_distance(f, x)
    found = calibrate(f, x, v, distance=distance, move=move)
    assert (displacement(f, x, move(x, v.expand_as(x), found.unit)) / distance - 0.1).abs().max() < 0.002


def test_a_direction_that_h_does_not_see_warns():
    f = as_feature_map(lambda x: x[:, 0].flatten(1), torch.zeros(1, 2, 1, 1))
    x, v = torch.ones(1, 2, 1, 1), torch.tensor([0.0, 1.0]).reshape(2, 1, 1)
    with pytest.warns(NotConvergedWarning, match=r"wanted an h-displacement of 0.1; 1 of 1 samples reached 0 at best"):
        found = calibrate(f, x, v, distance=1.0)
    assert not found.is_reached.any()


def test_errors(setting):
    _, f, x, _ = setting
    with pytest.raises(ShapeError, match=r"at least 2 latents to compare; got 1; sample_latent"):
        typical_distance(f, x[:1])
    with pytest.raises(NumericalError, match=r"features that differ between samples; got median distance 0.0"):
        typical_distance(f, x[[0, 0, 0]])
    with pytest.raises(ShapeError, match=r"displacement and loss of shape \(B, 3\); got \(2, 2\) and \(2, 2\)"):
        usable_range([1, 2, 3], torch.ones(2, 2), torch.ones(2, 2), torch.ones(5))


SCALES = [-3, -2, -1, 0, 1, 2, 3]
FINE, LIMITS = torch.zeros(1, 7), torch.ones(20)


def test_all_of_a_good_range_is_usable():
    found = usable_range(SCALES, torch.tensor([[3.0, 2, 1, 0, 1, 2, 3]]), FINE, LIMITS)
    assert (found.low, found.high, found.rank_correlation) == (-3, 3, pytest.approx(1))


@pytest.mark.parametrize(
    ("upward", "high"),
    [([1.0, 1.9, 2.0], 2), ([1.0, 1.2, 2.0], 1), ([1.0, 0.9, 2.0], 1), ([1.0, 2.0, 3.0], 3)],
    ids=["saturates", "stalls", "turns back", "grows"],
)
def test_the_range_ends_where_displacement_does_not_grow(upward, high):
    found = usable_range(SCALES, torch.tensor([[3.0, 2, 1, 0, *upward]]), FINE, LIMITS)
    assert (found.low, found.high) == (-3, high)


def test_the_range_ends_where_pictures_leave_the_data():
    loss = torch.tensor([[9.0, 0, 0, 0, 0, 9, 0]])
    found = usable_range(SCALES, torch.tensor([[3.0, 2, 1, 0, 1, 2, 3]]), loss, LIMITS)
    assert (found.low, found.high, found.loss_limit) == (-2, 1, 1.0)


def test_medians_over_samples_decide():
    good, bad = torch.tensor([3.0, 2, 1, 0, 1, 2, 3]), torch.zeros(7)
    assert usable_range(SCALES, torch.stack([good, good, bad]), FINE.expand(3, 7), LIMITS).high == 3
    assert usable_range(SCALES, torch.stack([good, bad, bad]), FINE.expand(3, 7), LIMITS).high == 0


def test_denoising_loss_tells_data_from_what_is_not():
    den = gaussian_denoiser()
    data = den.network.mean + den.network.variance.sqrt() * den.draw(range(64))

    def loss(x0):
        return denoising_loss(den, x0, generator=torch.Generator().manual_seed(0))

    assert loss(data).shape == (64,)
    assert loss(data + 5).min() > loss(data).max()
    assert torch.equal(loss(data), loss(data))
    torch.testing.assert_close(loss(data[:3]), loss(data)[:3])
