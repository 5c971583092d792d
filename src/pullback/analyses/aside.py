"""Bases laid aside until they are compared: on the CPU, and in memory of their own."""

from __future__ import annotations

from dataclasses import replace

from pullback.geometry import TangentBasis


def aside(basis: TangentBasis, *, only_u: bool = False) -> TangentBasis:
    """A copy on the CPU.

    The basis of one sample is a view of its batch: as long as it is there, so are those of all the others.

    Args:
        basis: Of one sample.
        only_u: Whether to leave v out, where spans of H are all that is compared; its shape is then `(k, 0)`.
    """
    v = basis.v.new_empty(basis.rank, 0, device="cpu") if only_u else basis.v.to("cpu", copy=True)
    small = {name: getattr(basis, name).to("cpu", copy=True) for name in ("s", "residual", "s_next", "is_verified")}
    return replace(basis, u=basis.u.to("cpu", copy=True), v=v, **small)
