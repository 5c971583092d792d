"""The single checks: each measures a figure and states the most it may be, or says what it found instead."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pullback.geometry.engines import leads_to
from pullback.geometry.jacobian import JacobianAt
from pullback.geometry.linalg import randn
from pullback.geometry.plan import Plan
from pullback.types import FeatureMap

HOOK_TABLES = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True, eq=False)
class Subject:
    """The map under test, two latents, a few directions, and the modules that may carry hooks."""

    f: FeatureMap
    x: Tensor
    modules: tuple[nn.Module, ...]
    state_before: list[object]
    reference: Callable[[Tensor], Tensor] | None
    plan: Plan
    generator: torch.Generator

    def __call__(self, x: Tensor) -> Tensor:
        """The map on a copy of x, without a graph."""
        with torch.no_grad():
            return self.f(x.clone())

    @property
    def tolerance(self) -> float:
        """sqrt(eps) of the dtype: room for a kernel that sums in another order."""
        return math.sqrt(torch.finfo(self.f.dtype).eps)


class CheckError(Exception):
    """What a check found, in three parts."""

    def __init__(self, wanted: str, got: str, hint: str) -> None:
        super().__init__(wanted)
        self.parts = {"wanted": wanted, "got": got, "hint": hint}


def _input_kept(subject: Subject) -> tuple[float, float]:
    x = subject.x.clone()
    with torch.no_grad():
        subject.f(x)
    return _distance(x, subject.x), 0.0


def _shape(subject: Subject) -> tuple[float, float]:
    got, wanted = tuple(subject(subject.x).shape), (len(subject.x), *subject.f.h_shape)
    if got != wanted:
        raise CheckError(f"h must have shape {wanted}", str(got), "keep the batch first and state h_shape without it")
    return 0.0, 0.0


def _dtype(subject: Subject) -> tuple[float, float]:
    h = subject(subject.x)
    if (h.dtype, h.device.type) != (subject.f.dtype, subject.f.device.type):
        raise CheckError(
            f"h must be {subject.f.dtype} on {subject.f.device.type}, as f.dtype and f.device say",
            f"{h.dtype} on {h.device.type}",
            "drop casts inside the map, or state what it returns",
        )
    return 0.0, 0.0


def _finite(subject: Subject) -> tuple[float, float]:
    return float((~subject(subject.x).isfinite()).sum()), 0.0


def _deterministic(subject: Subject) -> tuple[float, float]:
    calls = [subject(subject.x) for _ in range(3)]
    return max(_distance(calls[0], other) for other in calls[1:]), 0.0


def _state_kept(subject: Subject) -> tuple[float, float]:
    subject(subject.x)
    if state_of(subject.modules) != subject.state_before:
        raise CheckError(*_changed("a call"))
    with contextlib.suppress(Exception):  # whatever a wrong shape raises, the network must come out of it unchanged
        subject(subject.x.new_zeros(1, 1, 1))
    if state_of(subject.modules) != subject.state_before:
        raise CheckError(*_changed("a call that raised"))
    return 0.0, 0.0


def _reference(subject: Subject) -> tuple[float, float]:
    if subject.reference is None:
        return 0.0, subject.tolerance
    with torch.no_grad():
        wanted = subject.reference(subject.x.clone())
    return _relative(subject(subject.x), wanted), subject.tolerance


def _batch(subject: Subject) -> tuple[float, float]:
    together = subject(subject.x)
    try:
        alone = torch.cat([subject(sample[None]) for sample in subject.x])
    except Exception as error:
        wanted, hint = ADVICE["batch"]
        raise CheckError(wanted, f"{type(error).__name__} for a batch of one: {_first_line(error)}", hint) from error
    return _relative(together, alone), subject.tolerance


def _attached(subject: Subject) -> tuple[float, float]:
    x = subject.x.clone().requires_grad_(True)
    if not leads_to(subject.f(x), x):
        wanted, hint = ADVICE["attached"]
        raise CheckError(wanted, "an output without graph", hint)
    return 0.0, 0.0


def _products(subject: Subject) -> tuple[float, float]:
    jac = JacobianAt(subject.f, subject.x, plan=subject.plan)
    for kind, product, rows in (("Jv", jac.jvp_flat, _v(subject)), ("J^T u", jac.vjp_flat, _u(subject))):
        try:
            product(rows)
        except Exception as error:
            wanted, hint = ADVICE["products"]
            raise CheckError(wanted, f"{kind} raises {type(error).__name__}: {_first_line(error)}", hint) from error
    return 0.0, 0.0


def _adjoint(subject: Subject) -> tuple[float, float]:
    jac, v, u = JacobianAt(subject.f, subject.x, plan=subject.plan), _v(subject), _u(subject)
    left, right = (jac.jvp_flat(v) * u).sum(-1), (v * jac.vjp_flat(u)).sum(-1)
    size = torch.linalg.vector_norm(jac.jvp_flat(v), dim=-1) * torch.linalg.vector_norm(u, dim=-1)
    return float(((left - right).abs() / size.clamp_min(torch.finfo(size.dtype).tiny)).max()), subject.tolerance


def _derivative(subject: Subject) -> tuple[float, float]:
    """Relative gap between ``f(x + e v) - f(x - e v)`` and the integral of Jv between the two.

    The integral (four Gauss points) also tells a rounded map, whose J and whose small differences are both zero.
    """
    v = _v(subject)[:, 0].reshape(subject.x.shape).to(subject.x)
    nodes, weights = np.polynomial.legendre.leggauss(4)
    gaps = []
    for share in (1e-1, 1e-2):
        step = share * float(torch.linalg.vector_norm(subject.x[0])) * v
        points = [JacobianAt(subject.f, subject.x + float(node) * step, plan=subject.plan) for node in nodes]
        pushed = torch.stack([jac.jvp_flat(step.flatten(1)[:, None])[:, 0] for jac in points])
        integral = torch.einsum("p,pbd->bd", torch.tensor(weights).to(pushed), pushed)
        difference = subject(subject.x + step) - subject(subject.x - step)
        gaps.append(_relative(difference.flatten(1), integral))
    return min(gaps), max(1e-3, subject.tolerance)


def _batched_products(subject: Subject) -> tuple[float, float]:
    v = _v(subject)
    together = JacobianAt(subject.f, subject.x, plan=subject.plan).jvp_flat(v)
    alone = [
        JacobianAt(subject.f, subject.x[i : i + 1], plan=subject.plan).jvp_flat(v[i : i + 1])
        for i in range(len(subject.x))
    ]
    return _relative(together, torch.cat(alone)), subject.tolerance


CHECKS: dict[str, Callable[[Subject], tuple[float, float]]] = {
    "input_kept": _input_kept,
    "shape": _shape,
    "dtype": _dtype,
    "finite": _finite,
    "deterministic": _deterministic,
    "state_kept": _state_kept,
    "batch": _batch,
    "attached": _attached,
    "products": _products,
    "adjoint": _adjoint,
    "derivative": _derivative,
    "batched_products": _batched_products,
    "reference": _reference,
}
ADVICE = {
    "input_kept": ("a call must leave x as it was", "replace in-place operations before the first layer"),
    "finite": ("h must be finite", "check the weights, the dtype, and that x is typical of this t"),
    "deterministic": ("two calls on one x must give the same bits", "eval(), no dropout, no fresh noise, no counters"),
    "reference": ("f must equal the reference", "check the timestep, the condition, the layer and the pooling"),
    "batch": ("a sample must not depend on its neighbours", "eval() for batch norm; no statistics over the batch"),
    "attached": ("a graph must lead from h to x", "remove detach(), no_grad() or numpy() between x and h"),
    "products": ("Jv and J^T u must run", "replace operations without a derivative, or choose another plan"),
    "adjoint": ("<Jv, u> must equal <v, J^T u>", "check custom backward and jvp rules; use float32 products"),
    "derivative": ("f must change as Jv says", "look for rounding, argmax, detached branches"),
    "batched_products": ("Jv must not depend on the batch", "eval() for batch norm; no statistics over the batch"),
}


def _changed(when: str) -> tuple[str, str, str]:
    return (
        "the network must come back as it was",
        f"another hook, mode or requires_grad after {when}",
        "remove hooks in a finally block, or use them as context managers",
    )


def state_of(modules: tuple[nn.Module, ...]) -> list[object]:
    """Hooks, modes and trainable flags: what a call may not change."""
    hooks = [[tuple(getattr(module, table)) for table in HOOK_TABLES] for module in modules]
    modes = [module.training for module in modules]
    return [hooks, modes, [p.requires_grad for module in modules for p in module.parameters(recurse=False)]]


def _v(subject: Subject) -> Tensor:
    rows = randn((len(subject.x), 3, math.prod(subject.f.x_shape)), _fork(subject), like=subject.x)
    return rows / torch.linalg.vector_norm(rows, dim=-1, keepdim=True)


def _u(subject: Subject) -> Tensor:
    return randn((len(subject.x), 3, math.prod(subject.f.h_shape)), _fork(subject), like=subject.x)


def _fork(subject: Subject) -> torch.Generator:
    """The same directions for every check."""
    return torch.Generator().manual_seed(subject.generator.initial_seed())


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max()) if a.numel() else 0.0


def _relative(a: Tensor, b: Tensor) -> float:
    size = float(torch.maximum(a.abs().max(), b.abs().max()))
    return _distance(a, b.reshape(a.shape)) / size if size else 0.0


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]
