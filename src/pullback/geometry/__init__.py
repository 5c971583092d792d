"""The Jacobian of any feature map and what follows from it; knows nothing of diffusers.

`transport` is a function of the module of that name: ``from pullback.geometry.transport import transport``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pullback.geometry.autotune import measure_plan
    from pullback.geometry.frechet import frechet_mean
    from pullback.geometry.grassmann import geodesic_distance, grassmann_exp, grassmann_log, principal_angles
    from pullback.geometry.jacobian import JacobianAt
    from pullback.geometry.maps import as_feature_map
    from pullback.geometry.nulls import haar_distances, matched_distances
    from pullback.geometry.paths import lerp, slerp
    from pullback.geometry.plan import Plan, Products
    from pullback.geometry.svd import top_singular
    from pullback.geometry.tangent import TangentBasis
    from pullback.geometry.transport import one_product

__all__ = [
    "JacobianAt",
    "Plan",
    "Products",
    "TangentBasis",
    "as_feature_map",
    "frechet_mean",
    "geodesic_distance",
    "grassmann_exp",
    "grassmann_log",
    "haar_distances",
    "lerp",
    "matched_distances",
    "measure_plan",
    "one_product",
    "principal_angles",
    "slerp",
    "top_singular",
]

_HOMES = {
    "JacobianAt": "jacobian",
    "Plan": "plan",
    "Products": "plan",
    "TangentBasis": "tangent",
    "as_feature_map": "maps",
    "frechet_mean": "frechet",
    "geodesic_distance": "grassmann",
    "grassmann_exp": "grassmann",
    "grassmann_log": "grassmann",
    "haar_distances": "nulls",
    "lerp": "paths",
    "matched_distances": "nulls",
    "measure_plan": "autotune",
    "one_product": "transport",
    "principal_angles": "grassmann",
    "slerp": "paths",
    "top_singular": "svd",
}


def __getattr__(name: str) -> object:  # torch is imported only when something of it is used (PEP 562)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
