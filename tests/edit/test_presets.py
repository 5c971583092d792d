import dataclasses
import inspect

import pytest
import torch

from pullback.directions import Direction
from pullback.edit import edit, x_guidance
from pullback.edit.presets import PARK2023, PARK2023_NEURIPS, REPORTED_PATHS, preset
from pullback.edit.window import Boost
from pullback.errors import OptionError
from pullback.geometry.power import MIN_ITERATIONS, power_iteration
from pullback.models import toy_denoiser


def test_the_first_paper():
    found = preset("park2023")
    assert found is PARK2023
    assert (found.arxiv, found.pool, found.layer) == ("2302.12469", "sum", "mid_block")
    assert (found.rank_share, found.kappa, found.normalise) == (0.5, 0.99, "original")
    assert found.global_t_fraction == 1.0
    assert dict(found.rank_reported) == {1.0: 25, 0.0: 100}


def test_the_second_paper():
    found = preset("park2023-neurips")
    assert found is PARK2023_NEURIPS
    assert (found.arxiv, found.pool) == ("2307.12868", "none")
    assert (found.rank_edit, found.rank_analysis) == (2, 50)
    assert dataclasses.astuple(found.solver) == (1e-4, 50, 10, 25)
    assert (found.solver_library.atol, found.solver_library.max_iterations) == (1e-3, 100)
    celeba = found.guidance["celebahq-256"]
    assert (celeba.step, celeba.weight, celeba.num_iterations, celeba.t_fractions) == (1.0, 0.1, 16, (1.0, 0.8, 0.6))
    plain = found.guidance["stable-diffusion-2.1-base"]
    assert (plain.step, plain.weight, plain.num_iterations, plain.t_fractions) == (1.0, 1.0, 16, (0.7, 0.6))
    assert found.guidance["stable-diffusion-2.1-base, with a prompt"].num_iterations == 64


def test_published_guidance_is_run_with_its_own_weight():
    den = toy_denoiser(dtype=torch.float64)
    settings = preset("park2023-neurips").guidance["celebahq-256"]
    x, f = den.draw([0]), den.feature_map(t=600)
    v = torch.randn(x[0].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    v = v / v.norm()
    published = x_guidance(den, x, 600, v, weight=settings.weight, num_iterations=settings.num_iterations)
    along, how = Direction(v, "X", dict(f.origin)), {"method": "x_guidance", "guidance": settings, "num_steps": 1}
    made = edit(den, x[0], 600, along, [1], f=f, unit=settings.weight, **how)
    assert torch.allclose(made.x_t, published, atol=1e-10)
    calibrated = edit(den, x[0], 600, along, [1], f=f, distance=5.0, **how)
    assert not torch.allclose(calibrated.x_t, published, rtol=1e-3)


def test_the_reported_path_lengths():
    assert dict(REPORTED_PATHS.reported) == {"lerp": (10.29, 0.87), "slerp": (7.69, 0.76), "shooting": (5.98, 0.76)}
    assert (REPORTED_PATHS.num_segments, REPORTED_PATHS.num_pairs) == (30, 50)


@pytest.mark.parametrize("found", [PARK2023, PARK2023_NEURIPS], ids=lambda each: each.name)
def test_what_both_papers_share_stands_in_both(found):
    assert found.paths is REPORTED_PATHS
    assert (found.eta_last, found.boost_share) == (1.0, 0.2)
    assert Boost().share == found.boost_share


def test_presets_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PARK2023.kappa = 0.5
    with pytest.raises(TypeError):
        PARK2023_NEURIPS.guidance["celebahq-256"] = None


def test_what_the_solver_runs_is_what_the_preset_says():
    published = PARK2023_NEURIPS.solver
    defaults = inspect.signature(power_iteration).parameters
    assert defaults["max_iterations"].default == published.max_iterations
    assert defaults["atol"].default == published.atol
    assert published.min_iterations == MIN_ITERATIONS


def test_an_unknown_preset():
    with pytest.raises(OptionError, match="a preset among park2023, park2023-neurips; got 'park'"):
        preset("park")
