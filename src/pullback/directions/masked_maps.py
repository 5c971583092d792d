"""Feature maps that see, or move, only a part."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager

from torch import Tensor

from pullback.directions.masks import Mask, mask_at, mask_digest
from pullback.errors import ShapeError
from pullback.types import FeatureMap, Origin


class _Masked:
    """What both maps share: everything of f but its call."""

    def __init__(self, f: FeatureMap, mask: Tensor, where: str) -> None:
        self.f = f
        self.mask = mask.to(f.device, f.dtype)
        self.x_shape, self.h_shape = tuple(f.x_shape), tuple(f.h_shape)
        self.dtype, self.device = f.dtype, f.device
        self.origin: Origin = {**f.origin, "mask": mask_digest(mask), "mask_on": where}

    def parameters(self) -> Iterable[Tensor]:
        """Those of f."""
        own = getattr(self.f, "parameters", None)
        return own() if own is not None else ()

    def forward_mode(self) -> AbstractContextManager[object]:
        """That of f."""
        return self.f.forward_mode()


class MaskedInput(_Masked):
    """``x -> f(anchor + M (x - anchor))``: only what lies inside the mask moves h; its J at the anchor is ``J M``.

    Args:
        f: A feature map.
        anchor: The latent that is looked at, shape `x_shape`.
        mask: In x.

    Raises:
        ShapeError, OptionError: If anchor or mask does not fit x, or the mask is empty.

    Example:
        >>> from pullback.testing import ConvMap
        >>> from pullback.directions.masks import Rectangle
        >>> import torch
        >>> f, x = ConvMap(), torch.zeros(3, 8, 8).double()
        >>> moved = MaskedInput(f, x, Rectangle(0, 0, 0.5, 1))
        >>> x[:, 4:] = 1
        >>> bool(torch.equal(moved(x[None]), f(0 * x[None])))  # all of the change was outside
        True
    """

    def __init__(self, f: FeatureMap, anchor: Tensor, mask: Mask) -> None:
        if tuple(anchor.shape) != tuple(f.x_shape):
            raise ShapeError(
                wanted=f"one latent of shape {tuple(f.x_shape)}",
                got=str(tuple(anchor.shape)),
                hint="mask a sample a time",
            )
        super().__init__(f, mask_at(mask, f.x_shape), "x")
        self.anchor = anchor.detach().clone().to(f.device, f.dtype)
        self.origin: Origin = {**self.origin, "anchor": mask_digest(anchor)}

    def __call__(self, x: Tensor, /) -> Tensor:
        """Features of latents whose outside is the anchor's."""
        return self.f(self.anchor + self.mask * (x - self.anchor))


class MaskedOutput(_Masked):
    """``x -> M f(x)``: only what happens inside the mask counts; its J is ``M J``.

    Args:
        f: A feature map with h of shape (C, H, W): an unpooled h, or the x0-prediction.
        mask: In h.
        is_outside: Whether ``1 - M`` is meant: what happens outside; this mask may be empty, if M is full.
        where: Name of h for the origin, ``"h"`` or ``"x0"``.

    Raises:
        ShapeError, OptionError: If the mask does not fit h, or is empty.

    Example:
        >>> from pullback.testing import ConvMap
        >>> from pullback.directions.masks import Rectangle
        >>> import torch
        >>> h = MaskedOutput(ConvMap(), Rectangle(0, 0, 0.5, 1))(torch.ones(1, 3, 8, 8).double())
        >>> bool((h[:, :, 2:] == 0).all()), bool((h[:, :, :2] != 0).all())
        (True, True)
    """

    def __init__(self, f: FeatureMap, mask: Mask, *, is_outside: bool = False, where: str = "h") -> None:
        inside = mask_at(mask, f.h_shape)
        super().__init__(f, 1 - inside if is_outside else inside, f"outside {where}" if is_outside else where)

    def __call__(self, x: Tensor, /) -> Tensor:
        """Features, 0 where they do not count."""
        return self.mask * self.f(x)
