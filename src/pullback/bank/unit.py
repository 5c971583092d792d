"""A unit of work: one local basis, and the id that everything that determines it gives it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from pullback.errors import FileFormatError, OptionError
from pullback.types import Origin

if TYPE_CHECKING:
    from torch import Tensor

FORM = "pullback.unit/1"
ID_LENGTH = 32
"""Hexadecimal digits of an id: 128 bits, so that two among 10^12 units are alike by chance with odds of 10^-15."""


@dataclass(frozen=True)
class Unit:
    """All that determines one local basis; another value of any field is another unit.

    A latent that a caller gives is known by its digest. One that the worker makes (from a seed, or from a picture) is
    known before that by ``made`` alone: that is what `key` is for. `id` holds the digest as well.

    Attributes:
        weights: Digest of the network's weights.
        config: Digest of its configuration.
        layer: Path of the feature layer.
        pool: How h is pooled: "none", "sum", "sum2".
        t: Timestep.
        condition: Digest of the condition.
        made: How x_t came about: scheduler digest, steps, and a seed or an image digest; empty for a latent of yours.
        x: `digest_of_latent` of x_t, or "" while it has not been made.
        mask: Digest of the mask, or "none".
        estimator: What was decomposed: "dh/dx" ...
        rank: How many triplets.
        tol: Largest residual.
        solver: Algorithm, with its version.
        dtype: In which the network ran.
        details: Whatever else a map says of itself: prediction type, space to depth ...

    Raises:
        OptionError: If a number is not finite, or a field is not plain.

    Example:
        >>> one = Unit("w", "c", "mid", "none", 800, "none", {"seed": 1})
        >>> one.id == dataclasses.replace(one, t=800.0).id, one.id == dataclasses.replace(one, t=799).id
        (True, False)
        >>> dataclasses.replace(one, x="ab").key == one.key
        True
    """

    weights: str
    config: str
    layer: str
    pool: str
    t: float
    condition: str
    made: Origin
    x: str = ""
    mask: str = "none"
    estimator: str = "dh/dx"
    rank: int = 10
    tol: float = 1e-3
    solver: str = ""
    dtype: str = "float32"
    details: Origin = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if type(value) is str and kind is str:
                continue
            _check_plain(name, value, kind)
            if kind is float:
                object.__setattr__(self, name, float(value) + 0.0)  # 800 and 800.0 are one number, 0 and -0 too
        if not self.made and not self.x:
            raise OptionError(wanted="the digest of x_t, or how it is made", got="neither", hint="give x= or made=")

    @cached_property
    def id(self) -> str:
        """32 hexadecimal digits that belong to this unit alone."""
        return self._digest(self.x)

    @cached_property
    def key(self) -> str:
        """What is known of the unit before its latent exists: the id without the latent's digest, if it is made here.

        A latent that was given has no other description than its digest, which then stays in.
        """
        return self._digest("") if self.made else self.id

    @property
    def seed(self) -> int:
        """Of everything random in this unit, 0 to 2^63 - 1; made from its key, so that no two units share one."""
        return seed_of([self])

    def with_x(self, x: Tensor) -> Unit:
        """The same unit, now that its latent is there."""
        return dataclasses.replace(self, x=digest_of_latent(x))

    def record(self) -> dict[str, Any]:
        """The fields as plain values, in a fixed order."""
        return {name: _plain(getattr(self, name)) for name in _KINDS}

    @property
    def company(self) -> tuple[Any, ...]:
        """What units must share to be computed together: all but the latent. As text, 1 and 1.0 stay two values."""
        return (*(getattr(self, name) for name in _SHARED), canonical(self.details))

    def _digest(self, x: str) -> str:
        """The sha256 of the canonical form: a JSON list of form and record, keys sorted, without spaces."""
        before, after = _shared_form(*self.company)
        made = canonical(self.made)
        text = f'["{FORM}",{{{before},"made":{made},{after},"x":{canonical(x)}}}]'
        return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


_KINDS: dict[str, type] = {each.name: str for each in dataclasses.fields(Unit)} | {
    "t": float,
    "tol": float,
    "rank": int,
    "made": Mapping,
    "details": Mapping,
}


_SHARED = tuple(name for name in _KINDS if name not in ("made", "x", "details"))


@lru_cache(maxsize=256)
def _shared_form(*values: Any) -> tuple[str, str]:
    """The canonical form before and after ``made``: of 10^6 units it is the same for each timestep."""
    record = dict(zip((*_SHARED, "details"), values, strict=True)) | {"details": json.loads(values[-1])}
    sides = ({name: record[name] for name in record if (name < "made") is early} for early in (True, False))
    before, after = (canonical(side)[1:-1] for side in sides)
    return before, after


def unit_from(record: Mapping[str, Any]) -> Unit:
    """The unit of a `Unit.record`.

    Raises:
        FileFormatError: If a field is missing, unknown, or of the wrong kind.
    """
    if set(record) != set(_KINDS):
        wrong = sorted(set(record) ^ set(_KINDS))
        raise FileFormatError(wanted=f"a unit of {', '.join(_KINDS)}", got=f"other fields: {wrong[:4]}", hint=HINT)
    try:
        return Unit(**record)
    except OptionError as error:
        raise FileFormatError(wanted=error.wanted, got=error.got, hint=HINT) from error


HINT = "the file was not written by this version; leave it out, or compute its units again"


def seed_of(units: Iterable[Unit]) -> int:
    """The seed of units that are computed together; of one unit, its own."""
    keys = " ".join(unit.key for unit in units)
    return int.from_bytes(hashlib.sha256(f"{FORM} seed {keys}".encode()).digest()[:8], "big") >> 1


def digest_of_latent(x: Tensor) -> str:
    """The sha256 of a latent's dtype, shape and bytes.

    Example:
        >>> import torch
        >>> digest_of_latent(torch.zeros(2)) == digest_of_latent(torch.tensor([0.0, -0.0]))
        False
    """
    import torch

    x = x.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{x.dtype} {tuple(x.shape)} ".encode())
    digest.update(x.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def canonical(value: object) -> str:
    """The one JSON text of a plain value: keys sorted, no spaces, finite numbers only.

    Raises:
        TypeError, ValueError: If the value is not plain, or not finite.

    Example:
        >>> canonical({"b": 1, "a": 2.0})
        '{"a":2.0,"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    return {name: value[name] for name in sorted(value)} if isinstance(value, Mapping) else value


def _check_plain(name: str, value: Any, kind: type) -> None:
    values = value.values() if isinstance(value, Mapping) else [value]
    is_right = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
    are_plain = all(type(each) in (str, int, float) for each in values)
    is_named = not isinstance(value, Mapping) or all(isinstance(each, str) for each in value)
    are_finite = are_plain and all(isinstance(each, str) or abs(each) <= sys.float_info.max for each in values)
    if not (is_right and is_named and are_finite):
        raise OptionError(
            wanted=f"{name} of a unit as {'plain values by name' if kind is Mapping else kind.__name__}, finite",
            got=repr(value)[:80],
            hint="strings and finite numbers make an id; anything else goes in by its digest",
        )
