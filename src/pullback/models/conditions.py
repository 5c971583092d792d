"""Conditions: what a network is told besides x and t, and which guidance its predictions get."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pullback.errors import ModelError, OptionError, ShapeError

Inputs = Mapping[str, Any]  # keyword of the network -> tensor (1, ...) or a mapping of such tensors


@dataclass(frozen=True, eq=False)
class Condition:
    """Keyword inputs of a network, kept with one row and expanded to the batch when it runs.

    With ``guidance`` w != 1, predictions are classifier-free guided (2207.12598):
    ``p = p(unconditional) + w (p(conditional) - p(unconditional))``. This holds alike for noise,
    velocity, clean sample and flow, which at given x are affine in one another. **A feature map
    always sees the conditional pass alone**: guidance mixes outputs, not features.

    Attributes:
        inputs: What the network gets; every tensor of shape `(1, ...)`.
        unconditional: The same without the condition; needed when ``guidance != 1``.
        guidance: w, 1 for none.
        text: The words or the label it was made from, for people.
    """

    inputs: Inputs
    unconditional: Inputs | None = None
    guidance: float = 1.0
    text: str = ""

    def __post_init__(self) -> None:
        if self.guidance != 1 and self.unconditional is None:
            raise OptionError(
                wanted="unconditional inputs for guidance other than 1",
                got=f"guidance = {self.guidance} without them",
                hint="give negative= (a prompt or a label), or guidance=1",
            )

    @property
    def is_guided(self) -> bool:
        """Whether a prediction takes both passes."""
        return self.guidance != 1

    def conditional(self) -> "Condition":
        """Return the condition without guidance: what a feature map is told."""
        return replace(self, unconditional=None, guidance=1.0)

    def check(self) -> "Condition":
        """Return the condition, if every input has one row.

        Raises:
            ShapeError: If an input has more: a batch may be cut into chunks, which rows could not follow.
        """
        for name, value in _leaves(self.inputs) + _leaves(self.unconditional or {}):
            if value.ndim == 0 or value.shape[0] != 1:
                raise ShapeError(
                    wanted=f"one row in the condition's {name}, shape (1, ...)",
                    got=f"{tuple(value.shape)}",
                    hint="one condition serves a whole batch; use one call for each condition",
                )
        return self

    def pair(self) -> "Condition":
        """Return the two-row condition (unconditional, conditional) of one guided pass."""
        return Condition(_join(self.unconditional or {}, self.inputs))

    def digest(self) -> str:
        """Return the sha256 of the conditional inputs; guidance and text do not enter it."""
        return digest_of(self.inputs)


def _leaves(inputs: Inputs) -> list[tuple[str, Tensor]]:
    pairs = [_leaves(value) if isinstance(value, Mapping) else [(name, value)] for name, value in inputs.items()]
    return [leaf for leaves in pairs for leaf in leaves]


def _join(first: Inputs, second: Inputs) -> Inputs:
    return {
        name: _join(first[name], value) if isinstance(value, Mapping) else torch.cat([first[name], value])
        for name, value in second.items()
    }


def expand(inputs: Inputs, x: Tensor) -> dict[str, Any]:
    """Return ``inputs`` on x's device, floats in its dtype, rows repeated to its batch `(B, ...)`.

    Two rows against a batch of 2B become B of the first and then B of the second.
    """
    return {name: expand(value, x) if isinstance(value, Mapping) else _rows(value, x) for name, value in inputs.items()}


def _rows(value: Tensor, x: Tensor) -> Tensor:
    value = value.to(x.device, x.dtype if value.is_floating_point() else value.dtype)
    return value.repeat_interleave(x.shape[0] // value.shape[0], dim=0)  # (B, ...)


def digest_of(value: object) -> str:
    """Return a sha256 of numbers, strings, tensors and nestings of them; "none" for None.

    Floating tensors are hashed by their float32 values, so a lossless change of dtype keeps it.

    >>> digest_of(None), digest_of({"label": 3}) == digest_of({"label": 3})
    ('none', True)

    Raises:
        ModelError: If a value has no stable bytes: an arbitrary object.
    """
    if value is None:
        return "none"
    sha = hashlib.sha256()
    _feed(sha.update, value)
    return sha.hexdigest()


def _feed(update: Callable[[bytes], object], value: object) -> None:
    if isinstance(value, Tensor):
        tensor = value.detach().cpu().contiguous()
        tensor = tensor.float() if tensor.is_floating_point() else tensor
        update(f"tensor{tuple(tensor.shape)}{tensor.dtype}".encode())
        update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, Condition):
        _feed(update, value.inputs)
    elif isinstance(value, Mapping):
        update(f"mapping{len(value)}".encode())
        for name in sorted(value):
            _feed(update, str(name))
            _feed(update, value[name])
    elif isinstance(value, (bool, int, float, str, bytes)) or value is None:
        update(f"{type(value).__name__}:{value!r};".encode())
    elif isinstance(value, Sequence):
        update(f"sequence{len(value)}".encode())
        for item in value:
            _feed(update, item)
    else:
        raise ModelError(
            wanted="a condition of tensors, numbers, strings, or mappings and lists of them",
            got=type(value).__name__,
            hint="results are kept by the condition's digest, so it must have stable bytes",
        )


def stable_diffusion_prompts(tokenizer: Any, text_encoder: Any) -> Callable[[str], Inputs]:
    """Return prompt -> ``encoder_hidden_states`` as Stable Diffusion 1 and 2 make them.

    The prompt is padded and cut to the tokenizer's length; the encoder's last hidden state is used.
    """

    @torch.no_grad()
    def encode(prompt: str) -> Inputs:
        tokens = tokenizer(
            [prompt], padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
        )
        return {"encoder_hidden_states": text_encoder(tokens.input_ids.to(text_encoder.device))[0]}  # (1, L, E)

    return encode
