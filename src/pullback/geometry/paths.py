"""Straight and spherical lines between latents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pullback.errors import NumericalError, ShapeError

ANTIPODAL_RAD = 1e-3


def lerp(a: Tensor, b: Tensor, fraction: float | Sequence[float] | Tensor) -> Tensor:
    """``(1 - r) a + r b``; exact at both ends.

    Args:
        a: Start, shape `x_shape`.
        b: End, of the same shape.
        fraction: One r, or n of them, each from 0 to 1.

    Returns:
        One point `x_shape`, or n of them `(n, *x_shape)`.

    Raises:
        ShapeError: If the ends differ in shape.

    Example:
        >>> lerp(torch.zeros(2), torch.ones(2), [0.0, 0.5])
        tensor([[0.0000, 0.0000],
                [0.5000, 0.5000]])
    """
    r = _fractions(a, b, fraction)
    return (1 - r) * a + r * b


def slerp(a: Tensor, b: Tensor, fraction: float | Sequence[float] | Tensor) -> Tensor:
    """``(sin((1 - r) w) a + sin(r w) b) / sin w``, w the angle between a and b: keeps the norm of Gaussian noise.

    Args:
        a: Start, shape `x_shape`, taken as one long vector.
        b: End, of the same shape.
        fraction: One r, or n of them, each from 0 to 1.

    Returns:
        One point `x_shape`, or n of them `(n, *x_shape)`. Parallel ends are joined by a straight line.

    Raises:
        ShapeError: If the ends differ in shape.
        NumericalError: If the ends are antipodal, or one is zero: no great circle is singled out.

    Example:
        >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 0.5)
        tensor([0.7071, 0.7071])
    """
    r = _fractions(a, b, fraction)
    angle_rad = _angle_rad(a, b)
    if float(angle_rad) > torch.pi - ANTIPODAL_RAD:
        raise NumericalError(
            wanted="slerp needs ends that are not antipodal",
            got=f"an angle of {float(angle_rad):.4f} rad",
            hint="choose a mid-point, and join a to it and it to b",
        )
    sine = angle_rad.sin()
    if float(sine) < torch.finfo(a.dtype).eps:
        return (1 - r) * a + r * b
    r = r.to(torch.float64)
    return (((1 - r) * angle_rad).sin() / sine).to(a) * a + ((r * angle_rad).sin() / sine).to(a) * b


def _angle_rad(a: Tensor, b: Tensor) -> Tensor:
    """``2 atan2(|a' - b'|, |a' + b'|)`` of the unit vectors: accurate at small and at large angles."""
    lengths = [float(torch.linalg.vector_norm(end.double())) for end in (a, b)]
    if min(lengths) == 0:
        raise NumericalError(wanted="slerp needs ends of positive length", got="a zero vector", hint="use lerp")
    unit_a, unit_b = a.double() / lengths[0], b.double() / lengths[1]
    return 2 * torch.atan2(torch.linalg.vector_norm(unit_a - unit_b), torch.linalg.vector_norm(unit_a + unit_b))


def _fractions(a: Tensor, b: Tensor, fraction: float | Sequence[float] | Tensor) -> Tensor:
    if a.shape != b.shape:
        raise ShapeError(
            wanted=f"both ends must have shape {tuple(a.shape)}",
            got=str(tuple(b.shape)),
            hint="use latents of one model",
        )
    r = torch.as_tensor(fraction, dtype=a.dtype, device=a.device)
    return r if r.ndim == 0 else r.reshape(-1, *[1] * a.ndim)
