"""The only place that knows diffusers: models, feature maps, schedules, conditions, inversion."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pullback.models.conditions import Condition as Condition
    from pullback.models.ddim import denoise as denoise
    from pullback.models.ddim import invert as invert
    from pullback.models.denoiser import Denoiser as Denoiser
    from pullback.models.feature_map import NetworkFeatureMap as NetworkFeatureMap
    from pullback.models.layers import find_layer as find_layer
    from pullback.models.load import list_models as list_models
    from pullback.models.load import load_denoiser as load_denoiser
    from pullback.models.load import wrap_module as wrap_module
    from pullback.models.multistep import denoise_multistep as denoise_multistep
    from pullback.models.schedule import FlowSchedule as FlowSchedule
    from pullback.models.schedule import KarrasSchedule as KarrasSchedule
    from pullback.models.schedule import Schedule as Schedule
    from pullback.models.schedule import VPSchedule as VPSchedule
    from pullback.models.schedule import schedule_of as schedule_of
    from pullback.models.toy import gaussian_denoiser as gaussian_denoiser
    from pullback.models.toy import toy_denoiser as toy_denoiser

_HOMES = {
    "Condition": "conditions",
    "Denoiser": "denoiser",
    "FlowSchedule": "schedule",
    "KarrasSchedule": "schedule",
    "NetworkFeatureMap": "feature_map",
    "Schedule": "schedule",
    "VPSchedule": "schedule",
    "denoise": "ddim",
    "denoise_multistep": "multistep",
    "find_layer": "layers",
    "gaussian_denoiser": "toy",
    "invert": "ddim",
    "list_models": "load",
    "load_denoiser": "load",
    "schedule_of": "schedule",
    "toy_denoiser": "toy",
    "wrap_module": "load",
}
__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
