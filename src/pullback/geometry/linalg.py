"""Small dense algebra: rows are vectors, a leading batch everywhere, singular values in float64.

Large matrices keep their dtype and device; whatever is of the size of a rank goes to the CPU in float64, so that
a float32 or bfloat16 network never limits the algebra around it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from torch import Tensor

NARROW = 32
"""Columns up to which accelerators orthogonalise one after the other."""


def generator_or_fixed(generator: torch.Generator | None) -> torch.Generator:
    """``generator``, or a fresh one with seed 0: no call ever reads or moves the global random state."""
    return generator if generator is not None else torch.Generator().manual_seed(0)


def randn(shape: tuple[int, ...], generator: torch.Generator, *, like: Tensor) -> Tensor:
    """Standard normal values, drawn on the CPU so that a seed means the same numbers on every device."""
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(like)


def work_dtype(dtype: torch.dtype) -> torch.dtype:
    """Dtype of vectors kept outside the network: at least float32."""
    return torch.promote_types(dtype, torch.float32)


def small(matrix: Tensor) -> Tensor:
    """A rank-sized matrix as float64 on the CPU."""
    return matrix.detach().to("cpu", torch.float64)


@contextlib.contextmanager
def precision(*, allow_tf32: bool = False) -> Iterator[None]:
    """Products with or without TF32, whatever surrounds them: with it the adjoint identity holds only to 1e-3."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    kept = {"enabled": cudnn.enabled, "benchmark": cudnn.benchmark, "deterministic": cudnn.deterministic}
    before = matmul.allow_tf32
    matmul.allow_tf32 = allow_tf32
    try:
        with cudnn.flags(**kept, allow_tf32=allow_tf32):
            yield
    finally:
        matmul.allow_tf32 = before


def is_by_columns(columns: Tensor) -> bool:
    """Whether `thin_qr` goes by `gram_schmidt`: off the CPU, for narrow matrices.

    Accelerators factor a batch of them one matrix after the other, some hundred times slower than they multiply.
    """
    return columns.device.type != "cpu" and columns.shape[-1] <= NARROW


def thin_qr(columns: Tensor) -> tuple[Tensor, Tensor]:
    """QR of a batch of tall matrices, by whichever way suits the device and the width, see `is_by_columns`.

    Args:
        columns: Shape `(B, n, m)` with m <= n.

    Returns:
        Q, shape `(B, n, m)`, and R, shape `(B, m, m)`.
    """
    return gram_schmidt(columns) if is_by_columns(columns) else torch.linalg.qr(columns)


def gram_schmidt(columns: Tensor) -> tuple[Tensor, Tensor]:
    """QR by classical Gram-Schmidt, each column twice, which is enough; all matrices of a batch in step.

    A column that depends on those before it gets a 0 (or rounding) in R, and its column of Q then means nothing.

    Args:
        columns: Shape `(B, n, m)` with m <= n.

    Returns:
        Q, shape `(B, n, m)`, and R, upper triangular with a diagonal >= 0, shape `(B, m, m)`.
    """
    rows, triangle = columns.mT, columns.new_zeros(len(columns), columns.shape[-1], columns.shape[-1])
    q = torch.zeros_like(rows)
    for j in range(rows.shape[1]):
        rest, before = rows[:, j : j + 1], q[:, :j]
        for _ in range(2 if j else 0):
            inside = rest @ before.mT  # (B, 1, j)
            rest = rest - inside @ before
            triangle[:, :j, j] += inside[:, 0]
        length = torch.linalg.vector_norm(rest, dim=2, keepdim=True)
        triangle[:, j, j] = length[:, 0, 0]
        q[:, j : j + 1] = rest / length.clamp_min(torch.finfo(rest.dtype).tiny)
    return q.mT, triangle


def orthonormal_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """``rows = T Q`` with Q orthonormal and T lower triangular with a diagonal >= 0.

    Args:
        rows: Linearly independent vectors, shape `(B, m, n)` with m <= n.

    Returns:
        Q, shape `(B, m, n)`, and T, shape `(B, m, m)`.
    """
    q, r = thin_qr(rows.mT)
    sign = torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(r)
    return (q * sign[:, None, :]).mT, (sign[:, :, None] * r).mT


def row_svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``M = sum_i s_i l_i r_i^T`` by QR, then an SVD of the small factor in float64; M is never squared.

    Both sides are orthonormal, whatever the rank of M: where `gram_schmidt` has no vector for a row that depends on
    those before it, such as a zero row, that matrix is factored again by Householder reflections.

    Args:
        matrix: Shape `(B, m, n)`.

    Returns:
        Left vectors as rows `(B, p, m)`, singular values `(B, p)` in float64 on the CPU, right vectors as rows
        `(B, p, n)`; p = min(m, n).
    """
    if matrix.shape[-2] > matrix.shape[-1]:
        left, s, right = row_svd(matrix.mT)
        return right, s, left
    columns = matrix.mT
    q, r = thin_qr(columns)  # M = r^T q^T
    inner = small(r)
    if is_by_columns(columns) and len(lacking := _lacking(inner, matrix.dtype)):
        q[lacking], again = torch.linalg.qr(columns[lacking])
        inner[lacking] = small(again)
    a, s, b = torch.linalg.svd(inner)  # M = b^T s a^T q^T
    return b.to(matrix), s, a.mT.to(matrix) @ q.mT


def each_on_a_thread(call: Callable[..., Any], *batches: Tensor) -> list[Any]:
    """``call`` of the first matrix of each batch, of the second, and so on: LAPACK leaves cores idle on small ones.

    Args:
        call: Of one matrix of each batch, on the CPU.
        batches: Equally many matrices each.

    Example:
        >>> [float(trace) for trace in each_on_a_thread(torch.trace, torch.eye(2).expand(3, -1, -1))]
        [2.0, 2.0, 2.0]
    """
    num = min(len(batches[0]), torch.get_num_threads())
    if num <= 1:
        return list(map(call, *batches))
    with ThreadPoolExecutor(num, initializer=torch.set_num_threads, initargs=(1,)) as threads:
        return list(threads.map(call, *batches))


def svd_each(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Thin SVDs of a batch on the CPU.

    Args:
        matrices: Shape `(B, m, n)`.

    Returns:
        Left vectors as columns `(B, m, p)`, singular values `(B, p)`, right vectors as rows `(B, p, n)`; p = min(m, n).

    Example:
        >>> [tuple(part.shape) for part in svd_each(torch.zeros(3, 4, 2))]
        [(3, 4, 2), (3, 2), (3, 2, 2)]
    """
    found = each_on_a_thread(partial(torch.linalg.svd, full_matrices=False), matrices)
    left, s, right = (torch.stack(parts) for parts in zip(*found, strict=True))
    return left, s, right


def _lacking(triangle: Tensor, dtype: torch.dtype) -> list[int]:
    """Matrices of a batch with a column that is nothing but rounding beside those before it."""
    least = 10 * torch.finfo(dtype).eps * torch.linalg.matrix_norm(triangle)
    return (triangle.diagonal(dim1=-2, dim2=-1) <= least[:, None]).any(-1).nonzero().flatten().tolist()


def deflated(rows: Tensor, basis: Tensor) -> Tensor:
    """``rows`` without their part in the span of orthonormal ``basis``, twice, which is enough."""
    for _ in range(2):
        rows = rows - (rows @ basis.mT) @ basis
    return rows
