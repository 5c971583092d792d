"""Eight planted broken maps, each caught by the check that names its cause; sound maps pass."""

import pytest
import torch
from torch import nn

from pullback.testing import ConvMap, FeatureMapError, UnitMap, check_feature_map, planted_null, planted_spectrum


class Wrapped:
    """A sound map to be broken in one place."""

    def __init__(self):
        self.inner = ConvMap()
        self.net = self.inner.net
        self.x_shape, self.h_shape = self.inner.x_shape, self.inner.h_shape
        self.dtype, self.device, self.origin = self.inner.dtype, self.inner.device, self.inner.origin

    def __call__(self, x):
        return self.inner(x)

    def forward_mode(self):
        return self.inner.forward_mode()

    def parameters(self):
        return self.inner.parameters()


class Stochastic(Wrapped):
    def __call__(self, x):
        return self.inner(x) + 1e-6 * torch.randn_like(self.inner(x))


class WrongT(Wrapped):
    def __call__(self, x):
        return self.inner(0.8 * x)  # the scaling of another timestep


class Detached(Wrapped):
    def __call__(self, x):
        return self.inner(x.detach())  # its trainable weights still make a graph, which does not lead to x


class HalfDetached(Wrapped):
    def __call__(self, x):
        return self.inner(x) + self.inner(x.detach() ** 2)


class InPlace(Wrapped):
    def __call__(self, x):
        return self.inner(x.mul_(0.5))


class BatchMixing(Wrapped):
    def __call__(self, x):
        return self.inner(x - x.mean(0))


class WrongDtype(Wrapped):
    def __call__(self, x):
        return self.inner(x).float()


class HookLeftBehind(Wrapped):
    def __call__(self, x):
        self.net[0].register_forward_hook(lambda *_: None)
        return self.inner(x)


class HookLeftBehindByAnError(Wrapped):
    def __call__(self, x):
        hook = self.net[0].register_forward_hook(lambda *_: None)
        h = self.inner(x)
        hook.remove()
        return h


class ModeChanged(Wrapped):
    def __call__(self, x):
        self.net.eval()
        return self.inner(x)


class NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, *_):
        raise NotImplementedError("planted: no derivative")


class NotDifferentiable(Wrapped):
    def __call__(self, x):
        return NoBackward.apply(self.inner(x))


class Rounded(Wrapped):
    def __call__(self, x):
        return (self.inner(x) * 8).round() / 8


class WrongShape(Wrapped):
    def __call__(self, x):
        return self.inner(x).flatten(1)


class NotFinite(Wrapped):
    def __call__(self, x):
        return self.inner(x) / 0


class FalseRule(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        return None

    @staticmethod
    def backward(ctx, g):
        return 2 * g  # forward says 1

    @staticmethod
    def jvp(ctx, v):
        return v.clone()


class AdjointBroken(Wrapped):
    def __call__(self, x):
        return FalseRule.apply(self.inner(x))


def latents(f, num=2):
    return torch.randn(num, *f.x_shape, generator=torch.Generator().manual_seed(5), dtype=f.dtype)


EIGHT = {
    Stochastic: "deterministic",
    WrongT: "reference",
    Detached: "attached",
    InPlace: "input_kept",
    BatchMixing: "batch",
    WrongDtype: "dtype",
    HookLeftBehind: "state_kept",
    NotDifferentiable: "products",
}
FURTHER = {
    HookLeftBehindByAnError: "state_kept",
    ModeChanged: "state_kept",
    HalfDetached: "derivative",
    Rounded: "derivative",
    WrongShape: "shape",
    NotFinite: "finite",
    AdjointBroken: "adjoint",
}


@pytest.mark.parametrize(("broken", "check"), [*EIGHT.items(), *FURTHER.items()])
def test_a_broken_map_is_caught_by_the_right_check(broken, check):
    f = broken()
    with pytest.raises(FeatureMapError) as caught:
        check_feature_map(f, latents(f), reference=ConvMap())
    assert caught.value.check == check
    assert str(caught.value).startswith(f"{check}: ")
    assert len(str(caught.value).split("; ")) >= 3


def test_eight_are_planted():
    assert len(EIGHT) == 8


@pytest.mark.parametrize(
    "f",
    [
        ConvMap(),
        ConvMap(dtype=torch.float32),
        ConvMap(pool=True),
        UnitMap(5),
        planted_null(6, 4),
        planted_spectrum([2.0, 1.0], dim_x=5, dim_h=4),
    ],
    ids=lambda f: type(f).__name__,
)
def test_sound_maps_pass_and_the_report_is_a_table(f):
    report = check_feature_map(f, latents(f, 3), reference=f)
    assert [line.split()[0] for line in str(report).splitlines()] == [result.name for result in report.results]
    assert all(result.figure <= result.tolerance for result in report.results)
    assert len(report.results) == 13


def test_a_module_is_a_map_too_and_its_hooks_are_watched():
    net = nn.Sequential(nn.Linear(4, 3), nn.Tanh()).double()
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    check_feature_map(net, x)

    def leaky(x):
        net[0].register_forward_hook(lambda *_: None)
        return net(x)

    with pytest.raises(FeatureMapError, match="state_kept: the network must come back as it was"):
        check_feature_map(leaky, x, module=net)


def test_dropout_and_batch_norm_left_in_training_mode():
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    with pytest.raises(FeatureMapError, match=r"deterministic: two calls .* eval\(\), no dropout"):
        check_feature_map(nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5)), x)
    with pytest.raises(FeatureMapError, match=r"batch: a sample must not depend .* ValueError for a batch of one"):
        check_feature_map(nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6, track_running_stats=False)), x)


def test_error_one_latent_is_not_enough():
    f = ConvMap()
    with pytest.raises(FeatureMapError, match=r"two different latents, shape \(2, 3, 8, 8\); got \(1, 3, 8, 8\)"):
        check_feature_map(f, latents(f, 1))


def test_toy_jacobians_are_right():
    for f in (UnitMap(5), planted_null(6, 4), planted_spectrum([2.0, 1.0], dim_x=5, dim_h=4), ConvMap()):
        x = latents(f)[0]
        numeric = torch.autograd.functional.jacobian(lambda p, f=f: f(p[None])[0].flatten(), x).flatten(1)
        assert torch.allclose(f.jacobian(x), numeric, atol=1e-12)
