"""Two models on the same latents: what was taken away is found, and nothing is where nothing was."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pullback.api import load
from pullback.api.compare import compare
from pullback.api.model import Model
from pullback.directions import Direction
from pullback.edit import typical_distance
from pullback.errors import MismatchError, OptionError, RankError, ShapeError
from pullback.geometry import Plan
from pullback.measure.compare import angles_between, responses
from pullback.models import VPSchedule, toy_denoiser, wrap_module
from pullback.models.toy import gaussian_denoiser

T, RANK, NUM = 0.8, 8, 8
PLAN = Plan.fixed(chunk=16)


class Net(nn.Module):
    """``h = tanh(.03 W x)`` and a decoder; W has planted singular values, and h has coordinates of its training run."""

    def __init__(self, s: Sequence[float], *, run: int = 0) -> None:
        super().__init__()
        shared, own = (torch.Generator().manual_seed(seed) for seed in (7, 100 + run))
        right = torch.linalg.qr(torch.randn(48, len(s), generator=shared))[0]
        left = torch.linalg.qr(torch.randn(24, 24, generator=own))[0][:, : len(s)]  # no two runs agree on these
        self.inside, self.outside = nn.Linear(48, 24, bias=False), nn.Linear(24, 48, bias=False)
        self.mid_block = nn.Tanh()
        with torch.no_grad():
            self.inside.weight.copy_(0.03 * (left * torch.tensor(s)) @ right.mT)
            self.outside.weight.copy_((right @ left.mT) / 5)

    def forward(self, x: Tensor, t: float) -> Tensor:
        return self.outside(self.mid_block(self.inside(x.flatten(1)))).reshape(x.shape)


FULL = (3.0, 2.6, 2.2, 1.9, 1.6, 1.35, 1.1, 0.9, 0.4, 0.3)
BLIND = (3.0, 2.6, 0.1, 1.9, 1.6, 1.35, 1.1, 0.9, 0.4, 0.3)
OTHER_RUN = (2.7, 2.8, 2.0, 2.0, 1.5, 1.5, 1.0, 1.0, 0.5, 0.2)


def planted(s: Sequence[float], *, run: int = 0) -> Model:
    schedule = VPSchedule.from_betas(torch.linspace(1e-4, 0.02, 1000))
    return load(
        wrap_module(
            Net(s, run=run),
            schedule=schedule,
            prediction="epsilon",
            x_shape=(3, 4, 4),
            call=lambda network, x, t, cond: network(x, t),
        )
    )


@pytest.fixture(scope="module")
def model() -> Model:
    return planted(FULL)


def settings(**changes: object) -> dict:
    return {
        "num_samples": NUM,
        "t_fractions": (T,),
        "rank": RANK,
        "plan": PLAN,
        "with_pictures": False,
        **changes,
    }


def test_a_model_is_equal_to_itself(model: Model) -> None:
    (step,) = compare(model, model, **settings())
    assert max(step.angles.in_x) < 1e-3
    assert max(step.angles.in_h) < 1e-3
    assert all(each.share == pytest.approx(1, abs=1e-4) for each in step.vanished.responses)
    assert step.vanished.missing == step.appeared.missing == ()
    assert max(step.angles.other_sample) > 1e-4


@pytest.mark.parametrize("run", [0, 1])
def test_what_was_taken_away_is_found_and_only_that(run: int, model: Model) -> None:
    """Whether the other model was made out of the first, or trained by itself."""
    blind = planted(BLIND, run=run)
    (step,) = compare(model, blind, **settings())
    (gone,) = step.vanished.missing
    assert step.appeared.missing == ()
    assert step.vanished.responses[gone].share < 0.2
    (back,) = compare(blind, model, **settings())
    assert back.vanished.missing == ()
    assert len(back.appeared.missing) == 1


def test_the_missing_direction_is_the_planted_one(model: Model) -> None:
    (step,) = compare(model, planted(BLIND), **settings(with_pictures=True))
    assert step.vanished.missing[0] == 2, "directions come by falling s, and the third was planted"
    assert next(iter(step.vanished.strips)) == 2
    assert step.vanished.strips[2].shape == (2, 4, 3, 4, 4, 3)
    assert not np.array_equal(step.vanished.strips[2][0, :, 0], step.vanished.strips[2][0, :, 2])


def test_pictures_move_h_as_far_along_directions_that_are_nearly_one(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of such a pair each has hardly a response of its own, and still moves h by all of J v."""
    import pullback.api.compare as module

    found = module.global_directions

    def leaning(*arguments: Any, **keywords: Any) -> list[Direction]:
        first, second, *rest = found(*arguments, **keywords)
        vector = first.vector + 0.02 * second.vector
        return [first, dataclasses.replace(second, vector=vector / vector.norm()), *rest]

    def recorded(models: Any, f: Any, x: Tensor, v: Tensor, step: Tensor, walk: int) -> np.ndarray:
        moved = f(x + 0.1 * step.to(x)[:, None, None, None] * v) - f(x)
        ratios.append(10 * moved.flatten(1).norm(dim=1) / (0.1 * typical_distance(f, x)))
        return np.zeros(0)

    ratios: list[Tensor] = []
    monkeypatch.setattr(module, "global_directions", leaning)
    monkeypatch.setattr(module, "NUM_PICTURED", RANK)
    monkeypatch.setattr(module, "_strip", recorded)
    compare(model, model, **settings(with_pictures=True))
    assert len(ratios) == 2 * RANK
    torch.testing.assert_close(torch.stack(ratios), torch.ones(2 * RANK, NUM), rtol=0.1, atol=0)


@pytest.mark.parametrize("run", range(3))
def test_two_training_seeds_raise_no_alarm(run: int, model: Model) -> None:
    (step,) = compare(model, planted(OTHER_RUN, run=run), **settings())
    assert step.vanished.missing == step.appeared.missing == ()
    assert max(step.angles.in_x) < 0.3, "the same x matters to both"
    assert min(step.angles.in_h[4:]) > 0.3 or run == 0, "their h are strangers"


def test_rounded_weights_and_untrained_networks_raise_no_alarm() -> None:
    whole, rounded = load(toy_denoiser()), load(toy_denoiser())
    with torch.no_grad():
        for parameter in rounded.network.parameters():
            parameter.copy_(parameter.half().float())
    (step,) = compare(whole, rounded, **settings())
    assert step.vanished.missing == step.appeared.missing == ()
    assert max(step.angles.in_x) < 0.1
    (step,) = compare(whole, load(toy_denoiser(seed=1)), **settings())
    assert step.vanished.missing == step.appeared.missing == ()


def test_a_second_comparison_computes_no_basis(model: Model, tmp_path: Path) -> None:
    other = planted(OTHER_RUN, run=1)
    first = compare(model, other, bank=tmp_path, **settings(t_fractions=(T, 0.5)))
    again = compare(model, other, bank=tmp_path, **settings(t_fractions=(T, 0.5)))
    assert all(step.num_products > 0 for step in first)
    assert [step.num_products for step in again] == [0, 0]
    assert [step.angles for step in first] == [step.angles for step in again]


def test_latents_of_other_shapes_are_refused(model: Model) -> None:
    with pytest.raises(ShapeError, match=r"two models with latents \(3, 4, 4\); got \(1, 4, 4\)"):
        compare(model, gaussian_denoiser(), **settings())


def test_models_of_another_noise_schedule_are_refused(model: Model) -> None:
    other = planted(FULL)
    other.schedule = VPSchedule.from_betas(torch.linspace(1e-4, 0.03, 1000))
    with pytest.raises(MismatchError, match=r"as much signal and noise at t/T 0\.8, .*; got .*; what A makes"):
        compare(model, other, **settings())


@pytest.mark.parametrize(("changes", "error"), [({"num_samples": 1}, OptionError), ({"rank": 0}, RankError)])
def test_what_cannot_be_compared_is_refused_before_any_work(
    changes: dict, error: type[Exception], model: Model
) -> None:
    before = model.num_calls
    with pytest.raises(error):
        compare(model, model, **settings(**changes))
    assert model.num_calls == before


def test_responses_of_planted_gains() -> None:
    generator = torch.Generator().manual_seed(0)
    own = torch.rand(10, 12, generator=generator) + 1
    noise = (0.1 * torch.randn(10, 12, generator=generator)).exp()
    other = 7 * own * noise  # another scale of h altogether
    other[4] *= 0.1
    other[6] *= 0.6  # weaker, and not missing
    found = responses(own, other, generator=generator)
    assert [each.index for each in found if each.is_missing] == [4]
    assert found[4].share == pytest.approx(0.1, rel=0.3)
    assert all(each.low <= each.share <= each.high for each in found)
    assert not any(each.is_missing for each in responses(own[:2], other[3:5], generator=generator))
    assert [each.index for each in responses(own, other * 0, generator=generator) if each.is_missing] == []


def test_angles_need_two_samples(model: Model) -> None:
    with pytest.raises(OptionError, match="two samples or more"):
        angles_between([], [], t=0, generator=torch.Generator())


def test_the_command_writes_a_page_that_loads_nothing(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pullback.cli import main

    words = ["compare", str(toy_folder), str(toy_folder), "--out", str(tmp_path), "--samples", "3", "--rank", "3"]
    assert main([*words, "--t-fractions", "0.8", "--steps", "3"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'compare.html'}\n"
    assert "plan\n  bases     6 of rank 3, 3 samples of both models at t/T 0.8: about " in captured.err
    assert f"  writes    compare.html and compare.json to {tmp_path}; bases in its bank, up to " in captured.err
    assert "No direction vanished from A to B, and none appeared." in captured.err
    page = (tmp_path / "compare.html").read_text()
    assert "http" not in page and "src=" in page
    assert page.count("<img ") == page.count("data:image/webp") == 2 * 2 * 3 + 2 * 2
    assert page.count("the other draws least, it draws 1.00") == 2
    assert page.count("<polyline") == 4
    record = json.loads((tmp_path / "compare.json").read_text())
    assert len(record["steps"][0]["vanished"]) <= 3
    assert {side: lack["is_missing"] for side, lack in record["steps"][0]["drawn"].items()} == {
        "vanished": False,
        "appeared": False,
    }
    assert (tmp_path / "bank" / "run.json").is_file()
    assert main([*words, "--t-fractions", "0.8", "--steps", "3"]) == 0
    assert " at a time, as its bank was begun), 3 samples together, " in capsys.readouterr().err
