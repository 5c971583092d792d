import math
from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler

from pullback.errors import ModelError, OptionError
from pullback.models import FlowSchedule, KarrasSchedule, VPSchedule, schedule_of

VP = VPSchedule.from_betas(torch.linspace(1e-4, 0.02, 1000))


def test_variance_preserving():
    scheduler = DDIMScheduler(beta_schedule="linear")
    schedule, prediction = schedule_of(scheduler)
    assert prediction == "epsilon"
    assert schedule.num_train_timesteps == 1000
    for t in (0, 500, 999):
        assert schedule.abar(t) == pytest.approx(float(scheduler.alphas_cumprod[t]), abs=1e-12)
        assert schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2 == pytest.approx(1, abs=1e-15)
    assert (schedule.alpha(None), schedule.sigma(None)) == (1.0, 0.0)


def test_fractions():
    assert [VP.timestep(share) for share in (0, 0.8, 1)] == [0, 800, 999]
    assert FlowSchedule().timestep(0.8) == 800
    karras = KarrasSchedule()
    assert karras.timestep(1) == pytest.approx(80)
    assert karras.timestep(0) == pytest.approx(0.002)
    for schedule, t in ((VP, 800), (FlowSchedule(), 333.5), (karras, 1.7)):
        assert schedule.timestep(schedule.fraction(t)) == pytest.approx(t)


def test_flow_and_karras_levels():
    assert (FlowSchedule().alpha(250), FlowSchedule().sigma(250)) == (0.75, 0.25)
    assert (KarrasSchedule().alpha(5), KarrasSchedule().sigma(5)) == (1.0, 5.0)
    assert KarrasSchedule().abar(1) == 0.5
    assert schedule_of(FlowMatchEulerDiscreteScheduler())[1] == "flow"


@pytest.mark.parametrize("schedule", [VP, FlowSchedule(), KarrasSchedule()])
@pytest.mark.parametrize("until", [None, 0.3])
def test_steps_go_down_and_end_where_they_should(schedule, until):
    t, end = schedule.timestep(0.9), None if until is None else schedule.timestep(until)
    steps = schedule.steps(t, 7, end)
    assert len(steps) == 7
    assert steps[0][0] == t
    assert steps[-1][1] is None if end is None else math.isclose(steps[-1][1], end)
    assert all(there is None or there < here for here, there in steps)
    assert all(first[1] == second[0] for first, second in pairwise(steps))


def test_an_integer_schedule_runs_out_of_steps():
    assert VP.steps(2, 50) == [(2, 1), (1, 0), (0, None)]


def test_errors():
    with pytest.raises(OptionError, match=r"t an integer; got t = 3.5; this model was trained at integer timesteps"):
        VP.alpha(3.5)
    with pytest.raises(OptionError, match=r"t an integer between 0 and 999; got t = -1;"):
        VP.alpha(-1)
    with pytest.raises(OptionError, match=r"t a number between 0.002 and 80; got t = 100;"):
        KarrasSchedule().sigma(100)
    with pytest.raises(OptionError, match=r"t a number between 0 and 1000; got t = nan;"):
        FlowSchedule().sigma(math.nan)
    with pytest.raises(OptionError, match="num_steps >= 1; got 0;"):
        VP.steps(500, 0)
    with pytest.raises(OptionError, match="until below t = 500; got until = 600; to add noise, use invert or noise"):
        VP.steps(500, 5, 600)
    with pytest.raises(ModelError, match=r"alphas_cumprod of shape \(T,\), falling, between 0 and 1; got shape \(2,\)"):
        VPSchedule(torch.tensor([0.1, 0.9]))
    with pytest.raises(
        ModelError, match="a scheduler with alphas_cumprod, or a flow-matching one; got EDMEulerScheduler"
    ):
        schedule_of(EDMEulerScheduler())
