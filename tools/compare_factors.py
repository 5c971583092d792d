"""What a model still draws of each factor of the portrait world, beside another model: small steps and whole ones.

    python tools/compare_factors.py A B [--t-fraction 0.5] [--num 6]

Portraits are rendered at either end of a factor, noised alike and predicted by both models: how much of the true change
do A's predictions make, and how much of that do B's? For small steps the true change is the renderer's tangent, and a
prediction's is its Jacobian times it.
"""

import argparse

import numpy as np
import torch
from torch import Tensor

from pullback.api import load
from pullback.api.model import Model
from pullback.geometry import JacobianAt
from pullback.models.output_map import OutputMap
from pullback.portraits import FACTORS, index, render, sample, tangents


def main() -> None:
    """Prints a row a factor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--t-fraction", type=float, default=0.5)
    parser.add_argument("--num", type=int, default=6, help="portraits")
    options = parser.parse_args()
    z = sample(options.num, seed=5)
    z[:, index("glasses")] = -1
    models = [load(source) for source in (options.a, options.b)]
    small = [small_steps(model, z, options.t_fraction) for model in models]
    whole = [whole_steps(model, z, options.t_fraction) for model in models]
    print("factor, A by small steps, B / A, A by whole steps, B / A")
    for row in zip(
        (f.name for f in FACTORS), small[0], small[1] / small[0], whole[0], whole[1] / whole[0], strict=True
    ):
        print("{}, {:.3f}, {:.2f}, {:.3f}, {:.2f}".format(*row))


def small_steps(model: Model, z: np.ndarray, t_fraction: float) -> Tensor:
    """``<J alpha g, g> / |g|^2`` of each factor's tangent g, mean over portraits, `(16,)`."""
    t = model.schedule.timestep(t_fraction)
    g = torch.from_numpy(tangents(z))
    jac = JacobianAt(OutputMap(model, t=t, kind="x0"), _noised(model, _pictures(z), t))
    return _share(jac.jvp(model.schedule.alpha(t) * g), g)


def whole_steps(model: Model, z: np.ndarray, t_fraction: float) -> Tensor:
    """``<d, g> / |g|^2`` of the change g from z_j = -1 to 1 and the predictions' d, mean over portraits, `(16,)`."""
    t = model.schedule.timestep(t_fraction)
    changes = []
    for j in range(len(FACTORS)):
        ends = [z.copy(), z.copy()]
        for end, value in zip(ends, (-1, 1), strict=True):
            end[:, j] = value
        low, high = map(_pictures, ends)
        with torch.no_grad():
            d = model.x0(_noised(model, high, t), t) - model.x0(_noised(model, low, t), t)
        changes.append((d, high - low))
    d, g = (torch.stack(each, dim=1) for each in zip(*changes, strict=True))
    return _share(d, g)


def _share(d: Tensor, g: Tensor) -> Tensor:
    d, g = d.flatten(2), g.flatten(2)
    return ((d * g).sum(-1) / g.square().sum(-1)).mean(0)


def _pictures(z: np.ndarray) -> Tensor:
    return torch.from_numpy(render(z).transpose(0, 3, 1, 2) * 2 - 1).float()


def _noised(model: Model, x0: Tensor, t: float) -> Tensor:
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    return model.schedule.alpha(t) * x0 + model.schedule.sigma(t) * noise


if __name__ == "__main__":
    main()
