"""What a worker does, as the bank sees it: units in, tensors out. The bank knows nothing of models."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pullback.bank.unit import Unit, canonical
from pullback.errors import NumericalError, OptionError

if TYPE_CHECKING:
    from torch import Tensor


DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "BOOL": "bool"}
"""What a shard holds: the format's names, and torch's."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What came out of one unit.

    Attributes:
        unit: The unit, with the digest of its latent.
        tensors: By name: "u", "s", "v" ... on the CPU.
        facts: Plain values that belong to it: products, method ... No clock times: the same unit gives the same facts.
    """

    unit: Unit
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def digest(self) -> str:
        """The sha256 of id, tensors and facts: equal answers have equal digests, wherever they were computed."""
        import torch

        digest = hashlib.sha256(canonical([self.unit.id, self.facts]).encode())
        for name in sorted(self.tensors):
            tensor = self.tensors[name].contiguous()
            digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()


class Work(Protocol):
    """Computes units: a toy map, a network, anything. One object serves one worker for as long as it lives."""

    def compute(self, units: Sequence[Unit], /) -> Sequence[Answer]:
        """One answer for each unit, in order. What it raises is retried, then set aside with its traceback."""
        ...


class MakesWork(Protocol):
    """Makes the work where it is to be done: each worker loads its own model."""

    def __call__(self) -> Work:
        """The work of one worker."""
        ...


def checked(answers: Sequence[Answer], units: Sequence[Unit]) -> Sequence[Answer]:
    """The answers, if there is one for each unit, in order, and all that is in them is finite and can be kept.

    Raises:
        OptionError: If units and answers do not fit, or a bank cannot hold an answer.
        NumericalError: If a tensor holds NaN or infinity.
    """
    if [answer.unit.key for answer in answers] != [unit.key for unit in units]:
        raise OptionError(
            wanted=f"one answer for each of {len(units)} units, in order",
            got=f"{len(answers)} answers to others",
            hint="compute() must return answers to the units that it was given",
        )
    for answer in answers:
        _check_facts(answer)
        for name, tensor in answer.tensors.items():
            dtype = str(tensor.dtype).removeprefix("torch.")
            if dtype not in DTYPES.values():
                raise OptionError(
                    wanted=f"{name} in a dtype that a bank holds: {', '.join(DTYPES.values())}",
                    got=dtype,
                    hint="convert it in compute()",
                )
            if not bool(tensor.isfinite().all()):
                raise NumericalError(
                    wanted=f"{name} of unit {answer.unit.id} to be finite",
                    got="NaN or infinity",
                    hint="check the weights, and use float32 where half precision overflows",
                )
    return answers


def _check_facts(answer: Answer) -> None:
    try:
        canonical(answer.facts)
    except (TypeError, ValueError) as error:
        raise OptionError(
            wanted=f"plain, finite facts of unit {answer.unit.id}", got=str(error), hint="leave them out, or as strings"
        ) from error
