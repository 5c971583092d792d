"""Figures of the portrait world: what h sees of each factor, and how the directions compare with their rivals.

Seeds: 10,000 on for discovery, 20,000 on for tuning, 30,000 on for what is published. Tuning uses model A, publication
model B; each contest appends its settings and all its rows to a CSV, the bad ones too.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from torch import Tensor
from tyro.conf import Positional

from pullback.directions import global_directions, local_basis, pca_of_h, random_h, random_x, rotated
from pullback.directions.types import Direction
from pullback.geometry import TangentBasis
from pullback.measure.contest import Mover, Result, by_one_product, by_transport, everywhere, ridge_directions
from pullback.measure.effects import Walk, effects, matched_length
from pullback.measure.factors import visibility
from pullback.models import Denoiser, load_denoiser
from pullback.portraits import NAMES, render, sample, tangents
from pullback.portraits.judge import Judge, load_judge
from pullback.portraits.oracle import to_clean
from pullback.portraits.train import make_network
from pullback.types import FeatureMap, Pool

DISCOVERY, TUNING, PUBLISHED, KNOWN = 10_000, 20_000, 30_000, 50_000
POOLS: dict[str, Pool] = {"none": "none", "sum": "sum", "sum2": ("sum", 2)}


def known_latents(denoiser: Denoiser, num: int, *, t: int, seed: int) -> tuple[np.ndarray, Tensor]:
    """Renders of known factors, noised to t."""
    z = sample(num, seed=seed)
    return z, denoiser.noise(to_clean(render(z)), t, denoiser.draw(range(seed, seed + num)))


def see(
    model: Positional[str] = "portraits",
    *,
    t_fractions: tuple[float, ...] = (0.8, 0.6, 0.4, 0.2),
    pools: tuple[Literal["none", "sum", "sum2"], ...] = ("none", "sum"),
    layers: tuple[str, ...] = ("mid_block",),
    num: int = 8,
    rank: int = 24,
    csv_file: Path | None = None,
) -> None:
    """Print gain and recall of each factor at several t, layers and poolings.

    Args:
        model: Folder, or the shipped one.
        t_fractions: Shares of T.
        pools: Poolings of h.
        layers: Names of layers.
        num: Portraits averaged over.
        rank: Directions in each basis.
        csv_file: Also write the table here.
    """
    denoiser, rows = load_denoiser(model), []
    for t_fraction in t_fractions:
        t = denoiser.schedule.timestep(t_fraction)
        z, x = known_latents(denoiser, num, t=int(t), seed=KNOWN)
        g = torch.from_numpy(tangents(z))
        for layer in layers:
            for pool in pools:
                f = denoiser.feature_map(t=t, layer=layer, pool=POOLS[pool])
                seen = visibility(f, x, g, local_basis(f, x, rank=rank, generator=torch.Generator().manual_seed(0)))
                for j, name in enumerate(NAMES):
                    rows.append(
                        {"t": t, "layer": layer, "pool": pool, "rank": rank, "factor": name, "energy": seen.energy[j],
                         "gain": seen.gain[j], "recall x": seen.recall_x[j], "null x": seen.null_x,
                         "recall h": seen.recall_h[j], "null h": seen.null_h}
                    )  # fmt: skip
                _show(rows[-len(NAMES) :])
    if csv_file is not None:
        _write(csv_file, rows, append=False)


@dataclass(frozen=True)
class Settings:
    """What a contest is run with.

    Attributes:
        model: Folder, or the shipped one.
        split: Which seeds: tune on one, publish the other.
        t_fraction: Share of T at which directions are found and edits are made.
        layer: Feature layer.
        pool: Pooling of h.
        num_samples: Samples that directions are found on.
        rank: Directions of each method.
        num_held_out: Samples that are edited and read.
        num_tuning: Samples on which lengths are matched.
        size: Effect at which methods are compared, mean |e| in standard deviations.
        num_steps: DDIM steps from t to the clean end.
    """

    model: str = "portraits"
    split: Literal["tuning", "published"] = "tuning"
    t_fraction: float = 0.8
    layer: str = "mid_block"
    pool: Literal["none", "sum", "sum2"] = "none"
    num_samples: int = 32
    rank: int = 24
    num_held_out: int = 64
    num_tuning: int = 8
    size: float = 1.0
    num_steps: int = 12


METHODS = ("ours", "ours transported", "rotated", "random h", "random x", "pca of h", "random network", "supervised")


def contest(
    settings: Settings, *, methods: tuple[str, ...] = METHODS, csv_file: Path = Path("docs/results/contest.csv")
) -> None:
    """Compare methods at equal effect on held-out samples, and append every row to a CSV.

    Args:
        settings: What it is run with.
        methods: Which methods.
        csv_file: Grows by one row a method.
    """
    denoiser, judge = load_denoiser(settings.model), load_judge()
    f = denoiser.feature_map(t_fraction=settings.t_fraction, layer=settings.layer, pool=POOLS[settings.pool])
    t = denoiser.schedule.timestep(settings.t_fraction)
    walk = Walk(denoiser, t, settings.num_steps, judge.factors, judge.residual)
    first = TUNING if settings.split == "tuning" else PUBLISHED
    x = _latents(denoiser, settings, first, settings.num_held_out)
    x_tuning = _latents(denoiser, settings, TUNING + 5000, settings.num_tuning)
    gate = float(np.quantile(judge.residual(walk.pictures(_latents(denoiser, settings, DISCOVERY + 5000, 128))), 0.95))
    for method in methods:
        move = _mover(method, denoiser, f, settings, judge)
        length = matched_length(walk, x_tuning, move(x_tuning), size=settings.size)
        found = effects(walk, x, move(x), length, gate=gate)
        row = {**asdict(settings), **Result(method, found).row()}
        _write(csv_file, [row], append=True)
        _show([row])


def _latents(denoiser: Denoiser, settings: Settings, first: int, num: int) -> Tensor:
    return denoiser.sample_latent(t_fraction=settings.t_fraction, seeds=range(first, first + num), num_steps=40)


def _mover(method: str, denoiser: Denoiser, f: FeatureMap, settings: Settings, judge: Judge) -> Mover:
    generator = torch.Generator().manual_seed(1)
    if method == "random x":
        return everywhere(torch.stack([d.vector for d in random_x(f, rank=settings.rank, generator=generator)]))
    if method == "random network":
        f = _untrained(denoiser).feature_map(
            t_fraction=settings.t_fraction, layer=settings.layer, pool=POOLS[settings.pool]
        )
    if method == "supervised":
        z, known = known_latents(denoiser, 512, t=int(f.origin["t"]), seed=KNOWN)
        with torch.no_grad():
            h = torch.cat([f(part).flatten(1) for part in known.split(64)])
        return by_one_product(f, ridge_directions(h, z))
    makers: dict[str, Callable[[], Sequence[Direction]]] = {
        "random h": lambda: random_h(f, rank=settings.rank, generator=generator),
        "pca of h": lambda: pca_of_h(f, _latents(denoiser, settings, DISCOVERY, 256), rank=settings.rank),
        "rotated": lambda: rotated(_ours(denoiser, f, settings), generator=generator),
    }
    u = torch.stack([d.vector for d in makers.get(method, lambda: _ours(denoiser, f, settings))()])
    return by_transport(f, u, lambda f, x: _bases(f, x, settings)) if "transported" in method else by_one_product(f, u)


def _ours(denoiser: Denoiser, f: FeatureMap, settings: Settings) -> Sequence[Direction]:
    return global_directions([_bases(f, _latents(denoiser, settings, DISCOVERY, settings.num_samples), settings)])


def _bases(f: FeatureMap, x: Tensor, settings: Settings) -> TangentBasis:
    return local_basis(f, x, rank=settings.rank, tol=1e-2, verify=False, generator=torch.Generator().manual_seed(0))


def _untrained(denoiser: Denoiser) -> Denoiser:
    torch.manual_seed(0)
    return replace(denoiser, network=make_network().eval().requires_grad_(False))


def _show(rows: Sequence[dict]) -> None:
    names = list(rows[0])
    cells = [[f"{row[n]:.3f}" if isinstance(row[n], float) else str(row[n]) for n in names] for row in rows]
    widths = [max(len(n), *(len(line[i]) for line in cells)) for i, n in enumerate(names)]
    for line in [names, *cells]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))
    print(flush=True)


def _write(path: Path, rows: Sequence[dict], *, append: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not (append and path.exists())
    with path.open("a" if append else "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        if new:
            writer.writeheader()
        writer.writerows([{k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows])


if __name__ == "__main__":
    sys.exit(tyro.extras.subcommand_cli_from_dict({"see": see, "contest": contest}))
