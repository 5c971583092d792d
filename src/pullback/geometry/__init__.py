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
    from pullback.geometry.frechet import frechet_mean
    from pullback.geometry.geodesic import PullbackGeodesic, pullback_geodesic
    from pullback.geometry.grassmann import geodesic_distance, grassmann_exp, grassmann_log, principal_angles
    from pullback.geometry.jacobian import JacobianAt
    from pullback.geometry.lengths import PathLengths, path_lengths
    from pullback.geometry.maps import as_feature_map
    from pullback.geometry.nulls import haar_distances, matched_distances
    from pullback.geometry.paths import lerp, slerp
    from pullback.geometry.plan import Plan, Products
    from pullback.geometry.radius import linearity_radius
    from pullback.geometry.shooting import Shot, shoot, shoot_towards
    from pullback.geometry.svd import top_singular
    from pullback.geometry.tangent import TangentBasis
    from pullback.geometry.transport import one_product

__all__ = [
    "JacobianAt",
    "PathLengths",
    "Plan",
    "Products",
    "PullbackGeodesic",
    "Shot",
    "TangentBasis",
    "as_feature_map",
    "comparable",
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
    "path_between",
    "path_lengths",
    "principal_angles",
    "pullback_geodesic",
    "shoot",
    "shoot_towards",
    "slerp",
    "top_singular",
]

_HOMES = {
    "JacobianAt": "jacobian",
    "PathLengths": "lengths",
    "Plan": "plan",
    "Products": "plan",
    "PullbackGeodesic": "geodesic",
    "Shot": "shooting",
    "TangentBasis": "tangent",
    "as_feature_map": "maps",
    "comparable": "compare",
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
    "path_between": "between",
    "path_lengths": "lengths",
    "principal_angles": "grassmann",
    "pullback_geodesic": "geodesic",
    "shoot": "shooting",
    "shoot_towards": "shooting",
    "slerp": "paths",
    "top_singular": "svd",
}


def __getattr__(name: str) -> object:  # torch is imported only when something of it is used (PEP 562)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
