"""Muon: momentum whose step for a weight matrix is made orthogonal, so that all its directions move alike.

Jordan et al. 2024, *Muon: an optimizer for hidden layers in neural networks*. torch has one since 2.9, for matrices
only and with bfloat16 products, ten times slower than float32 on a CPU without units for them; this one takes the
kernels of convolutions too, as matrices of (out) x (in and window).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

COEFFICIENTS = 3.4445, -4.7750, 2.0315
NUM_ITERATIONS = 5


def orthogonalised(matrix: Tensor) -> Tensor:
    """Returns ``U V^T`` of ``matrix = U S V^T``, roughly: singular values end between .7 and 1.2.

    Five steps of ``X <- a X + (b A + c A^2) X`` with ``A = X X^T``, from X of Frobenius norm 1.

    Args:
        matrix: Shape `(m, n)`.

    Example:
        >>> torch.linalg.svdvals(orthogonalised(torch.diag(torch.tensor([4.0, 1.0])))).round(decimals=0)
        tensor([1., 1.])
    """
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if is_tall else matrix
    x = x / torch.linalg.matrix_norm(x).clamp_min(1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x


class Muon(torch.optim.Optimizer):
    """The optimiser of the weights of two and more axes; give the others to AdamW.

    A step has the root mean square of one of AdamW at the same rate: ``.2 sqrt(max(m, n)) lr U V^T``.

    Args:
        weights: Parameters of at least two axes.
        lr: Learning rate.
        momentum: Of the moving average of gradients.
        weight_decay: Decoupled.
    """

    def __init__(
        self, weights: Iterable[Tensor], *, lr: float = 1e-3, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - no closure here
        """Moves every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    average = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(weight))
                    average.lerp_(weight.grad, 1 - group["momentum"])
                    matrix = weight.grad.lerp(average, group["momentum"]).flatten(1)
                    step = 0.2 * math.sqrt(max(matrix.shape)) * orthogonalised(matrix)
                    weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * step.view_as(weight))
