"""The Jacobian of any feature map and what follows from it; knows nothing of diffusers.

`transport` is a function of the module of that name: ``from pullback.geometry.transport import transport``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pullback.geometry.autotune import measure_plan
    from pullback.geometry.between import path_between
    from pullback.geometry.compare import comparable
    from pullback.geometry.distances import TimeMaps, distance_map, time_maps
    from pullback.geometry.frechet import frechet_mean
    from pullback.geometry.geodesic import PullbackGeodesic, pullback_geodesic
    from pullback.geometry.grassmann import geodesic_distance, grassmann_exp, grassmann_log, principal_angles
    from pullback.geometry.jacobian import JacobianAt
    from pullback.geometry.lengths import PathLengths, path_lengths
    from pullback.geometry.maps import as_feature_map
    from pullback.geometry.nulls import haar_distances, matched_distances
    from pullback.geometry.paths import lerp, slerp
    from pullback.geometry.plan import Plan, Products
    from pullback.geometry.psd import PowerSpectrum, power_spectrum
    from pullback.geometry.radius import linearity_radius
    from pullback.geometry.shooting import shoot, shoot_towards
    from pullback.geometry.shots import Shot
    from pullback.geometry.spectra import RankRule, effective_rank, participation_ratio, rank_rule
    from pullback.geometry.svd import top_singular
    from pullback.geometry.tangent import TangentBasis
    from pullback.geometry.totals import Total, total_squares, total_values
    from pullback.geometry.transport import one_product

__all__ = [
    "JacobianAt",
    "PathLengths",
    "Plan",
    "PowerSpectrum",
    "Products",
    "PullbackGeodesic",
    "RankRule",
    "Shot",
    "TangentBasis",
    "TimeMaps",
    "Total",
    "as_feature_map",
    "comparable",
    "distance_map",
    "effective_rank",
    "frechet_mean",
    "geodesic_distance",
    "grassmann_exp",
    "grassmann_log",
    "haar_distances",
    "lerp",
    "linearity_radius",
    "matched_distances",
    "measure_plan",
    "one_product",
    "participation_ratio",
    "path_between",
    "path_lengths",
    "power_spectrum",
    "principal_angles",
    "pullback_geodesic",
    "rank_rule",
    "shoot",
    "shoot_towards",
    "slerp",
    "time_maps",
    "top_singular",
    "total_squares",
    "total_values",
]

_HOMES = {
    "JacobianAt": "jacobian",
    "PathLengths": "lengths",
    "Plan": "plan",
    "PowerSpectrum": "psd",
    "Products": "plan",
    "PullbackGeodesic": "geodesic",
    "RankRule": "spectra",
    "Shot": "shots",
    "TangentBasis": "tangent",
    "TimeMaps": "distances",
    "Total": "totals",
    "as_feature_map": "maps",
    "comparable": "compare",
    "distance_map": "distances",
    "effective_rank": "spectra",
    "frechet_mean": "frechet",
    "geodesic_distance": "grassmann",
    "grassmann_exp": "grassmann",
    "grassmann_log": "grassmann",
    "haar_distances": "nulls",
    "lerp": "paths",
    "linearity_radius": "radius",
    "matched_distances": "nulls",
    "measure_plan": "autotune",
    "one_product": "transport",
    "participation_ratio": "spectra",
    "path_between": "between",
    "path_lengths": "lengths",
    "power_spectrum": "psd",
    "principal_angles": "grassmann",
    "pullback_geodesic": "geodesic",
    "rank_rule": "spectra",
    "shoot": "shooting",
    "shoot_towards": "shooting",
    "slerp": "paths",
    "time_maps": "distances",
    "top_singular": "svd",
    "total_squares": "totals",
    "total_values": "totals",
}


def __getattr__(name: str) -> object:  # torch is imported only when something of it is used (PEP 562)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
