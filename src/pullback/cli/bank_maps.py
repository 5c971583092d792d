"""``pullback bank maps``: means and maps of a bank as tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pullback.cli.bank_options import BankMaps
from pullback.cli.terminal import log, out

if TYPE_CHECKING:
    from torch import Tensor

    from pullback.bank import Bank, Reader
    from pullback.bank.summary import AtTime

MEANS, SPECTRA, TIMESTEPS = "means.csv", "spectra.csv", "timesteps"
NUM_BINS = 40


def run_maps(options: BankMaps) -> int:
    """Prints a line for each timestep, and where the files are."""
    from pullback.analyses.record import write_csv
    from pullback.api.discovery import staged
    from pullback.bank import Bank
    from pullback.bank.summary import at_each_t

    bank = Bank.open(options.folder)
    reader = bank.reader()
    found = at_each_t(bank, reader, max_samples=options.max_samples, num_passes=options.passes)
    log("the first look at a file reads and checks all of it: one pass beside those below")
    with staged(options.out) as stage:
        means, spectra = [], []
        for at in found:
            tell(at)
            means.append(mean_row(at))
            spectra += spectrum_rows(at)
            _write_square(stage / f"distances_t{at.t:g}.csv", [each[:12] for each in at.ids], at.distances)
            (stage / f"t{at.t:g}.png").write_bytes(picture(at))
        write_csv(stage / MEANS, means)
        write_csv(stage / SPECTRA, spectra)
        _timesteps(bank, reader, [row["t"] for row in means], stage)
    out(str(options.out))
    return 0


def tell(at: AtTime) -> None:
    """Prints what was found at one t."""
    rank, dim = at.subspace.shape
    if len(at.ids) < at.num_units:
        log(f"t {at.t:g}: the map is of the first {len(at.ids):,} of {at.num_units:,} units (--max-samples)")
    out(
        f"t {at.t:g}\t{at.num_units} units, {at.num_passes} passes\t"
        f"mean distance {float(at.pairs.mean()):.3f} rad, random spans (rank {rank} of {dim}) "
        f"{float(at.null.mean()):.3f}\t"
        f"mean subspace holds {at.concentration:.3f} of each, at least {at.least_concentration:.3f}"
    )


def mean_row(at: AtTime) -> dict[str, float | int]:
    """The figures of one t."""
    quantiles = {
        f"{name}_{percent:02}": float(values.quantile(percent / 100))
        for name, values in (("distance", at.pairs), ("random", at.null))
        for percent in (5, 95)
    }
    return {
        "t": at.t,
        "units": at.num_units,
        "in_map": len(at.ids),
        "rank": at.subspace.shape[0],
        "dims": at.subspace.shape[1],
        "passes": at.num_passes,
        "distance_mean": float(at.pairs.mean()),
        "random_mean": float(at.null.mean()),
        **quantiles,
        "concentration": at.concentration,
        "least_concentration": at.least_concentration,
    }


def spectrum_rows(at: AtTime) -> list[dict[str, float | int]]:
    """The mean spectrum, and how much of each direction of the mean subspace the units hold."""
    pairs = zip(at.spectrum.tolist(), at.shares.tolist(), strict=True)
    return [{"t": at.t, "index": i, "mean_s": s, "subspace_share": share} for i, (s, share) in enumerate(pairs)]


def picture(at: AtTime) -> bytes:
    """The mean spectrum, the distances beside chance, and their map."""
    from pullback.analyses.plotting import COLOURS, NULL_STYLE, panels, png

    figure, (left, middle, right) = panels(3)
    left.plot(range(1, len(at.spectrum) + 1), at.spectrum.tolist(), "o-", color=COLOURS[0], markersize=3.5)
    left.set(xlabel="i", ylabel="mean s", ylim=(0, None))
    left.locator_params(axis="x", integer=True)
    left.set_title(f"t {at.t:g}, {at.num_units} units", fontsize=9)
    middle.hist(at.pairs.numpy(), bins=NUM_BINS, color=COLOURS[0])
    middle.axvline(float(at.null.mean()), label="random spans", **NULL_STYLE)
    middle.axvspan(*at.null.quantile(at.null.new_tensor([0.05, 0.95])).tolist(), color=NULL_STYLE["color"], alpha=0.18)
    middle.legend(frameon=False, fontsize=7)
    middle.set(xlabel="distance, rad", ylabel="pairs")
    image = right.imshow(at.distances.numpy(), cmap="viridis", vmin=0)
    right.set(xlabel="unit, by id", ylabel="unit, by id")
    figure.colorbar(image, ax=right, fraction=0.046, pad=0.04)
    return png(figure)


def _timesteps(bank: Bank, reader: Reader, times: Sequence[float], stage: Path) -> None:
    """The t x t map, where there are samples that have every t."""
    from pullback.analyses.plotting import heat, panels, png
    from pullback.bank.maps import samples_by_seed, timestep_map

    samples = samples_by_seed(reader) if len(times) > 1 else {}
    if not samples:
        log("no t x t map: no sample is known to have several t")
        return
    found = timestep_map(bank, reader, samples=samples)
    labels = [f"{t:g}" for t in times]
    _write_square(stage / f"{TIMESTEPS}.csv", labels, found.value)
    figure, (axis,) = panels(1)
    heat(axis, found.value.numpy(), labels, title=f"mean distance between t, {found.num_units} samples, rad")
    (stage / f"{TIMESTEPS}.png").write_bytes(png(figure))
    out(f"t x t\t{found.num_units} samples, {found.num_passes} pass")


def _write_square(path: Path, names: Sequence[str], values: Tensor) -> None:
    from pullback.analyses.record import write_csv

    rows = zip(names, values.tolist(), strict=True)
    write_csv(path, [{"": name, **dict(zip(names, row, strict=True))} for name, row in rows])
