"""A report out of drawn portraits, without any network: for looking at the page, and for its checks.

python tools/page_sample.py OUT.html
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from pullback import __version__
from pullback.measure.report import (
    ComparisonRow,
    DirectionCard,
    FactorRow,
    ReportData,
    Spectrum,
    Stage,
    Strip,
    render,
)
from pullback.measure.report_frames import encode_strips
from pullback.portraits import factors
from pullback.portraits.renderer import render as draw

SCALES = (-12.0, -8.0, -4.0, 0.0, 4.0, 8.0, 12.0)
SEEDS = (50_000, 50_001, 50_002, 50_003, 50_004)


def sample_report(*, num_directions: int = 12, label: str = "head turn") -> ReportData:
    """Returns a page with pictures and invented figures."""
    rng = np.random.default_rng(0)
    people = factors.sample(len(SEEDS), seed=3)
    images, cards = {}, []
    for index in range(num_directions):
        effect = np.zeros(factors.NUM_FACTORS)
        effect[index % factors.NUM_FACTORS] = 0.75
        effect[(index * 5 + 3) % factors.NUM_FACTORS] += 0.2 * (-1) ** index
        for k, person in enumerate(people):
            path = np.clip(person + np.outer(SCALES, effect) / 4, -2.4, 2.4)
            images[index, k] = np.round(255 * np.clip(draw(path), 0, 1)).astype(np.uint8)
        effect += rng.normal(0, 0.04, effect.shape)
        cards.append(_card(index, effect, label=label if index == 0 else ""))
    return _report(cards).with_images(encode_strips(images))


def _card(index: int, effect: np.ndarray, *, label: str) -> DirectionCard:
    best = int(np.argmax(np.abs(effect)))
    agreement = 0.78 * 0.92**index
    passed = tuple(abs(scale) < 10 or index % 3 > 0 for scale in SCALES)
    return DirectionCard(
        index=index,
        name=f"{factors.NAMES[best]} +{effect[best]:.1f} sd" if index % 5 < 4 else "unclear",
        label=label,
        s=14.2 * 0.86**index,
        cluster=(4, 5) if index in (4, 5) else (index,),
        agreement=agreement,
        agreement_null=0.36,
        usable=(-10 + 0.5 * (index % 4), 8.5),
        symmetry=0.95 - 0.03 * index,
        step=6.1 + index,
        facts={"colour share": 0.08 * index, "locality": 0.61},
        effects=tuple(float(value) for value in effect),
        strips=tuple(Strip(seed, passed=passed if k == 2 else (True,) * len(SCALES)) for k, seed in enumerate(SEEDS)),
    )


def _report(cards: list[DirectionCard]) -> ReportData:
    rng = np.random.default_rng(1)
    falling = 20 * np.exp(-0.13 * np.arange(24))
    return ReportData(
        model="portraits",
        command="pullback discover portraits --out demo --samples 32 --rank 24 --t-fraction 0.8 --seed 0",
        version=__version__,
        num_samples=32,
        num_held_out=16,
        scales=SCALES,
        effect_scale=8.0,
        cards=tuple(cards),
        settings={
            "t_fraction": 0.8,
            "t": 800,
            "layer": "mid_block",
            "pool": "none",
            "rank": 24,
            "weights": "9f2c" * 16,
        },
        plan={"products": 5200, "seconds": 160},
        stages=(Stage("bases", 64.2, 5321, 32), Stage("global", 1.3), Stage("frames", 101.7, 60, 8100)),
        spectra=tuple(Spectrum(k, tuple(falling * rng.lognormal(0, 0.08, 24))) for k in range(32)),
        factor_names=factors.NAMES,
        factors=tuple(
            FactorRow(name, 0.2 * 0.8**k, 1.4 * 0.93**k, 0.6 * 0.9**k, 0.002, 0.95 - 0.03 * k, 0.004)
            for k, name in enumerate(factors.NAMES)
        ),
        comparisons=(
            ComparisonRow("pullback (ours)", {"D@12": (6.0, 5.0, 7.0), "purity": (0.61, 0.55, 0.66)}, is_ours=True),
            ComparisonRow("random in x", {"D@12": (0.0, 0.0, 1.0), "purity": (0.21, 0.18, 0.24)}),
            ComparisonRow("PCA of h", {"D@12": (4.0, 3.0, 5.0), "purity": (0.48, 0.41, 0.55)}),
        ),
        notes=("Directions 13 and 17 were the same as 2 and 3 (|cos| > .9) and were merged.",),
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(render(sample_report()))
