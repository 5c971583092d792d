import pytest
import torch

from pullback.models import toy_denoiser
from pullback.models.counting import counted


def test_whole_passes_and_those_that_a_feature_map_leaves_early_are_told_apart():
    model = toy_denoiser()
    x = model.draw(range(3))
    f = model.feature_map(t_fraction=0.8)
    with counted(model.network) as passes:
        model.predict(x, 800)
        f(x[:2])
    assert (passes.started, passes.finished, passes.early) == (5, 3, 2)
    f(x)
    assert passes.started == 5


def test_samples_that_are_given_by_keyword_count(build):
    model, cond = build("sd3", dtype=torch.float32)
    with counted(model.network) as passes:
        model.predict(model.draw(range(2)), 1.0, cond)
    assert passes.finished == 2


def test_hooks_are_gone_after_an_error():
    net = torch.nn.Linear(2, 1)
    with pytest.raises(RuntimeError, match="shapes"), counted(net):
        net(torch.zeros(2, 3))
    assert not net._forward_hooks
    assert not net._forward_pre_hooks
