"""How much of an answer is kept: U exact, in fp16, as a sketch, or not at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from pullback.bank.work import Answer
from pullback.errors import FileFormatError, OptionError

if TYPE_CHECKING:
    from torch import Tensor

KeepU = Literal["exact", "fp16", "sketch", "none"]
KeepV = Literal["exact", "fp16", "none"]
SKETCH_DIM = 4096
NEEDS = {
    "u": "distances, maps, mean subspaces, aligned means, comparisons in H, and discover",
    "v": "edits, spectra of v, comparisons in X, and discover",
}
"""What cannot be had without a tensor."""


@dataclass(frozen=True)
class Storage:
    """What a bank keeps.

    Attributes:
        u: "exact", "fp16" (distances have a floor of about 2e-3), "sketch" (`sketch_dim` of the coordinates of a fixed
            seeded rotation of H, in fp16: for distances and means only), or "none".
        v: "exact", "fp16" or "none".
        sketch_dim: Coordinates of a sketch; a smaller H is kept whole.

    Raises:
        OptionError: If a value has no meaning.

    Example:
        >>> Storage(u="fp16").bytes_per_unit(rank=8, dim_h=11264, dim_x=16384)
        704592
    """

    u: KeepU = "exact"
    v: KeepV = "exact"
    sketch_dim: int = SKETCH_DIM

    def __post_init__(self) -> None:
        for name, allowed in (("u", get_args(KeepU)), ("v", get_args(KeepV))):
            if getattr(self, name) not in allowed:
                raise OptionError(
                    wanted=f"{name} kept as one of {', '.join(allowed)}", got=repr(getattr(self, name)), hint="pick one"
                )
        if type(self.sketch_dim) is not int or self.sketch_dim < 1:
            raise OptionError(
                wanted="a sketch of at least 1", got=repr(self.sketch_dim), hint=f"{SKETCH_DIM} is the default"
            )

    def bytes_per_unit(self, *, rank: int, dim_h: int, dim_x: int, item: int = 4) -> int:
        """Bytes of tensors of one unit; names, ids and facts add about 500."""
        size = {"exact": item, "fp16": 2, "sketch": 2, "none": 0}
        kept_h = min(dim_h, self.sketch_dim) if self.u == "sketch" else dim_h
        return rank * (kept_h * size[self.u] + dim_x * size[self.v]) + 2 * rank * item + item + 12

    def apply(self, answer: Answer) -> Answer:
        """The answer as it is kept."""
        tensors = dict(answer.tensors)
        for name, how in (("u", self.u), ("v", self.v)):
            if name in tensors:
                kept = self._kept(tensors.pop(name), how)
                tensors |= {} if kept is None else {name: kept}
        return dataclasses.replace(answer, tensors=tensors)

    def needs(self, name: Literal["u", "v"]) -> None:
        """Refuses whatever needs a tensor that this bank dropped.

        Raises:
            OptionError: If it did.
        """
        if getattr(self, name) == "none":
            raise OptionError(
                wanted=f"{name.upper()}, which {NEEDS[name]} need",
                got=f"a bank that keeps none (--keep-{name} none)",
                hint="compute the units into another folder with --keep-" + name + " fp16",
            )

    def _kept(self, rows: Tensor, how: str) -> Tensor | None:
        import torch

        if how == "none":
            return None
        if how == "sketch" and rows.shape[-1] > self.sketch_dim:
            from pullback.bank.sketch import sketch

            rows = sketch(rows, self.sketch_dim)
        return rows if how == "exact" else rows.to(torch.float16)


def storage_from(record: Mapping[str, Any]) -> Storage:
    """The storage of a record in ``run.json``.

    Raises:
        FileFormatError: If it is none.
    """
    try:
        return Storage(**record)
    except (TypeError, OptionError) as error:
        raise FileFormatError(
            wanted="storage with u, v and sketch_dim", got=str(error)[:200], hint="restore run.json from a copy"
        ) from error
