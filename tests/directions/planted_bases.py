"""Bases with planted directions, for tests of whatever compares samples."""

import torch

from pullback.geometry import Plan, Products, TangentBasis

DIM_H = 200
ORIGIN = {"weights": "w", "layer": "mid_block", "t": 800, "pool": "none"}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def orthonormal(rank, seed, dim=DIM_H):
    return torch.linalg.qr(torch.randn(dim, rank, generator=seeded(seed), dtype=torch.float64))[0].mT


def basis_from(u, s=None, v=None, origin=ORIGIN):
    rank = len(u)
    return TangentBasis(
        u=u,
        s=torch.arange(rank, 0, -1, dtype=u.dtype) if s is None else torch.as_tensor(s, dtype=u.dtype),
        v=orthonormal(rank, 99, 30).to(u) if v is None else v,
        residual=torch.zeros(rank, dtype=u.dtype),
        s_next=torch.zeros((), dtype=u.dtype),
        is_verified=torch.tensor(True),
        products_each=(Products(),),
        plan=Plan.fixed(),
        method="planted",
        origin=origin,
    )


def noised_copies(u, num, seed, *, noise=0.01):
    """The same rows permuted, flipped and noised, each orthonormal, with its own s."""
    copies = []
    for i in range(num):
        generator = seeded(seed + i)
        order = torch.randperm(len(u), generator=generator)
        flip = torch.randint(0, 2, (len(u), 1), generator=generator) * 2 - 1
        rows = flip * u[order] + noise * torch.randn(u.shape, generator=generator, dtype=u.dtype)
        q, r = torch.linalg.qr(rows.mT)
        copies.append(basis_from((q * r.diagonal().sign()).mT, s=torch.arange(len(u), 0, -1, dtype=u.dtype)[order]))
    return copies
