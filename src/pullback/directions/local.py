"""Local semantic directions: the singular vectors of dh/dx at one latent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from pullback.errors import OptionError
from pullback.geometry.autotune import plan_for
from pullback.geometry.cost import is_cheaper_whole
from pullback.geometry.jacobian import JacobianAt, as_feature_map
from pullback.geometry.plan import Plan
from pullback.geometry.svd import Method, top_singular
from pullback.geometry.tangent import TangentBasis
from pullback.types import FeatureMap


def local_basis(
    f: FeatureMap | Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    rank: int = 10,
    tol: float = 1e-3,
    method: Literal["auto"] | Method = "auto",
    generator: torch.Generator | None = None,
    plan: Plan | None = None,
    verify: bool = True,
) -> TangentBasis:
    """The ``rank`` directions in which h changes fastest at x  (2302.12469, 2307.12868).

    ``"auto"`` computes all of J, exactly, where h has so few values that D reverse passes cost less than the iteration
    (105 at rank 10, 334 at rank 50), as a sum-pooled h may have, and runs Lanczos elsewhere.

    Args:
        f: A feature map, or a plain batched callable.
        x: One latent `x_shape`, or a batch `(B, *x_shape)`, whose bases are then computed together.
        rank: How many directions, 0 to min(D, N).
        tol: Largest residual, relative to s_1.
        method: ``"auto"``, or one of `top_singular`.
        generator: For starting vectors and probes.
        plan: How to compute; measured once for each map and shape of x by default, at eight chunks of products. Give
            the same plan to get the same bits.
        verify: Whether to probe for a larger singular value outside the answer (15 products), and to check what finite
            differences found by exact products (2k).

    Returns:
        ``.u (k, D)``, ``.s (k,)``, ``.v (k, *x_shape)``, ``.residual (k,)``; a batch adds a leading B.

    Raises:
        ShapeError: If x is not a latent of f.
        RankError: If the rank does not fit.
        OptionError: If the method is unknown.

    Example:
        >>> from pullback.testing import UnitMap
        >>> x = torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64)
        >>> local_basis(UnitMap(3), x, rank=2).s
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    allowed = ("auto", *get_args(Method))
    if method not in allowed:
        raise OptionError(
            wanted=f"method must be one of {', '.join(allowed)}", got=repr(method), hint="auto picks by the size of h"
        )
    f = as_feature_map(f, x)
    jac = JacobianAt(f, x, plan=plan or plan_for(f, x, rank=rank))
    if method == "auto":
        method = "pooled" if is_cheaper_whole(jac.dim_h, rank) else "lanczos"
    return top_singular(jac, rank, method=method, tol=tol, generator=generator, verify=verify)
