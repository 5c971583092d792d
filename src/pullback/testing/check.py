"""A suite of checks for your own feature map, each with one cause of failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pullback.errors import PullbackError
from pullback.geometry.jacobian import as_feature_map
from pullback.geometry.linalg import generator_or_fixed
from pullback.geometry.plan import Plan
from pullback.testing.checks import ADVICE, CHECKS, CheckError, Subject, state_of
from pullback.types import FeatureMap


@dataclass(frozen=True)
class CheckResult:
    """One check that held: what it measured, and the most that it allows."""

    name: str
    figure: float
    tolerance: float


@dataclass(frozen=True)
class CheckReport:
    """Every check that held, in order; its text is a table."""

    results: tuple[CheckResult, ...]

    def __str__(self) -> str:
        return "\n".join(f"{r.name:<16} {r.figure:9.2e}  (at most {r.tolerance:.0e})" for r in self.results)


class FeatureMapError(PullbackError):
    """A feature map breaks its contract; ``check`` is the name of the check that says so."""

    check: str = ""


def check_feature_map(
    f: FeatureMap | Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    reference: Callable[[Tensor], Tensor] | None = None,
    module: nn.Module | None = None,
    plan: Plan | None = None,
    generator: torch.Generator | None = None,
) -> CheckReport:
    """Run every check on f at x; stop at the first that fails.

    In order: ``input_kept`` (x is not written to), ``shape``, ``dtype``, ``finite``, ``deterministic``, ``state_kept``
    (no hook, mode or trainable flag changes, whether a call succeeds or raises), ``batch`` (a sample does not depend
    on its neighbours), ``attached`` (a graph leads from h to x), ``products`` (Jv and J^T u run), ``adjoint``
    (``<Jv, u> = <v, J^T u>``), ``derivative`` (differences of f are the integral of Jv), ``batched_products``,
    ``reference``.

    Args:
        f: A feature map, or a plain batched callable.
        x: Two or more different latents, shape `(B, *x_shape)`, typical of the t of the map.
        reference: Another way to h, if there is one, such as a full forward pass at the t that was meant: the only way
            to notice a map at the wrong t. ``(B, *x_shape)`` to ``(B, *h_shape)``.
        module: The network inside, to watch for hooks; found by itself when f is a module or has one as attribute.
        plan: How products are computed.
        generator: For directions.

    Returns:
        What each check measured. Costs about 60 forward passes.

    Raises:
        FeatureMapError: If a check fails; its name is in ``.check``.

    Example:
        >>> from pullback.testing import ConvMap
        >>> x = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> report = check_feature_map(ConvMap(), x)
        >>> len(report.results)
        13
    """
    modules = tuple((module if module is not None else nn.ModuleList(_modules_of(f))).modules())
    state_before = state_of(modules)
    f = as_feature_map(f, x.clone())
    subject = Subject(f, x, modules, state_before, reference, plan or Plan.fixed(), generator_or_fixed(generator))
    if x.ndim != len(f.x_shape) + 1 or len(x) < 2 or torch.equal(x[0], x[1]):
        raise FeatureMapError(
            wanted=f"x must hold two different latents, shape (2, {str(f.x_shape)[1:]}",
            got=str(tuple(x.shape)),
            hint="draw x from two seeds",
        )
    return CheckReport(tuple(_run(name, check, subject) for name, check in CHECKS.items()))


def _run(name: str, check: Callable[[Subject], tuple[float, float]], subject: Subject) -> CheckResult:
    try:
        figure, tolerance = check(subject)
        if not figure <= tolerance:
            wanted, hint = ADVICE[name]
            raise CheckError(wanted, f"a difference of {figure:.2g} (at most {tolerance:.0e})", hint)
    except CheckError as failure:
        parts = failure.parts
        error = FeatureMapError(wanted=f"{name}: {parts['wanted']}", got=parts["got"], hint=parts["hint"])
        error.check = name
        raise error from failure.__cause__
    return CheckResult(name, figure, tolerance)


def _modules_of(f: object) -> list[nn.Module]:
    """Every module that f is, or holds as an attribute."""
    return [value for value in (f, *vars(f).values()) if isinstance(value, nn.Module)]
