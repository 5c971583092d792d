"""Reports made up for tests."""

from __future__ import annotations

import numpy as np

from pullback.measure.report import DirectionCard, FactorRow, ReportData, Spectrum, Stage, Strip
from pullback.measure.report_frames import encode_strips

SCALES = (-2.0, -1.0, 0.0, 1.0, 2.0)


def a_card(index: int = 0, **changes: object) -> DirectionCard:
    fields: dict[str, object] = {
        "index": index,
        "name": "yaw +.4 rad",
        "s": 12.5 / (index + 1),
        "agreement": 0.7,
        "agreement_null": 0.3,
        "usable": (-1.5, 2.0),
        "symmetry": 0.9,
        "step": 3.2,
        "effects": (0.8, -0.1),
        "strips": (Strip(11, passed=(True,) * 5), Strip(12, passed=(False, True, True, True, True))),
        **changes,
    }
    return DirectionCard(**fields)  # pyright: ignore[reportArgumentType]


def a_report(num: int = 3, *, model: str = "toy", **changes: object) -> ReportData:
    fields: dict[str, object] = {
        "model": model,
        "command": "pullback discover toy --out here",
        "version": "0",
        "num_samples": 4,
        "num_held_out": 2,
        "scales": SCALES,
        "cards": tuple(a_card(k) for k in range(num)),
        "settings": {"t_fraction": 0.8, "layer": "mid_block"},
        "stages": (Stage("local bases", 1.5, 300, 4),),
        "spectra": (Spectrum(0, (3.0, 2.0, 1.0)), Spectrum(1, (2.5, 2.0, 0.5))),
        "factor_names": ("yaw", "smile"),
        "factors": (FactorRow("yaw", 0.2, 1.3, 0.5, 0.002, 0.9, 0.004),),
        **changes,
    }
    data = ReportData(**fields)  # pyright: ignore[reportArgumentType]
    rng = np.random.default_rng(0)
    frames = {
        (card.index, k): rng.integers(0, 255, (len(data.scales), 8, 8, 3)).astype(np.uint8)
        for card in data.cards
        for k in range(len(card.strips))
    }
    return data.with_images(encode_strips(frames))
