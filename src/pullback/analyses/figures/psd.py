"""Are early directions coarse and late ones fine? The power spectrum of v against t  (2307.12868)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pullback.analyses.beyond import Array, beyond, raw_text
from pullback.analyses.context import Context
from pullback.analyses.moves import unit_weights
from pullback.analyses.plotting import COLOURS, NULL_STYLE, POOLS, line_of_means, panels, shades
from pullback.analyses.record import Finding, Outcome, Rows, Value, column, distinct
from pullback.analyses.sizes import Size
from pullback.geometry import one_product
from pullback.geometry.psd import power_spectrum
from pullback.types import Pool

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Frequency content of directions"
CAPTION = (
    "Power of the local directions v over rings of spatial frequency, at several timesteps; beside it the share below "
    "1/8 cycle a pixel. Dashed in its colour: the same for random directions of h pulled back at the same sample, "
    "v = J^T u (matched), since the network makes any u coarse or fine, whether it is singular or not; the claim is "
    "read against their change. Dashed grey: random directions of x, for which every frequency counts alike."
)
PAPER = (
    "2307.12868 shows the power spectra of its latent directions by timestep: low frequencies near T, and higher "
    "ones as t falls."
)
NUM_DRAWN = 8
"""Random directions a sample."""


def num_bases(size: Size) -> int:
    """Two poolings."""
    return 2 * size.num_samples * len(size.t_fractions)


def run(context: Context) -> Outcome:
    """Mean power spectra of bases of every sample, timestep and pooling."""
    rows = []
    nulls: dict[tuple[Value, ...], float] = {
        (t_fraction, str(pool), sample): share
        for t_fraction in context.size.t_fractions
        for pool in POOLS
        for sample, share in enumerate(pulled_back(context, t_fraction, pool))
    }
    for where, basis in context.bases_everywhere(tuple(POOLS)):
        spectrum = power_spectrum(basis.v)
        share = float(spectrum.low_share().mean())
        shares = {"low_share": share, "low_share_null": nulls[tuple(where.values())]}
        rows += [
            {**where, **shares, "frequency": float(frequency), "power": float(power)}
            for frequency, power in zip(spectrum.frequency, spectrum.power.mean(0), strict=True)
        ]
    noise = torch.randn(64, *context.model.x_shape, generator=context.generator())
    chance = float(power_spectrum(noise).low_share().mean())
    rows += [{**rows[-1], "pool": "random x", "sample": 0, "low_share": chance, "low_share_null": chance}]
    return Outcome(rows, findings_of(rows), num=context.size.num_samples, note=note_of(rows))


def findings_of(rows: Rows) -> list[Finding]:
    """What the table says: how far the low-frequency share of v falls beyond that of its null, sample by sample."""
    return [beyond("late directions are finer", *changes(rows))]


def note_of(rows: Rows) -> str:
    """The fall as it is, and how much of it the null has too."""
    return raw_text("Low-frequency share at the largest t/T less that at the smallest, whole h", *changes(rows))


def changes(rows: Rows) -> tuple[Array, Array]:
    """Low-frequency share at the largest t less that at the smallest, of v and of its null, for each sample."""
    once = [row for row in rows if row["pool"] == "none" and row["frequency"] == rows[0]["frequency"]]
    times = [float(t) for t in distinct(once, "t_fraction")]
    own, null = (
        column(once, name, t_fraction=max(times)) - column(once, name, t_fraction=min(times))
        for name in ("low_share", "low_share_null")
    )
    return own, null


def pulled_back(context: Context, t_fraction: float, pool: Pool) -> list[float]:
    """Mean low-frequency share of random directions of H pulled back at each sample: a reverse product for each."""
    f, x = context.feature_map(t_fraction, pool=pool), context.latents(t_fraction, context.size.num_samples)
    context.plan(f, x)  # how many latents go together is known from here on
    u = unit_weights(NUM_DRAWN, torch.Size(f.h_shape).numel(), context.generator()).to(x)
    v = torch.cat([one_product(f, part, u) for part in x.split(context.batch)])  # (B, K, *x_shape)
    return power_spectrum(v).low_share().mean(1).tolist()


def draw(rows: Rows) -> Figure:
    """Spectra by t for each pooling; low-frequency share against t for both."""
    chance = next(float(row["low_share"]) for row in rows if row["pool"] == "random x")
    rows = [row for row in rows if row["pool"] != "random x"]
    times = [float(t) for t in distinct(rows, "t_fraction")]
    figure, (*spectra, right) = panels(1 + len(POOLS))
    for axis, (pool, label) in zip(spectra, POOLS.items(), strict=True):
        for t, colour in zip(times, shades(len(times)), strict=True):
            kept = [row for row in rows if row["t_fraction"] == t and row["pool"] == pool]
            at = [float(f) for f in distinct(kept, "frequency")][1:]  # a logarithm has no place for 0
            line_of_means(axis, kept, x="frequency", y="power", at=at, label=f"t/T {t:g}", colour=colour, style="-")
        axis.set(xlabel="cycles a pixel", ylabel="power of v", title=label, xscale="log", yscale="log")
        axis.set_xticks([1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2], ["1/64", "1/32", "1/16", "1/8", "1/4", "1/2"])
        axis.minorticks_off()
    spectra[0].legend(frameon=False, fontsize=7)
    for (pool, label), colour in zip(POOLS.items(), COLOURS, strict=False):
        once = [row for row in rows if row["pool"] == pool and row["frequency"] == rows[0]["frequency"]]
        line_of_means(right, once, x="t_fraction", y="low_share", at=times, label=label, colour=colour)
        null = [column(once, "low_share_null", t_fraction=t).mean() for t in times]
        right.plot(times, null, color=colour, linestyle="--", linewidth=1.0)
    right.axhline(chance, label="random x", **NULL_STYLE)
    right.set(xlabel="t / T", ylabel="share below 1/8 cycle a pixel", ylim=(0, 1))
    right.legend(frameon=False, fontsize=7)
    return figure
