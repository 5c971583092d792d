"""How diffusers networks are called: one function for most, one for Flux, whose input is tokens."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pullback.errors import ModelError
from pullback.models.conditions import Condition, expand
from pullback.models.schedule import Time


def call_diffusers(network: nn.Module, x: Tensor, t: Time, cond: Condition | None) -> Tensor:
    """Return the output `(B, C, H, W)` of a diffusers network: ``network(x, timestep=t, **inputs)``.

    ``x`` `(B, C, H, W)`; ``t`` is given to every row, as an integer tensor where it is an int.

    Raises:
        ModelError: If ``cond`` is not a ``Condition``, or None for a network that needs text.
    """
    return network(x, timestep=_timesteps(t, x), **_inputs(network, cond, x), return_dict=False)[0]


def call_flux(network: nn.Module, x: Tensor, t: Time, cond: Condition | None) -> Tensor:
    """Return the output `(B, C, H, W)` of a Flux transformer for ``x`` `(B, C, H, W)`.

    Each 2 x 2 patch of the latent is one token with 4 C channels, its place goes in as ``img_ids``,
    and time as a fraction of 1000. ``cond`` holds ``encoder_hidden_states`` and
    ``pooled_projections``, and ``guidance`` for distilled weights.
    """
    inputs = _inputs(network, cond, x)
    patches = functional.pixel_unshuffle(x, 2)  # (B, 4C, H/2, W/2)
    height, width = patches.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([torch.zeros_like(rows), rows, columns], -1).reshape(-1, 3).to(x)  # (N, 3)
    tokens = network(
        hidden_states=patches.flatten(2).transpose(1, 2),  # (B, N, 4C)
        timestep=_timesteps(float(t) / 1000, x),
        img_ids=places,
        txt_ids=places.new_zeros(inputs["encoder_hidden_states"].shape[1], 3),
        return_dict=False,
        **inputs,
    )[0]
    return functional.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (height, width)), 2)


def _inputs(network: Any, cond: object, x: Tensor) -> dict[str, Any]:
    if cond is None and any(network.config.get(f"{kind}_attention_dim") for kind in ("cross", "joint")):
        raise ModelError(
            wanted=f"a condition for {type(network).__name__}, which attends to text",
            got="None, and no text encoder to make the empty prompt with",
            hint='pass cond=Condition({"encoder_hidden_states": tensor of shape (1, L, E), ...}), or load a pipeline',
        )
    if cond is not None and not isinstance(cond, Condition):
        raise ModelError(
            wanted="a Condition or None",
            got=type(cond).__name__,
            hint="make one with model.cond(prompt=...), cond(label=...) or Condition(inputs)",
        )
    return {} if cond is None else expand(cond.inputs, x)


def _timesteps(t: Time, x: Tensor) -> Tensor:
    dtype = torch.long if isinstance(t, int) else torch.float32
    return torch.full((x.shape[0],), t, dtype=dtype, device=x.device)
