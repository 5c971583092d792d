"""``J = dh/dx`` at a point, as two products: the only view of a network that the geometry needs.

Notation, code -> papers (arXiv 2302.12469, 2307.12868): ``jvp(v)`` is the push-forward Jv of a tangent vector,
``vjp(u)`` the pull-back J^T u, ``metric(v)`` the pulled-back inner product v^T J^T J v.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from pullback.errors import ModelError, NumericalError, ShapeError
from pullback.geometry.engines import JVP_ENGINES, VJP_ENGINES, Engine, Point
from pullback.geometry.linalg import precision, work_dtype
from pullback.geometry.maps import as_feature_map
from pullback.geometry.memory import smaller
from pullback.geometry.plan import Plan, Products, count
from pullback.types import FeatureMap

__all__ = ["JacobianAt", "Plan", "Products", "as_feature_map"]


def _check_finite(product: Tensor) -> None:
    if not bool(product.isfinite().all()):
        raise NumericalError(
            wanted="Jacobian products must be finite",
            got="NaN or infinity",
            hint="check the weights, and use float32 where half precision overflows",
        )


class JacobianAt:
    """The Jacobian of f at x, or of f at each of a batch of x, which is block-diagonal.

    Args:
        f: A feature map, or a plain batched callable.
        x: One latent `x_shape`, or a batch `(B, *x_shape)`, taken to the device and dtype of f. A plain callable takes
            a batch.
        plan: How to compute; ``Plan.fixed()`` by default.

    Raises:
        ShapeError: If x is not a latent of f.
        NumericalError: If x holds NaN or infinity.

    Example:
        >>> jac = JacobianAt(lambda x: x**2, torch.tensor([[1.0, 2.0]]))
        >>> jac.jvp(torch.tensor([[[0.0, 1.0]]]))
        tensor([[[0., 4.]]])
        >>> jac.products
        Products(jvp=1, vjp=0)
    """

    def __init__(self, f: FeatureMap | Callable[[Tensor], Tensor], x: Tensor, *, plan: Plan | None = None) -> None:
        self.f = as_feature_map(f, x)
        self._plans = [plan or Plan.fixed()]
        self.is_batched = tuple(x.shape) != self.f.x_shape
        if tuple(x.shape[self.is_batched :]) != self.f.x_shape:
            raise ShapeError(
                wanted=f"x must have shape {self.f.x_shape} or (B, {str(self.f.x_shape)[1:]}",
                got=str(tuple(x.shape)),
                hint="give a latent of this map",
            )
        if not bool(x.isfinite().all()):
            raise NumericalError(wanted="x must be finite", got="NaN or infinity", hint="check how it was sampled")
        with torch.inference_mode(False):
            self.x = x.detach().clone().to(self.f.device, self.f.dtype)
        self._point = Point(self.f, self.x if self.is_batched else self.x[None])
        self._counts = [[0, 0] for _ in range(self.num_samples)]

    @property
    def plan(self) -> Plan:
        """The plan in force: the one that was given, with a smaller chunk since memory ran out, if it did."""
        return self._plans[-1]

    @property
    def num_samples(self) -> int:
        """B; 1 for a single latent."""
        return len(self._point.x)

    @property
    def dim_x(self) -> int:
        """N, the number of values of a latent."""
        return math.prod(self.f.x_shape)

    @property
    def dim_h(self) -> int:
        """D, the number of values of a feature."""
        return math.prod(self.f.h_shape)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of what the products return: that of f, and at least float32."""
        return work_dtype(self.f.dtype)

    @property
    def products_each(self) -> tuple[Products, ...]:
        """Products so far, sample by sample."""
        return tuple(Products(*counts) for counts in self._counts)

    @property
    def products(self) -> Products:
        """Products so far, over all samples."""
        return sum(self.products_each, Products())

    @property
    def h(self) -> Tensor:
        """The feature itself, flat: shape `(D,)`, or `(B, D)`."""
        with torch.inference_mode(False), self._precision():
            h = self._point.graph[1].detach().to(self.dtype).flatten(1)
        return h if self.is_batched else h[0]

    def jvp(self, v: Tensor) -> Tensor:
        """Push tangent vectors forward: ``J v_i``  (2307.12868).

        Args:
            v: Tangent vectors at x, shape `(k, *x_shape)`, or `(B, k, *x_shape)` for a batch.

        Returns:
            Feature-space vectors, shape `(k, D)` or `(B, k, D)`. Costs k forward products a sample.

        Raises:
            ShapeError: If ``v`` does not live where ``x`` does.
            NumericalError: If a product is not finite.
        """
        return self._unbatch(self.jvp_flat(self._flat(v, self.f.x_shape, "v")))

    def vjp(self, u: Tensor) -> Tensor:
        """Pull feature vectors back: ``J^T u_i``  (2307.12868).

        Args:
            u: Vectors in H, shape `(k, D)`, or `(B, k, D)` for a batch.

        Returns:
            Vectors in X, shape `(k, *x_shape)` or `(B, k, *x_shape)`. Costs k reverse products a sample.

        Raises:
            ShapeError: If ``u`` does not live in H.
            NumericalError: If a product is not finite.
        """
        g = self.vjp_flat(self._flat(u, (self.dim_h,), "u"))
        return self._unbatch(g.unflatten(-1, self.f.x_shape))

    def metric(self, v: Tensor) -> Tensor:
        """Inner products under the metric of H pulled back to X: ``G_ij = <J v_i, J v_j>``  (2307.12868).

        Args:
            v: Tangent vectors, shape `(k, *x_shape)`, or `(B, k, *x_shape)`.

        Returns:
            Symmetric, positive semi-definite, shape `(k, k)` or `(B, k, k)`; null directions have length 0.

        Raises:
            ShapeError: If ``v`` does not live where ``x`` does.
        """
        pushed = self.jvp(v)
        return pushed @ pushed.mT

    def dense(self) -> Tensor:
        """The whole matrix, shape `(D, N)` or `(B, D, N)`; costs min(D, N) products: for small maps and tests."""
        by_rows = self.dim_h <= self.dim_x
        eye = torch.eye(min(self.dim_h, self.dim_x), dtype=self.dtype, device=self.f.device)
        eye = eye.expand(self.num_samples, -1, -1)
        return self._unbatch(self.vjp_flat(eye) if by_rows else self.jvp_flat(eye).mT)

    def jvp_flat(self, v: Tensor) -> Tensor:
        """`jvp` with the batch always there and X flat: `(B, k, N)` to `(B, k, D)`."""
        try:
            pushed = self._in_chunks(JVP_ENGINES[self.plan.jvp_engine], v, self.f.x_shape, self.dim_h)
        except (NotImplementedError, RuntimeError) as error:
            if not any(sign in str(error) for sign in ("forward AD", "forward-mode", "jvp")):
                raise
            raise ModelError(
                wanted="every layer before h needs a forward derivative",
                got=str(error).splitlines()[0],
                hint="use Plan.fixed('double_backward') or Plan.fixed('finite_difference')",
            ) from error
        self._count(Products(jvp=v.shape[1]))
        return pushed

    def vjp_flat(self, u: Tensor) -> Tensor:
        """`vjp` with the batch always there and X flat: `(B, k, D)` to `(B, k, N)`."""
        pulled = self._in_chunks(VJP_ENGINES[self.plan.vjp_engine], u, self.f.h_shape, self.dim_x)
        self._count(Products(vjp=u.shape[1]))
        return pulled

    def subset(self, samples: Sequence[int]) -> JacobianAt:
        """The Jacobian at some of the samples, on the same counter and plan."""
        if list(samples) == list(range(self.num_samples)):
            return self  # and keep its graph
        part = self._at(self._point.x[list(samples)], samples, self.plan)
        part._counts, part._plans = [self._counts[i] for i in samples], self._plans
        return part

    def by(self, plan: Plan) -> JacobianAt:
        """The same Jacobian by another plan, on the same counter."""
        other = self._at(self.x, range(self.num_samples), plan)
        other._counts = self._counts
        return other

    def _at(self, x: Tensor, samples: Sequence[int], plan: Plan) -> JacobianAt:
        """One of the same kind at latents x, which are the ``samples`` of this one."""
        return JacobianAt(self.f, x, plan=plan)

    def _in_chunks(self, engine: Engine, rows: Tensor, shape: tuple[int, ...], dim_out: int) -> Tensor:
        num_samples, rank, _ = rows.shape
        with torch.inference_mode(False), self._precision():
            rows = rows.clone() if rows.is_inference() else rows
            out = torch.empty(num_samples, rank, dim_out, dtype=self.dtype, device=self.f.device)
            done = 0
            while done < rank:
                num = max(1, self.plan.chunk // num_samples)
                part = rows[:, done : done + num].to(self.f.device, self.f.dtype)
                part = part.transpose(0, 1).reshape(-1, num_samples, *shape)  # (c, B, ...)
                try:
                    product = self._point.product(engine, part).detach().flatten(2)  # (c, B, out)
                except (torch.OutOfMemoryError, RuntimeError) as error:
                    self._plans.append(smaller(self.plan, part.shape[0], num_samples, error))
                    continue
                _check_finite(product)
                out[:, done : done + num] = product.transpose(0, 1)
                done += num
        return out

    def _count(self, each: Products) -> None:
        for counts in self._counts:
            counts[0] += each.jvp
            counts[1] += each.vjp
        count(Products(each.jvp * self.num_samples, each.vjp * self.num_samples))

    def _precision(self) -> AbstractContextManager[object]:
        return precision(allow_tf32=self.plan.dtype == "tf32")

    def _flat(self, rows: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
        lead = (self.num_samples,) if self.is_batched else ()
        if (
            rows.ndim != len(lead) + 1 + len(shape)
            or rows.shape[: len(lead)] != lead
            or rows.shape[-len(shape) :] != shape
        ):
            wanted = ", ".join(str(size) for size in (*lead, "k", *shape))
            raise ShapeError(
                wanted=f"{name} must have shape ({wanted})",
                got=str(tuple(rows.shape)),
                hint="stack directions along the axis marked k",
            )
        flat = rows.flatten(len(lead) + 1)
        return flat if self.is_batched else flat[None]

    def _unbatch(self, rows: Tensor) -> Tensor:
        return rows if self.is_batched else rows[0]
