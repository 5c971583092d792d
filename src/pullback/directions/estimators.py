"""Eleven ways to find directions, behind one call: the pullback and its rivals.

A direction of H is applied by injection, or becomes one of X by one reverse product of the estimate's ``f``; one of X
is added to x. What a number of directions costs is recorded with it, so that methods can be compared at equal cost.

LOCO-Edit stands apart: its directions are those of a mask on one sample, and no mean is taken over several. Without a
mask it is ``"x0"``. It is compared where masks are, in the figure ``masks`` of ``pullback analyze``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from pullback.directions.controls import pca_of_h, random_h, random_x
from pullback.directions.global_ import global_directions
from pullback.directions.local import local_basis
from pullback.directions.pca import incremental_pca_of_h, pca_of_perturbed
from pullback.directions.regional import loco_directions
from pullback.directions.tasks import Cost, Estimate, Task
from pullback.directions.types import Direction
from pullback.errors import OptionError
from pullback.geometry.plan import Plan, counted_products
from pullback.geometry.tangent import TangentBasis
from pullback.models.output_map import DecoderMap, OutputMap
from pullback.types import FeatureMap


def estimate(name: str, task: Task) -> Estimate:
    """Directions by one of eleven methods.

    =====================  =======================================================  =====  ==================
    name                   what                                                     space  reference
    =====================  =======================================================  =====  ==================
    ``pullback``           u of dh/dx, pooled as the task says                      H      2307.12868
    ``pullback_pooled``    u of dh/dx, h sum-pooled                                 H      2302.12469
    ``eps``                u of d eps/dx                                            H*
    ``x0``                 u of d x0/dx, the posterior mean                         H*     as LOCO-Edit
    ``decoder``            right vectors of d eps/dh, x and skips held fixed        H      2303.11073
    ``pca``                axes of h over samples                                   H      2004.02546
    ``incremental_pca``    the same, a batch at a time                              H      Ross et al. 2008
    ``pca_perturbed``      axes of h over perturbations of samples                  H
    ``random_h``           independent random directions                            H
    ``random_x``           the same                                                 X
    ``loco``               v of d(M x0)/dx without the top of d((1-M) x0)/dx        X      LOCO-Edit
    =====================  =======================================================  =====  ==================

    H*: the "h" of the map is its output; ``Estimate.f`` is that map, and one product of it makes v.

    Args:
        name: Of the method.
        task: What to find directions of.

    Returns:
        The directions, their map and their cost. Their ``origin["estimator"]`` is the name.

    Raises:
        OptionError: If there is no such method, a mean over samples is asked of too few, ``"loco"`` has no mask or
            several samples, or another method has a mask.
        RankError: If the rank does not fit.
        ShapeError: If x is no latent of the model, or the mask does not fit it.
        NumericalError: If a direction of ``"loco"`` lies within what it leaves out.

    Example:
        >>> from pullback.models import toy_denoiser
        >>> den = toy_denoiser()
        >>> task = Task(den, den.sample_latent(t=600, seed=0), 600, rank=2, plan=Plan.fixed())
        >>> found = estimate("x0", task)
        >>> len(found.directions), found.directions[0].origin["estimator"]
        (2, 'x0')
    """
    if name not in ESTIMATORS:
        raise OptionError(
            wanted=f"an estimator among {', '.join(ESTIMATORS)}", got=repr(name), hint="pullback is the method itself"
        )
    _check_mask(name, task)
    task.den.check_finite(task.samples)
    found = ESTIMATORS[name](task)
    named = (dataclasses.replace(each, origin={**each.origin, "estimator": name}) for each in found.directions)
    return dataclasses.replace(found, directions=tuple(named))


def _check_mask(name: str, task: Task) -> None:
    if name == "loco" and (task.mask is None or len(task.samples) != 1):
        raise OptionError(
            wanted="a mask and one latent for loco",
            got=f"{'no' if task.mask is None else 'a'} mask and {len(task.samples)} latents",
            hint="Task(..., mask=Rectangle(0.5, 0, 1, 1)); without a mask it is x0, which takes several latents",
        )
    if name != "loco" and task.mask is not None:
        raise OptionError(
            wanted=f"no mask for {name}, which knows no region",
            got="a mask",
            hint="loco takes one; regional_directions finds directions of any map inside a mask",
        )


def directions_of(basis: TangentBasis, *, estimator: str = "local") -> list[Direction]:
    """The u of one sample's basis as directions of H, by falling s.

    Example:
        >>> import torch
        >>> from pullback.testing import UnitMap
        >>> basis = local_basis(UnitMap(3), torch.tensor([0.0, 0.0, 2.0]).double(), rank=2)
        >>> [(each.index, each.cluster) for each in directions_of(basis)]
        [(0, (0, 1)), (1, (0, 1))]
    """
    sample = basis.sample(0)
    clusters = sample.clusters
    return [
        Direction(
            vector=u.clone(),
            space="H",
            origin={**basis.origin, "estimator": estimator, "rank": basis.rank},
            s=float(s),
            index=index,
            cluster=next(cluster for cluster in clusters if index in cluster),
        )
        for index, (u, s) in enumerate(zip(sample.u, sample.s, strict=True))
    ]


def _shared(bases: Sequence[TangentBasis], task: Task) -> list[Direction]:
    """Local directions of one sample, global ones of several."""
    if len(bases) == 1:
        return directions_of(bases[0])
    return global_directions(bases, rank=task.rank, match=task.match)


def _by_jacobian(f: FeatureMap, task: Task, *, is_whole: bool) -> Estimate:
    bases: list[TangentBasis] = []
    generator = task.generator()
    for part in task.samples.split(task.batch):
        basis = local_basis(f, part, rank=task.rank, tol=task.tol, generator=generator, plan=task.plan)
        bases += basis.samples()
    products = sum(basis.products.total for basis in bases)
    cost = Cost(network_products=products) if is_whole else Cost(encoder_products=products)
    return Estimate(tuple(_shared(bases, task)), f, cost, tuple(bases))


def _pullback(task: Task) -> Estimate:
    return _by_jacobian(task.feature_map(), task, is_whole=False)


def _pullback_pooled(task: Task) -> Estimate:
    return _by_jacobian(task.feature_map("sum"), task, is_whole=False)


def _eps(task: Task) -> Estimate:
    return _by_jacobian(OutputMap(task.den, t=task.t, kind="eps", cond=task.cond), task, is_whole=True)


def _x0(task: Task) -> Estimate:
    return _by_jacobian(OutputMap(task.den, t=task.t, kind="x0", cond=task.cond), task, is_whole=True)


def _decoder(task: Task) -> Estimate:
    f, bases, generator = task.feature_map("none"), [], task.generator()
    for x in task.samples:
        decoder = DecoderMap(task.den, x, t=task.t, layer=task.layer, cond=task.cond)
        plan = task.plan or Plan.fixed()  # every sample has a map of its own: measuring each would cost more
        basis = local_basis(decoder, decoder.start, rank=task.rank, tol=task.tol, generator=generator, plan=plan)
        swapped = dataclasses.replace(basis, u=basis.v.flatten(1), v=basis.u.unflatten(1, task.den.x_shape))
        bases.append(dataclasses.replace(swapped, origin=dict(f.origin)))  # its right vectors live in H
    cost = Cost(network_products=sum(basis.products.total for basis in bases))
    return Estimate(tuple(_shared(bases, task)), f, cost, tuple(bases))


def _pca(task: Task) -> Estimate:
    f = task.feature_map()
    found = pca_of_h(f, task.samples, rank=task.rank, batch=task.batch)
    return Estimate(tuple(found), f, Cost(encoder_passes=len(task.samples)))


def _incremental_pca(task: Task) -> Estimate:
    f = task.feature_map()
    found = incremental_pca_of_h(f, task.samples.split(max(task.batch, 2)), rank=task.rank)
    return Estimate(tuple(found), f, Cost(encoder_passes=len(task.samples)))


def _pca_perturbed(task: Task) -> Estimate:
    f = task.feature_map()
    found = pca_of_perturbed(
        f,
        task.samples,
        rank=task.rank,
        size=task.size,
        num_perturbations=task.num_perturbations,
        batch=task.batch,
        generator=task.generator(),
    )
    return Estimate(tuple(found), f, Cost(encoder_passes=len(task.samples) * task.num_perturbations))


def _random_h(task: Task) -> Estimate:
    f = task.feature_map()
    return Estimate(tuple(random_h(f, rank=task.rank, generator=task.generator())), f, Cost())


def _random_x(task: Task) -> Estimate:
    f = task.feature_map()
    return Estimate(tuple(random_x(f, rank=task.rank, generator=task.generator())), f, Cost())


def _loco(task: Task) -> Estimate:
    f, mask = OutputMap(task.den, t=task.t, kind="x0", cond=task.cond), task.mask
    assert mask is not None  # estimate has checked it
    x, generator = task.samples[0], task.generator()
    with counted_products() as tally:
        found = loco_directions(f, x, mask, rank=task.rank, tol=task.tol, plan=task.plan, generator=generator)
    return Estimate(tuple(found), f, Cost(network_products=tally.products.total))


ESTIMATORS: dict[str, Callable[[Task], Estimate]] = {
    "pullback": _pullback,
    "pullback_pooled": _pullback_pooled,
    "eps": _eps,
    "x0": _x0,
    "decoder": _decoder,
    "pca": _pca,
    "incremental_pca": _incremental_pca,
    "pca_perturbed": _pca_perturbed,
    "random_h": _random_h,
    "random_x": _random_x,
    "loco": _loco,
}
