"""``J M`` and ``M J`` at a batch of latents, each with a mask of its own, out of the products of one J."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pullback.directions.masks import Mask, mask_at
from pullback.errors import ShapeError
from pullback.geometry.jacobian import JacobianAt
from pullback.geometry.plan import Plan
from pullback.types import FeatureMap


class MaskedJacobianAt(JacobianAt):
    """``M_h J M_x`` at each of a batch: that of `MaskedInput` and `MaskedOutput`, where masks differ from row to row.

    Args:
        f: A feature map.
        x: Latents `(B, *x_shape)`.
        in_x: Which values of x may move, `(B, 1, N)`, or None for all.
        in_h: Which values of h count, `(B, 1, D)`, or None for all.
        plan: How to compute.

    Example:
        >>> jac = MaskedJacobianAt(lambda x: x**2, torch.ones(2, 2), in_h=torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]))
        >>> jac.jvp(torch.ones(2, 1, 2)).tolist()
        [[[2.0, 0.0]], [[0.0, 2.0]]]
    """

    def __init__(
        self, f: FeatureMap, x: Tensor, *, in_x: Tensor | None = None, in_h: Tensor | None = None,
        plan: Plan | None = None,
    ) -> None:  # fmt: skip
        super().__init__(f, x, plan=plan)
        one = torch.ones(1, 1, 1, dtype=self.dtype, device=self.f.device)
        self._in_x, self._in_h = (
            one.expand(self.num_samples, -1, -1) if each is None else each.to(one) for each in (in_x, in_h)
        )

    def jvp_flat(self, v: Tensor) -> Tensor:
        """``M_h J M_x v``."""
        return self._in_h * super().jvp_flat(self._in_x * v.to(self._in_x))

    def vjp_flat(self, u: Tensor) -> Tensor:
        """``M_x J^T M_h u``."""
        return self._in_x * super().vjp_flat(self._in_h * u.to(self._in_h))

    def _at(self, x: Tensor, samples: Sequence[int], plan: Plan) -> JacobianAt:
        rows = list(samples)
        return MaskedJacobianAt(self.f, x, in_x=self._in_x[rows], in_h=self._in_h[rows], plan=plan)


def flat_masks(masks: Sequence[Mask], shape: tuple[int, ...]) -> Tensor:
    """Masks of one space `(C, H, W)`, as rows `(B, 1, C H W)` for `MaskedJacobianAt`.

    Raises:
        ShapeError, OptionError: If a mask does not fit, or is empty.
    """
    if not masks:
        raise ShapeError(wanted="a mask for each latent", got="none", hint="give one mask a latent")
    return torch.stack([mask_at(mask, shape).flatten()[None] for mask in masks])
