"""Figures of the portrait world: what h sees of each factor, and how the directions compare with their rivals.

Tuning takes model A and run seed 1, publication model B, which is the shipped one, and run seed 2. Each comparison
appends its settings and all its rows to a CSV, the bad ones too.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from PIL import Image
from torch import Tensor
from tyro.conf import Positional

from pullback.api import discover, load, load_discovery
from pullback.api.contest import ContestSettings, contest
from pullback.directions import local_basis
from pullback.measure.factors import visibility
from pullback.models import Denoiser, load_denoiser
from pullback.portraits import NAMES, render, sample, tangents
from pullback.portraits.oracle import to_clean
from pullback.types import Pool

KNOWN = 50_000
SEED_OF = {"tuning": 1, "published": 2}
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


def compare(
    model: Positional[str] = "portraits",
    *,
    split: Literal["tuning", "published"] = "tuning",
    t_fraction: float = 0.8,
    pool: Literal["none", "sum", "sum2"] = "none",
    layer: str | None = None,
    num_samples: int = 32,
    rank: int = 24,
    settings: ContestSettings,
    csv_file: Path = Path("docs/results/settings_tried.csv"),
) -> None:
    """Compare methods at equal effect on held-out samples, and append every row to a CSV.

    Args:
        model: Folder, or the shipped one.
        split: Which seeds: tune on one, publish the other.
        t_fraction: Share of T at which directions are found and edits are made.
        pool: Pooling of h.
        layer: Feature layer; the innermost block if none.
        num_samples: Samples that directions are found on.
        rank: Directions of each method.
        settings: How methods are compared.
        csv_file: Grows by one row a method.
    """
    loaded = load(model)
    asked = {"num_samples": num_samples, "rank": rank, "t_fraction": t_fraction, "seed": SEED_OF[split]}
    found = discover(loaded, num_held_out=8, layer=layer, pool=POOLS[pool], **asked)
    described = {"model": model_name(model), "split": split, "layer": str(found.origin["layer"]), "pool": pool, **asked}
    numbers = {name: value for name, value in asdict(settings).items() if name != "methods"}
    for method in settings.methods:
        result = contest(loaded, found, replace(settings, methods=(method,)))[0]
        row = {**described, **numbers, **result.row()}
        _write(csv_file, [row], append=True)
        _show([row])


def table(csv_file: Positional[Path] = Path("docs/results/comparison.csv")) -> None:
    """Print what `compare` measured as Markdown, with each purity as a share of the way from random to the ceiling.

    Args:
        csv_file: What `compare` wrote, with "random h" and "supervised" among its methods.
    """
    with csv_file.open(newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    low, high = (float(rows[name]["purity"]) for name in ("random h", "supervised"))
    columns = ("directions", "D@12 (null)", "D@24 (null)", "purity", "transfer", "pass rate", "of the ceiling's purity")
    print(f"| {' | '.join(('', *columns))} |\n|{'---|' * (len(columns) + 1)}")
    for name, row in rows.items():
        value = {key: float(text) for key, text in row.items() if text.replace(".", "").isdigit()}
        counts = [
            f"{value[d]:.0f} [{value[f'{d} low']:.0f}, {value[f'{d} high']:.0f}] ({value[f'{d} null 99 %']:.0f})"
            for d in ("D@12", "D@24")
        ]
        means = [f"{value[f]:.2f} [{value[f'{f} low']:.2f}, {value[f'{f} high']:.2f}]" for f in ("purity", "transfer")]
        share = (value["purity"] - low) / (high - low)
        cells = (name, row["directions"], *counts, *means, f"{value['pass rate']:.2f}", f"{share:.2f}")
        print(f"| {' | '.join(cells)} |")


def layers(csv_file: Positional[Path]) -> None:
    """Print a table that `see` wrote as means over the factors: one row a layer and pooling, recall in x and h by t.

    Args:
        csv_file: What `see --csv-file` wrote.
    """
    with csv_file.open(newline="") as file:
        rows = list(csv.DictReader(file))
    times = list(dict.fromkeys(row["t"] for row in rows))
    print("| layer | pool |", *(f"x, t = {t} | h, t = {t} |" for t in times), "chance in h |")
    print("|---|---|", *("---|---|" for _ in times), "---|")
    for layer, pool in dict.fromkeys((row["layer"], row["pool"]) for row in rows):
        here = [row for row in rows if (row["layer"], row["pool"]) == (layer, pool)]
        cells = (
            f"{np.mean([float(row[name]) for row in here if row['t'] == t]):.2f} |"
            for t in times
            for name in ("recall x", "recall h")
        )
        print(f"| {layer} | {pool} |", *cells, f"{float(here[0]['null h']):.3f} |")


def sheet(
    folder: Positional[Path],
    path: Positional[Path],
    *,
    directions: tuple[int, ...] = (2, 12, 10, 3),
    scales: tuple[float, ...] = (-10, -5, 0, 5, 10),
    people: tuple[int, ...] = (500_000, 500_002, 500_003),
) -> None:
    """Write a picture of several directions: one row each, and in it several people at several scales.

    Args:
        folder: What `pullback discover` wrote.
        path: PNG file to write.
        directions: Rows, counted from 0 as in the report.
        scales: Columns of one person; 1 moves h by a tenth of the distance of two samples.
        people: Seeds; those of a run's held-out samples begin at 500,000.
    """
    found, report = load_discovery(folder)
    model, rows = load(report.model), []
    for index in directions:
        strips = [model.edit(direction=found[index], scale=scales, seed=seed) for seed in people]
        blank = np.full((model.x_shape[1], 6, 3), 255, np.uint8)
        cells = [np.asarray(each) for strip in strips for each in (*strip, blank)][:-1]
        rows.append(np.concatenate(cells, axis=1))
    picture = Image.fromarray(np.concatenate(rows))
    picture.resize((picture.width * 3 // 2, picture.height * 3 // 2), Image.Resampling.LANCZOS).save(path)


def model_name(model: str) -> str:
    """Name for records: a folder's own name, without the path of this machine."""
    path = Path(model)
    return path.parent.name if path.name == "model" else path.name


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
    commands = {"see": see, "layers": layers, "compare": compare, "table": table, "sheet": sheet}
    sys.exit(tyro.extras.subcommand_cli_from_dict(commands))
