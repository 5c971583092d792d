"""Local bases as units: what a feature map's basis is called in a bank, and how it comes back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pullback.bank.unit import Unit, digest_of_latent
from pullback.bank.work import Answer
from pullback.errors import FileFormatError, MismatchError, OptionError
from pullback.geometry.plan import Plan, Products
from pullback.types import ORIGIN_NAMES, FeatureMap, Origin

if TYPE_CHECKING:
    from torch import Tensor

    from pullback.geometry.tangent import TangentBasis

SOLVER = "auto/2"
"""The algorithm of `local_basis` with method "auto". Its number goes up with every change that changes its answers."""
_PLAN = ("jvp_engine", "vjp_engine", "chunk", "dtype")
WIDTHS = "seconds_by_width"
_TENSORS = ("u", "s", "v", "residual", "s_next", "is_verified")


def unit_of(f: FeatureMap, *, rank: int, tol: float, made: Origin | None = None, x: Tensor | None = None) -> Unit:
    """The unit of a basis of ``f`` at one latent.

    Args:
        f: A feature map whose origin says which weights, configuration, layer, t, pooling and condition it has.
        rank: How many triplets.
        tol: Largest residual.
        made: How the latent is made, if it is made from a seed or a picture.
        x: The latent, `x_shape`, if it is there.

    Raises:
        MismatchError: If the origin does not tell this map from every other.
        OptionError: If neither ``made`` nor ``x`` is given.
    """
    origin = dict(f.origin)
    missing = [name for name in ORIGIN_NAMES if name not in origin]
    if missing:
        raise MismatchError(
            wanted=f"a feature map whose origin holds {', '.join(ORIGIN_NAMES)}",
            got=f"one without {', '.join(missing)}",
            hint="pullback.feature_map and Model.feature_map make such maps; without, two models would share answers",
        )
    t = origin.pop("t")
    if isinstance(t, str):  # a map without timesteps
        origin["no_t"], t = t, 0
    plain = {name: str(origin.pop(name)) for name in ORIGIN_NAMES if name != "t"}
    return Unit(
        **plain,
        t=t,
        made=made or {},
        mask=str(origin.pop("mask", "none")),
        x="" if x is None else digest_of_latent(x),
        rank=rank,
        tol=tol,
        solver=SOLVER,
        dtype=str(f.dtype).removeprefix("torch."),
        details=origin,
    )


def answers_of(units: Sequence[Unit], x: Tensor, basis: TangentBasis) -> list[Answer]:
    """One answer for each sample of a batched basis at latents `(B, *x_shape)`."""
    plan = basis.plan
    answers = []
    for unit, latent, sample in zip(units, x, basis.samples(), strict=True):
        tensors = {name: getattr(sample, name).detach().cpu().contiguous() for name in _TENSORS}
        facts = {
            "method": sample.method,
            "jvp": sample.products.jvp,
            "vjp": sample.products.vjp,
            "krylov_bytes": sample.krylov_bytes,
            "plan": [getattr(plan, name) for name in _PLAN],
        }
        answers.append(Answer(dataclasses.replace(unit, x=digest_of_latent(latent)), tensors, facts))
    return answers


def basis_of(answer: Answer, f: FeatureMap) -> TangentBasis:
    """The basis that an answer holds, as `local_basis` would have returned it for ``f``.

    Raises:
        FileFormatError: If the answer is not a basis of that rank on this map.
    """
    from pullback.geometry.tangent import TangentBasis

    tensors, facts, k = answer.tensors, answer.facts, answer.unit.rank
    dim_h = 1
    for size in f.h_shape:
        dim_h *= size
    shapes = {"u": (k, dim_h), "s": (k,), "v": (k, *f.x_shape), "residual": (k,), "s_next": (), "is_verified": ()}
    wrong = [name for name in _TENSORS if name not in tensors or tuple(tensors[name].shape) != shapes[name]]
    try:
        plan = plan_from(dict(zip(_PLAN, facts["plan"], strict=True)))
        products = Products(int(facts["jvp"]), int(facts["vjp"]))
        method, krylov_bytes = str(facts["method"]), int(facts["krylov_bytes"])
    except (KeyError, TypeError, ValueError, FileFormatError) as error:
        wrong.append(f"facts ({error})")
        plan, products, method, krylov_bytes = Plan.fixed(), Products(), "", 0
    if wrong:
        raise FileFormatError(
            wanted=f"unit {answer.unit.id} with a whole basis of rank {k}",
            got=f"none or another {', '.join(wrong)}",
            hint="a bank for this keeps u and v; compute the unit into another one",
        )
    kept = {name: tensors[name].to(f.device) for name in _TENSORS}
    return TangentBasis(
        **{name: value.to(kept["s"].dtype) if name in ("u", "v") else value for name, value in kept.items()},
        products_each=(products,),
        plan=plan,
        method=method,
        krylov_bytes=krylov_bytes,
        origin=dict(f.origin),
    )


def plan_record(plan: Plan) -> dict[str, Any]:
    """What determines the bits of a basis, for ``run.json``.

    That is how products are computed, and their times by width: the width of the Lanczos block follows from them.
    """
    return {name: getattr(plan, name) for name in _PLAN} | {WIDTHS: [list(each) for each in plan.seconds_by_width]}


def plan_from(record: Mapping[str, Any]) -> Plan:
    """The plan of a ``run.json``, whose threads are its workers' business; older ones have no times by width.

    Raises:
        FileFormatError: If it is none.
    """
    threads = record.get("threads", 0)
    try:
        if type(threads) is not int or threads < 0:
            raise ValueError(f"threads {threads!r}")
        products = {name: value for name, value in record.items() if name not in ("threads", WIDTHS)}
        return dataclasses.replace(Plan.fixed(**products), seconds_by_width=_widths(record.get(WIDTHS, [])))
    except (TypeError, ValueError, OptionError) as error:
        raise FileFormatError(
            wanted=f"a plan of {', '.join(_PLAN)} and threads",
            got=str(error)[:200],
            hint="restore run.json from a copy",
        ) from error


def _widths(pairs: Any) -> tuple[tuple[int, float], ...]:
    widths = tuple((width, float(seconds)) for width, seconds in pairs)
    are_sound = all(type(width) is int and width > 0 and 0 < seconds < math.inf for width, seconds in widths)
    if not are_sound or [width for width, _ in widths] != sorted({width for width, _ in widths}):
        raise ValueError(f"{WIDTHS} {pairs!r}")
    return widths
