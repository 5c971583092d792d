"""The plan of ``pullback bank run``: how much, how large, how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pullback.bank import Bank
    from pullback.bank.request import BasisWork


def plan_text(bank: Bank, work: BasisWork) -> str:
    """Returns what is going to be computed, and how large it will be."""
    from pullback.bank.request import dims_of
    from pullback.measure.report_text import size

    request, settings = work.request, bank.settings
    dim_h, dim_x = dims_of(work)
    item = 8 if request.dtype == "float64" else 4
    each = settings.storage.bytes_per_unit(rank=request.rank, dim_h=dim_h, dim_x=dim_x, item=item)
    shares = ", ".join(f"{t:g}" for t in request.t_fractions)
    return "\n".join(
        (
            "plan",
            f"  units     {request.num_units:,}: {request.num_samples:,} samples at t/T {shares}, rank {request.rank}",
            f"  feature   {request.layer or 'innermost block'}, pool {request.pool}: D = {dim_h:,}, N = {dim_x:,}",
            f"  keeps     u {settings.storage.u}, v {settings.storage.v}: {size(each)} a unit, "
            f"{size(each * request.num_units)} in all, {settings.shard_size} units a file",
            f"  products  {settings.plan or 'not measured'}, {settings.group} at a time (run.json)",
            f"  takes     {takes_text(bank, work)}",
            f"  writes    {bank.folder}",
        )
    )


def takes_text(bank: Bank, work: BasisWork) -> str:
    """Returns products, time and memory of all units, from the times that were measured when the bank was begun."""
    import torch

    from pullback.api.cost import basis_cost
    from pullback.bank.bases import plan_from
    from pullback.bank.request import dims_of
    from pullback.geometry.batching import held_bytes
    from pullback.measure.report_text import duration, size

    request, group = work.request, bank.settings.group
    plan = plan_from(bank.settings.plan) if bank.settings.plan else None
    if plan is None or not plan.seconds_by_width:
        return "not measured"
    dim_h, dim_x = dims_of(work)
    dtype = torch.float64 if request.dtype == "float64" else torch.float32
    like = torch.zeros(1, dtype=dtype, device=work.model.device)
    cost = basis_cost(
        (plan, plan),
        (dim_x, dim_h),
        rank=request.rank,
        num_samples=group,
        t_fractions=request.t_fractions,
        like=like,
        is_pooled=request.pool == "sum",
    )
    products = cost.num_products * request.num_units
    seconds = cost.seconds_of(products, together=group)
    memory = held_bytes(work.first_map(), work.model.draw([request.first_seed]), num=group)
    graphs = "" if memory is None else f", graphs of {size(memory)}"
    return (
        f"about {products:,} Jacobian products, {duration(seconds)} of one worker as fast as the one that began;"
        f" memory in each: Krylov bases of {size(cost.krylov_bytes)}{graphs}"
    )
