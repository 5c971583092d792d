import pytest
import torch
from torch import nn

from pullback.errors import LayerError
from pullback.models import find_layer
from pullback.models.layers import read_output


def blocks(num):
    return nn.ModuleList(nn.Linear(2, 2) for _ in range(num))


class Network(nn.Module):
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ({"mid_block": nn.Linear(2, 2), "down_blocks": blocks(3)}, "mid_block"),
        ({"mid_block": None, "down_blocks": blocks(3)}, "down_blocks.2"),
        ({"down_blocks": nn.ModuleList([blocks(1), blocks(4)])}, "down_blocks.1.3"),
        ({"blocks": blocks(28), "heads": blocks(3)}, "blocks.13"),
        ({"transformer_blocks": blocks(19), "single_transformer_blocks": blocks(38)}, "transformer_blocks.18"),
        ({"transformer_blocks": blocks(24)}, "transformer_blocks.11"),
    ],
    ids=["mid block", "last down block", "last of a down level", "middle", "last double stream", "middle of 24"],
)
def test_the_layer_is_chosen_in_the_stated_order(parts, path):
    network = Network(**parts)
    assert find_layer(network)[0] == path
    assert find_layer(network)[1] is network.get_submodule(path)
    other = next(name for name, module in network.named_modules() if isinstance(module, nn.Linear))
    assert find_layer(network, other)[0] == other


def test_the_first_tensor_counts_unless_two_streams_come_out():
    class Joint(nn.Module):
        def forward(self, hidden_states, encoder_hidden_states):
            return encoder_hidden_states, hidden_states

    text, image, skips = torch.zeros(1, 2, 3), torch.ones(1, 4, 3), (torch.zeros(1),)
    joint = Joint()
    assert read_output((text, image), joint) is image
    joint.forward = lambda *args: None  # an offloading wrapper that hides the signature
    assert read_output((text, image), joint) is image
    assert read_output((image, skips), joint) is image
    assert read_output((text, image), nn.Identity()) is text
    with pytest.raises(
        LayerError, match=r"a layer that returns a tensor; got dict from Identity; choose a layer whose"
    ):
        read_output({}, nn.Identity())
