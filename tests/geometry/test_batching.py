"""How many samples go together: as many as fill the device, and as its memory holds."""

import pytest
import torch

from pullback.errors import MemoryWarning, NoMemoryError
from pullback.geometry import as_feature_map, batching
from pullback.geometry.batching import fitting_batch, free_bytes, graph_bytes, plan_and_batch
from pullback.testing import ConvMap


class Deep(torch.nn.Module):
    """Layers one after the other, each of which autograd keeps as many values of; wide weights besides."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(64, 64) for _ in range(depth))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x


def test_graphs_grow_with_the_depth_and_weights_do_not_count() -> None:
    x = torch.randn(1, 64, generator=torch.Generator().manual_seed(0))
    held = [graph_bytes(as_feature_map(Deep(depth), x), x) for depth in (2, 4, 8)]
    assert held[2] - held[1] == 2 * (held[1] - held[0]) > 0
    assert held[2] < 4 * 64 * 8 * 10, "a few values of each layer, not its 64 x 64 weights"


def test_a_batch_halves_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    f, x = ConvMap(), torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    each = graph_bytes(f, x)
    assert each > 0
    for free, wanted in ((1 << 40, 8), (2 * 200 * each, 8), (1, 1)):
        monkeypatch.setattr(batching, "free_bytes", lambda _, free=free: free)
        assert fitting_batch(f, x, rank=2) == wanted
    monkeypatch.setattr(batching, "graph_bytes", lambda *_: 1000)
    monkeypatch.setattr(batching, "expected_krylov_bytes", lambda *_, **__: 500)
    for free, wanted in ((24_000, 8), (23_999, 4), (12_000, 4), (11_999, 2), (5_999, 1)):
        monkeypatch.setattr(batching, "free_bytes", lambda _, free=free: free)
        assert fitting_batch(f, x, rank=2) == wanted
    monkeypatch.setattr(batching, "free_bytes", lambda _: 1 << 40)
    assert fitting_batch(f, x, rank=2, most=5) == 5


def test_a_sample_whose_graphs_are_too_much_goes_alone() -> None:
    def cramped(x: torch.Tensor) -> torch.Tensor:
        if len(x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x.tanh()

    x = torch.zeros(1, 3)
    assert fitting_batch(cramped, x, rank=1) == 1
    with pytest.raises(
        NoMemoryError, match="memory for the graphs of two samples; got CUDA out of memory; compute one"
    ):
        graph_bytes(as_feature_map(cramped, x), x)


def test_what_has_no_graph_is_left_to_the_first_product() -> None:
    x = torch.zeros(1, 3)
    assert graph_bytes(as_feature_map(lambda x: x.detach() * 2, x), x) == 0


def test_a_plan_is_measured_at_as_many_samples_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    inner, seen = ConvMap(), []

    def cramped(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        if len(x) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inner(x)

    f = as_feature_map(cramped, torch.zeros(1, 3, 8, 8, dtype=torch.float64))
    x = torch.zeros(8, 3, 8, 8, dtype=torch.float64)
    with pytest.warns(MemoryWarning) as warned:
        plan, batch = plan_and_batch(f, x, rank=2)
    assert [str(each.message).removeprefix("out of memory ") for each in warned] == [
        "with 8 samples together; going on with 4",
        "with 4 samples together; going on with 2",
    ]
    assert batch == 2
    assert plan.seconds_per_jvp is not None
    assert plan_and_batch(ConvMap(), x, rank=2)[1] == 8


def test_memory_is_free_somewhere() -> None:
    assert free_bytes(torch.device("cpu")) > 1 << 20
