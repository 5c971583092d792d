"""Edits: by steps, guidance or injection; masked, composed, recorded; at a calibrated scale."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pullback.edit.apply import Edited as Edited
    from pullback.edit.apply import edit as edit
    from pullback.edit.composition import Composed as Composed
    from pullback.edit.composition import compose as compose
    from pullback.edit.composition import composed_move as composed_move
    from pullback.edit.composition import interaction as interaction
    from pullback.edit.composition import orthogonalised as orthogonalised
    from pullback.edit.folder import FolderEdit as FolderEdit
    from pullback.edit.folder import edit_folder as edit_folder
    from pullback.edit.injection import Injected as Injected
    from pullback.edit.injection import inject as inject
    from pullback.edit.interpolation import interpolate as interpolate
    from pullback.edit.masked import denoise_masked as denoise_masked
    from pullback.edit.masked import masked_vectors as masked_vectors
    from pullback.edit.presets import Preset as Preset
    from pullback.edit.presets import preset as preset
    from pullback.edit.recipe import EditOptions as EditOptions
    from pullback.edit.record import record_composition as record_composition
    from pullback.edit.record import record_edit as record_edit
    from pullback.edit.record import record_injection as record_injection
    from pullback.edit.record import record_window as record_window
    from pullback.edit.replay import Replay as Replay
    from pullback.edit.replay import replay_edit as replay_edit
    from pullback.edit.scale import Calibration as Calibration
    from pullback.edit.scale import UsableRange as UsableRange
    from pullback.edit.scale import calibrate as calibrate
    from pullback.edit.scale import denoising_loss as denoising_loss
    from pullback.edit.scale import typical_distance as typical_distance
    from pullback.edit.scale import usable_range as usable_range
    from pullback.edit.steps import PRESETS as PRESETS
    from pullback.edit.steps import XGuidance as XGuidance
    from pullback.edit.steps import one_step as one_step
    from pullback.edit.steps import x_guidance as x_guidance
    from pullback.edit.vectors import vectors_at as vectors_at
    from pullback.edit.window import Boost as Boost
    from pullback.edit.window import Window as Window
    from pullback.edit.window import denoise_boosted as denoise_boosted
    from pullback.edit.window import edit_in_window as edit_in_window

_HOMES = {
    "Boost": "window",
    "Calibration": "scale",
    "Composed": "composition",
    "EditOptions": "recipe",
    "Edited": "apply",
    "FolderEdit": "folder",
    "Injected": "injection",
    "PRESETS": "steps",
    "Preset": "presets",
    "Replay": "replay",
    "UsableRange": "scale",
    "Window": "window",
    "XGuidance": "steps",
    "calibrate": "scale",
    "compose": "composition",
    "composed_move": "composition",
    "denoise_boosted": "window",
    "denoise_masked": "masked",
    "denoising_loss": "scale",
    "edit": "apply",
    "edit_folder": "folder",
    "edit_in_window": "window",
    "inject": "injection",
    "interaction": "composition",
    "interpolate": "interpolation",
    "masked_vectors": "masked",
    "one_step": "steps",
    "orthogonalised": "composition",
    "preset": "presets",
    "record_composition": "record",
    "record_edit": "record",
    "record_injection": "record",
    "record_window": "record",
    "replay_edit": "replay",
    "typical_distance": "scale",
    "usable_range": "scale",
    "vectors_at": "vectors",
    "x_guidance": "steps",
}
__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
