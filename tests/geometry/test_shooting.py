import warnings

import pytest
import torch

from pullback.errors import NotConvergedWarning, NumericalError, OptionError, ShapeError
from pullback.geometry import JacobianAt, linearity_radius, path_lengths, shoot, shoot_towards, top_singular
from pullback.geometry.shooting import aimed, shooting
from pullback.geometry.shots import together
from pullback.testing import ConvMap, UnitMap, planted_null, planted_spectrum


def random(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def maker(f, rank):
    return lambda x: top_singular(JacobianAt(f, x), rank, method="dense")


def test_law12_on_a_linear_map_a_singular_vector_runs_straight():
    f, x = planted_spectrum([3.0, 2.0, 0.5], dim_x=7, dim_h=5), random(0, 7)
    basis = maker(f, 3)(x)
    shot = shoot(f, x, basis.u[2], basis_at=maker(f, 3), step=0.3, num_steps=8)
    straight = x + 0.3 * torch.arange(9)[:, None] * basis.v[2]
    assert torch.allclose(shot.x, straight, atol=1e-9)
    assert torch.allclose(shot.retained, torch.ones(9, dtype=torch.float64))


def test_law12_on_a_linear_map_any_tangent_runs_straight_with_pinv():
    f, x = planted_spectrum([3.0, 2.0, 0.5], dim_x=7, dim_h=5), random(0, 7)
    basis = maker(f, 3)(x)
    v = random(1, 3) @ basis.v
    v = v / v.norm()
    shot = shoot(f, x, f.matrix @ v, basis_at=maker(f, 3), step=0.3, num_steps=8, inverse="pinv")
    assert torch.allclose(shot.x, x + 0.3 * torch.arange(9)[:, None] * v, atol=1e-9)
    bent = shoot(f, x, f.matrix @ v, basis_at=maker(f, 3), step=0.3, num_steps=8)
    assert not torch.allclose(bent.x[-1], shot.x[-1], atol=0.1)  # the published form divides by no s


def unit_map_shot(step=0.1, num_steps=60, **options):
    f, x = UnitMap(4), torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
    u = torch.tensor([0.0, 1, 2, 2], dtype=torch.float64) / 3
    return f, x, u, shoot(f, x, u, basis_at=maker(f, 3), step=step, num_steps=num_steps, **options)


def test_law12_on_directions_it_stays_in_the_plane_and_passes_a_quarter_turn():
    f, x, u, shot = unit_map_shot()
    plane = torch.stack([x, u])
    assert torch.allclose(shot.x @ plane.mT @ plane, shot.x, atol=1e-9)
    h = f(shot.x)
    arc = torch.acos((h[1:] * h[:-1]).sum(1).clamp(-1, 1)).sum()
    assert arc > torch.pi / 2
    assert (h @ x).min() < 0
    fixed = f(x + torch.linspace(0, 1000, 50, dtype=torch.float64)[:, None] * u)
    assert (fixed @ x).min() > 0  # a fixed v never gets there


def test_law12_halving_the_step_halves_the_transport_error():
    lost = [float((1 - unit_map_shot(0.2 / n, 10 * n, tolerance=None)[3].retained).sum()) for n in (1, 2, 4)]
    assert lost[0] / lost[1] == pytest.approx(2, abs=0.3)
    assert lost[1] / lost[2] == pytest.approx(2, abs=0.15)
    f, x = planted_null(3, 6, seed=3), random(0, 3)
    u = maker(f, 2)(x).u[0]
    ends = [
        shoot(f, x, u, basis_at=maker(f, 2), step=0.8 / n, num_steps=n, tolerance=None).u[-1] for n in (4, 8, 16, 256)
    ]
    errors = [float((end - ends[-1]).norm()) for end in ends[:-1]]
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.4)
    assert errors[1] / errors[2] == pytest.approx(2, abs=0.4)


def test_steps_are_kept_within_the_linearity_radius():
    f, _, _, shot = unit_map_shot(step=1.0, num_steps=2, max_bases=30)
    assert len(shot.step) > 2
    assert float(shot.step.sum()) == pytest.approx(2.0)
    assert shot.is_complete
    for point, v, step in zip(shot.x, shot.v, shot.step, strict=False):
        assert float(step) <= float(linearity_radius(f, point, v)) * 1.001
    with pytest.warns(NotConvergedWarning, match=r"was to cover 2; it covered .* in 2 steps of its linearity radius"):
        short = unit_map_shot(step=1.0, num_steps=2, max_bases=2)[3]
    assert not short.is_complete


def test_a_warning_names_the_file_of_who_called():
    f, x = UnitMap(3), torch.eye(3, dtype=torch.float64)
    options = {"basis_at": maker(f, 2), "tolerance": 1e-3}
    with pytest.warns(NotConvergedWarning, match="in 1 steps of its linearity radius; raise max_bases, or") as of_shoot:
        shoot(f, x[0], x[1], step=1.0, num_steps=2, max_bases=1, **options)
    with pytest.warns(NotConvergedWarning, match="to cover 1.414; .* in 4 steps .*; raise num_steps, or") as of_towards:
        shoot_towards(f, x[0], x[1], num_steps=1, **options)
    assert [each.filename for each in (*of_shoot, *of_towards)] == [__file__, __file__]


def test_shots_in_step_warn_of_nothing_and_say_themselves_whether_they_are_complete():
    f, x = UnitMap(3), torch.eye(3, dtype=torch.float64)
    walks = [
        shooting(f, x[0], x[1], step=0.5, num_steps=2, tolerance=tolerance, max_bases=2) for tolerance in (1e-3, None)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shots = together(walks, lambda points: [maker(f, 2)(point) for point in points])
    assert [shot.is_complete for shot in shots] == [False, True]


def test_a_walk_that_asks_for_no_basis_is_done_at_once():
    f, x = UnitMap(3), torch.eye(3, dtype=torch.float64)
    shot = shoot(f, x[0], x[1], basis_at=maker(f, 2), step=0.1, num_steps=1)

    def asks(num):
        for _ in range(num):
            yield x[0]
        return shot

    sizes = []

    def bases_at(points):
        sizes.append(len(points))
        return [maker(f, 2)(point) for point in points]

    assert together([asks(0), asks(2), asks(1)], bases_at) == [shot] * 3
    assert sizes == [2, 1]
    assert together([asks(0)], bases_at) == [shot]
    assert together([], bases_at) == []


def test_published_steps_are_taken_as_they_are():
    shot = unit_map_shot(step=1.0, num_steps=2, tolerance=None)[3]
    assert shot.step.tolist() == [1.0, 1.0]
    assert shot.x.shape == (3, 4)
    assert len(shot.bases) == 3


def test_shooting_towards_a_latent():
    f = planted_spectrum([3.0, 2.0], dim_x=2, dim_h=2)
    a, b = random(0, 2), random(1, 2)
    for inverse in ("transpose", "pinv"):
        first = maker(f, 2)(a)
        shot = shoot_towards(f, a, b, basis_at=maker(f, 2), num_steps=30, inverse=inverse)
        assert torch.allclose(shot.v[0], (b - a) / (b - a).norm(), atol=1e-9)
        assert torch.allclose(aimed(first, b - a, inverse=inverse), shot.u[0], atol=1e-9)
        assert len(shot.step) == 30
    assert path_lengths(f, shot.x, shot.bases, target=b).miss < 1e-9
    conv = ConvMap()
    a, b = random(0, 3, 8, 8), random(1, 3, 8, 8)
    shot = shoot_towards(conv, a, b, basis_at=maker(conv, 6), num_steps=4)
    assert 0 < shot.retained_null < 1
    inside = shot.bases[0].v.flatten(1) @ (b - a).flatten() @ shot.bases[0].v.flatten(1)
    assert torch.allclose(shot.v[0].flatten(), inside / inside.norm(), atol=1e-9)
    assert path_lengths(conv, shot.x, shot.bases, target=b).miss > 0.3


def test_errors():
    f, x = UnitMap(3), random(0, 3)
    with pytest.raises(OptionError, match="step > 0 and num_steps >= 1; got -1 and 3; use -u"):
        shoot(f, x, x, basis_at=maker(f, 2), step=-1, num_steps=3)
    for first in (None, maker(f, 2)(x)):
        walk = shooting(f, x, x, step=1, num_steps=3, first=first, max_bases=0)
        with pytest.raises(OptionError, match="max_bases >= 1, or None; got 0; None allows 4 num_steps of them"):
            together([walk], lambda points: [maker(f, 2)(point) for point in points])
    with pytest.raises(OptionError, match="num_steps >= 1; got 0; 30, as published"):
        shoot_towards(f, x, -x, basis_at=maker(f, 2), num_steps=0)
    with pytest.raises(ShapeError, match="shoot one sample at a time"):
        shoot(f, x[None], x, basis_at=maker(f, 2), step=1, num_steps=3)
    with pytest.raises(NumericalError, match="two different latents; got the same twice"):
        shoot_towards(f, x, x, basis_at=maker(f, 2))
    with pytest.raises(NumericalError, match="a v with a part in the tangent space; got one orthogonal to it"):
        aimed(maker(f, 1)(x), torch.zeros(3, dtype=torch.float64))
