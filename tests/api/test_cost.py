"""What a basis is forecast to take, by timestep and pooling."""

from __future__ import annotations

from typing import Any

import torch

from pullback.api.cost import basis_cost
from pullback.geometry import Plan

PLAN = Plan("vmap", "vmap", 16, seconds_by_width=((1, 0.2), (16, 0.1)))
MANY = 4000, 3000


def products(rank: int = 10, **how: Any) -> int:
    options = {"num_samples": 1, "t_fractions": (0.8,), "like": torch.zeros(1), **how}
    return basis_cost((PLAN, PLAN), MANY, rank=rank, **options).num_products


def test_products_by_timestep_and_pooling_are_those_that_were_measured() -> None:
    block = basis_cost((PLAN, PLAN), MANY, rank=10, num_samples=1, t_fractions=(0.8,), like=torch.zeros(1)).block
    assert products() == 66 + 16 * (block - 1) + 15
    assert products(is_pooled=True) == round(0.75 * products())
    assert products(t_fractions=(0.2,)) == round(1.27 * products())
    assert products(t_fractions=(0.8, 0.2)) == round(1.135 * products())


def test_a_small_feature_is_computed_whole_pooled_or_not() -> None:
    cost = basis_cost(
        (PLAN, PLAN), (4000, 90), rank=10, num_samples=1, t_fractions=(0.2,), like=torch.zeros(1), is_pooled=True
    )
    assert (cost.num_products, cost.block) == (90, 0)
