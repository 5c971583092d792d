"""Prompts as a figure needs them: their conditions, and how similar those are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from pullback.api.model import Model
from pullback.errors import ModelError, OptionError
from pullback.models import Condition

STATES = "encoder_hidden_states"
MIN_PROMPTS = 3


def check_prompts(model: Model, prompts: Sequence[str], names: Sequence[str]) -> None:
    """Tells of prompts that cannot be compared before anything is computed.

    Args:
        model: The model.
        prompts: Texts.
        names: Figures that are to be made.

    Raises:
        OptionError, ModelError: As `text_conditions`, if the figure `prompts` is among them; else if there are prompts.
    """
    if "prompts" in names:
        text_conditions(model, prompts)
    elif prompts:
        raise OptionError(
            wanted="the figure prompts for the prompts", got=", ".join(names), hint="name it too: --only prompts"
        )


def text_conditions(model: Model, prompts: Sequence[str]) -> list[Condition]:
    """The condition of each prompt.

    Raises:
        OptionError: If there are fewer than three prompts, or two are the same to the text encoder.
        ModelError: If the model takes no prompts, or they become no sequence of embeddings.
    """
    if len(prompts) < MIN_PROMPTS:
        raise OptionError(
            wanted=f"{MIN_PROMPTS} or more prompts", got=str(len(prompts)), hint='--prompts "a dog;a puppy;a castle"'
        )
    if model.encode_prompt is None:
        raise ModelError(
            wanted="a model that takes prompts, for the figure prompts",
            got=f"{model.name or 'one'}, which does not",
            hint="give a text-to-image model, or leave the figure out",
        )
    conditions = [model.cond(prompt=prompt) for prompt in prompts]
    for (a, one), (b, other) in combinations(zip(prompts, conditions, strict=True), 2):
        if one.digest() == other.digest():
            raise OptionError(
                wanted="prompts that differ", got=f"{a!r} and {b!r}, one to the text encoder", hint="leave one out"
            )
    if any(STATES not in cond.inputs for cond in conditions):
        raise ModelError(
            wanted=f"prompts that become {STATES}",
            got=", ".join(conditions[0].inputs),
            hint="name them so in encode_prompt",
        )
    return conditions


def similarities(conditions: Sequence[Condition]) -> NDArray[np.float64]:
    """Cosines of embeddings, the mean over the tokens of each `(1, L, E)`: `(P, P)`."""
    means = torch.stack([cond.inputs[STATES][0].detach().double().cpu().mean(0) for cond in conditions])
    means = normalize(means, dim=1)  # (P, E)
    return (means @ means.mT).numpy()
