"""The Jacobian of any feature map and what follows from it; knows nothing of diffusers.

`transport` is a function of the module of that name: ``from pullback.geometry.transport import transport``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pullback.geometry.autotune import measure_plan
    from pullback.geometry.grassmann import geodesic_distance, principal_angles
    from pullback.geometry.jacobian import JacobianAt
    from pullback.geometry.maps import as_feature_map
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
    "geodesic_distance",
    "lerp",
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
    "geodesic_distance": "grassmann",
    "lerp": "paths",
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
