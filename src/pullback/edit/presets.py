"""Published settings of the two papers, as plain data, for whoever has their weights.

Nothing here is guessed: what the papers and their code are known to use stands here, and what is not known is None. A
setting that comes from the published code rather than from a paper says so.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from pullback.edit.steps import PRESETS, XGuidance
from pullback.errors import OptionError
from pullback.types import Pool


@dataclass(frozen=True)
class Solver:
    """The subspace iteration of the published code; ``local_basis(..., method="power")`` runs it.

    Attributes:
        atol: Largest change of V between iterations (not a residual) at which it stops.
        max_iterations: And at most.
        min_iterations: It never stops before.
        chunk: Directions in one forward derivative.
    """

    atol: float
    max_iterations: int
    min_iterations: int
    chunk: int


@dataclass(frozen=True)
class Paths:
    """How paths between two latents were compared, as reported once; by which of the two papers is not known to us.

    Attributes:
        num_segments: Of a path.
        num_pairs: Random pairs of latents.
        reported: Mean and spread of the semantic path length as printed, by way.
        rank: Of T_h; not known.
        t_fraction: Of the latents; not known.
    """

    num_segments: int
    num_pairs: int
    reported: MappingProxyType[str, tuple[float, float]]
    rank: int | None
    t_fraction: float | None


@dataclass(frozen=True)
class Preset:
    """Settings of one paper.

    Attributes:
        name: Of the preset.
        arxiv: Number of the paper.
        layer: Output of which part of the U-Net h is.
        pool: Pooling of h.
        global_t_fraction: t/T at which global directions are made.
        rank_share: Cumulative share of the rank rule.
        rank_power: Whether the rule sums s or s^2.
        rank_reported: Rank by that rule as reported, about, by t/T.
        rank_edit: Local directions computed for an edit.
        rank_analysis: Local directions computed for the analyses.
        solver: Of the published driver.
        solver_library: Its settings in the library part of the published code.
        guidance: x-space guidance, by model; None where edits are single steps.
        normalise: Anchor of the normalisation against colour drift, or ``"off"``.
        kappa: Its constant.
        shooting_step: g of geodesic shooting.
        eta_last: eta on the last steps, where quality boosting is asked for; which figures were is not known.
        boost_share: Part of the steps that are the last, from the clean end, as in `pullback.edit.window.Boost`.
        num_steps: DDIM steps of a whole walk.
        t_grid: t/T of the analyses over time, ends and step where they are known.
        paths: How paths were compared: the same in both presets.
    """

    name: str
    arxiv: str
    layer: str
    pool: Pool
    global_t_fraction: float | None
    rank_share: float | None
    rank_power: Literal[1, 2] | None
    rank_reported: MappingProxyType[float, int] | None
    rank_edit: int | None
    rank_analysis: int | None
    solver: Solver | None
    solver_library: Solver | None
    guidance: MappingProxyType[str, XGuidance] | None
    normalise: Literal["off", "original"]
    kappa: float | None
    shooting_step: float | None
    eta_last: float | None
    boost_share: float | None
    num_steps: int | None
    t_grid: tuple[float, float] | None
    paths: Paths


REPORTED_PATHS = Paths(
    num_segments=30,
    num_pairs=50,
    reported=MappingProxyType({"lerp": (10.29, 0.87), "slerp": (7.69, 0.76), "shooting": (5.98, 0.76)}),
    rank=None,
    t_fraction=None,
)

PARK2023 = Preset(
    name="park2023",
    arxiv="2302.12469",
    layer="mid_block",
    pool="sum",  # "sum-pooled"; the window is not stated: all positions is our reading, ("sum", 2) the other
    global_t_fraction=1.0,
    rank_share=0.5,
    rank_power=None,  # of s or of s^2: not certain
    rank_reported=MappingProxyType({1.0: 25, 0.0: 100}),  # "about", near t = 0
    rank_edit=None,  # not known
    rank_analysis=None,  # not known
    solver=None,  # its code is not known to us
    solver_library=None,
    guidance=None,  # x + g v, and shooting
    normalise="original",
    kappa=0.99,
    shooting_step=None,  # not known
    eta_last=1.0,  # boosting is an option in either paper
    boost_share=0.2,
    num_steps=None,  # not known
    t_grid=None,
    paths=REPORTED_PATHS,
)

PARK2023_NEURIPS = Preset(
    name="park2023-neurips",
    arxiv="2307.12868",
    layer="mid_block",
    pool="none",
    global_t_fraction=None,  # not known
    rank_share=None,
    rank_power=None,
    rank_reported=None,
    rank_edit=2,  # published code
    rank_analysis=50,  # published code
    solver=Solver(atol=1e-4, max_iterations=50, min_iterations=10, chunk=25),  # published driver
    solver_library=Solver(atol=1e-3, max_iterations=100, min_iterations=10, chunk=25),  # its library part
    guidance=MappingProxyType(dict(PRESETS)),
    normalise="off",
    kappa=None,
    shooting_step=None,
    eta_last=1.0,  # boosting is an option in either paper
    boost_share=0.2,
    num_steps=None,  # not known
    t_grid=(0.05, 1.0),  # both ends; the step between them is not known
    paths=REPORTED_PATHS,
)

_ALL = {each.name: each for each in (PARK2023, PARK2023_NEURIPS)}


def preset(name: str) -> Preset:
    """Return the settings of a paper: ``"park2023"`` (2302.12469) or ``"park2023-neurips"`` (2307.12868).

    >>> preset("park2023").kappa
    0.99

    Guidance as published has a weight w of its own; `edit` calibrates one instead, unless it is given as ``unit``:

    >>> from pullback.directions import random_x
    >>> from pullback.edit import edit
    >>> from pullback.models import toy_denoiser
    >>> den, settings = toy_denoiser(), preset("park2023-neurips").guidance["celebahq-256"]
    >>> f, x = den.feature_map(t_fraction=0.6), den.sample_latent(t_fraction=0.6, seed=0)
    >>> how = {"method": "x_guidance", "guidance": settings, "unit": settings.weight}
    >>> edit(den, x, f.t, random_x(f, rank=1)[0], [-1, 1], f=f, num_steps=2, **how).unit
    tensor(0.1000)

    Raises:
        OptionError: If there is no such preset.
    """
    if name not in _ALL:
        raise OptionError(wanted=f"a preset among {', '.join(_ALL)}", got=repr(name), hint="they hold published values")
    return _ALL[name]
