import pytest
import torch

from pullback.api import contest as module
from pullback.api import discover, load
from pullback.api.contest import METHODS, SOURCES, ContestSettings, comparison_rows, contest
from pullback.errors import OptionError
from pullback.models.untrained import untrained_like
from pullback.portraits.judge import load_judge


@pytest.fixture(scope="module")
def found():
    model = load("portraits")
    return model, discover(model, num_samples=2, num_held_out=1, rank=2, num_steps=4, tol=1e-1)


@pytest.fixture(scope="module")
def judge():
    return load_judge()


def test_every_method_goes_through_the_same_measurement(found, judge, monkeypatch):
    for name in ("NUM_GATE", "NUM_KNOWN", "NUM_PCA"):
        monkeypatch.setattr(module, name, 8)
    methods = (*SOURCES, "random x", "ours transported", "ours pinv", "random h transported")
    results = contest(*found, ContestSettings(methods, num_held_out=2, num_tuning=2, num_steps=1), judge=judge)
    assert [result.method for result in results] == list(methods)
    assert all(result.effects.odd.shape[1:] == (2, 16) for result in results)
    assert len({result.effects.odd.tobytes() for result in results}) == len(methods)
    rows = comparison_rows(results)
    assert [row.is_ours for row in rows] == [method == "ours" for method in methods]
    assert {"D@12", "D@12 null", "purity", "transfer", "pass rate"} <= set(rows[0].figures)


def test_untrained_network_shares_nothing_but_the_architecture(found):
    network = found[0].network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    first, again, other = untrained_like(network), untrained_like(network), untrained_like(network, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    name = "mid_block.resnets.0.conv1.weight"
    assert torch.equal(first.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(first.state_dict()[name], before[name])
    assert not torch.equal(first.state_dict()[name], other.state_dict()[name])


def test_every_source_of_h_goes_with_every_move():
    assert len(METHODS) == len(set(METHODS)) == 3 * len(SOURCES) + 1
    assert {"ours", "ours transported", "supervised pinv", "random network transported", "random x"} < set(METHODS)


def test_unknown_method_is_named():
    with pytest.raises(OptionError, match="methods among ours, rotated"):
        ContestSettings(methods=("theirs",))
