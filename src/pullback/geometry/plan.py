"""How products are computed, and how many there were."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

from pullback.errors import OptionError

JvpEngine = Literal["vmap", "loop", "double_backward", "finite_difference"]
VjpEngine = Literal["vmap", "loop"]


@dataclass(frozen=True)
class Products:
    """Jacobian products, one per direction per sample.

    Example:
        >>> Products(jvp=3, vjp=2) + Products(jvp=1, vjp=1)
        Products(jvp=4, vjp=3)
    """

    jvp: int = 0
    vjp: int = 0

    @property
    def total(self) -> int:
        """Products of both kinds."""
        return self.jvp + self.vjp

    def __add__(self, other: Products) -> Products:
        return Products(self.jvp + other.jvp, self.vjp + other.vjp)

    def __sub__(self, other: Products) -> Products:
        return Products(self.jvp - other.jvp, self.vjp - other.vjp)


@dataclass
class Tally:
    """Products that were computed inside a scope, of whichever map.

    Attributes:
        products: So far.
    """

    products: Products = Products()


_open: list[Tally] = []


@contextmanager
def counted_products() -> Generator[Tally]:
    """Scope in which every Jacobian product is counted, those of a plan's measuring too.

    Products of all threads count, not of this one alone; scopes may be nested, and each counts for itself.

    Yields:
        The tally, which grows while the scope is open.

    Example:
        >>> import torch
        >>> from pullback.geometry.jacobian import JacobianAt
        >>> with counted_products() as tally:
        ...     _ = JacobianAt(lambda x: x**2, torch.ones(1, 3)).dense()
        >>> tally.products
        Products(jvp=0, vjp=3)
    """
    tally = Tally()
    _open.append(tally)
    try:
        yield tally
    finally:
        _open[:] = [each for each in _open if each is not tally]


def count(products: Products) -> None:
    """Adds products to every open `counted_products`."""
    for tally in _open:
        tally.products += products


@dataclass(frozen=True)
class Plan:
    """The engines, the chunk and the precision of the products; the same plan on the same device gives the same bits.

    Attributes:
        jvp_engine: ``"vmap"`` (forward mode, directions batched), ``"loop"`` (forward mode, one direction at a time),
            ``"double_backward"`` (reverse mode twice on one kept graph: the fastest for few directions, and
            for layers without forward derivative), ``"finite_difference"`` (central
            difference with a step of eps^(1/3) |x|: for maps whose forward derivative is missing altogether).
        vjp_engine: ``"vmap"`` or ``"loop"``, both in reverse mode.
        chunk: Largest number of (sample, direction) pairs that meet in one network call. Activation memory grows with
            it, and not with the rank. A batch of samples is never split.
        dtype: ``"auto"`` (that of the map, TF32 off) or ``"tf32"``.
        seconds_per_jvp: For one direction of one sample, as measured, or None.
        seconds_per_vjp: The same for a reverse product.
        seconds_by_width: Mean of both by the number of pairs in one call, widths rising; empty if not measured.
    """

    jvp_engine: JvpEngine
    vjp_engine: VjpEngine
    chunk: int
    dtype: str = "auto"
    seconds_per_jvp: float | None = None
    seconds_per_vjp: float | None = None
    seconds_by_width: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("jvp_engine", self.jvp_engine, get_args(JvpEngine)),
            ("vjp_engine", self.vjp_engine, get_args(VjpEngine)),
            ("dtype", self.dtype, ("auto", "tf32")),
        ):
            if value not in allowed:
                raise OptionError(
                    wanted=f"{name} must be one of {', '.join(allowed)}", got=repr(value), hint="pick one"
                )
        if self.chunk < 1:
            raise OptionError(wanted="chunk must be at least 1", got=str(self.chunk), hint="16 suits most networks")

    @staticmethod
    def fixed(
        jvp_engine: JvpEngine = "vmap", vjp_engine: VjpEngine = "vmap", *, chunk: int = 16, dtype: str = "auto"
    ) -> Plan:
        """A plan that nobody measured.

        Example:
            >>> Plan.fixed(chunk=4).jvp_engine
            'vmap'
        """
        return Plan(jvp_engine, vjp_engine, chunk, dtype)
