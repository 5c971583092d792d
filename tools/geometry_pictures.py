"""The pictures of docs/geometry.md, drawn with the library's own functions on maps of two and three dimensions.

    python tools/geometry_pictures.py [FOLDER]

Each picture ends in a check of what it shows.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
import tyro
from matplotlib import pyplot as plt
from torch import Tensor
from tyro.conf import Positional

from pullback.errors import TransportWarning
from pullback.geometry import (
    JacobianAt,
    as_feature_map,
    geodesic_distance,
    linearity_radius,
    path_lengths,
    pullback_geodesic,
    shoot,
    slerp,
    top_singular,
)
from pullback.geometry.transport import transport
from pullback.testing import UnitMap
from pullback.types import FeatureMap

BLUE, RED, GREEN, GREY = "#2b6cb0", "#c53030", "#2f855a", "#a0aec0"
FOLDER = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "geometry"


def sheet(x: Tensor) -> Tensor:
    """A curved sheet in three dimensions, `(B, 2)` to `(B, 3)`: steep along one coordinate, flat along the other."""
    return torch.stack([x[:, 0], 0.6 * x[:, 1], 0.55 * torch.sin(1.4 * x[:, 0]) + 0.12 * x[:, 1] ** 2], dim=1)


def feature_map(call: Callable[[Tensor], Tensor], dim: int) -> FeatureMap:
    """A plain function as a feature map."""
    return as_feature_map(call, torch.zeros(1, dim, dtype=torch.float64))


def basis(f: FeatureMap, x: Tensor, rank: int) -> Any:
    """The exact tangent basis at x."""
    return top_singular(JacobianAt(f, x), rank, method="dense")


def metric(folder: Path) -> None:
    """X with circles of equal pulled-back length, H with the sheet, and the singular vectors of one point in both."""
    f, x = feature_map(sheet, 2), torch.tensor([0.3, 0.2], dtype=torch.float64)
    figure = plt.figure(figsize=(9, 4))
    flat, curved = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2, projection="3d")
    turn = torch.linspace(0, 2 * math.pi, 60, dtype=torch.float64)
    circle = torch.stack([turn.cos(), turn.sin()], dim=1)
    for place in torch.cartesian_prod(*[torch.linspace(-1.2, 1.2, 4, dtype=torch.float64)] * 2):
        length = JacobianAt(f, place).jvp(circle).norm(dim=1, keepdim=True)
        flat.plot(*(place + 0.25 * circle / length).T, color=GREY, lw=1)
    _grid(curved, f)
    found = basis(f, x, 2)
    h = f(x[None])[0]
    for u, s, v, color in zip(found.u, found.s, found.v, (RED, BLUE), strict=True):
        arrow = {"arrowstyle": "->", "color": color, "lw": 2}
        (tip1, tip2), (start1, start2) = (x + 0.6 * v).tolist(), x.tolist()
        flat.annotate("", (tip1, tip2), (start1, start2), arrowprops=arrow)
        flat.text(1.1 * tip1 - 0.1 * start1, 1.1 * tip2 - 0.1 * start2, f"v, s = {float(s):.2f}", color=color)
        curved.quiver(*h, *(0.6 * s * u), color=color, lw=2)
    flat.set(title="X: each oval is a circle of the metric at its centre", aspect="equal", xlim=(-1.8, 2.2))
    flat.set(xlabel="x1", ylabel="x2")
    curved.set_title("H: what the unit arrows of X become")
    _save(figure, folder / "metric.png")
    pushed = JacobianAt(f, x).jvp(found.v)
    assert torch.allclose(pushed, found.s[:, None] * found.u)  # J v = + s u


def radius(folder: Path) -> None:
    """Features along a straight line of X against their tangent, and the share of the remainder."""
    f, x = feature_map(sheet, 2), torch.tensor([0.3, 0.2], dtype=torch.float64)
    v = basis(f, x, 1).v[0]
    reach = float(linearity_radius(f, x, v, largest=3.0))
    g = torch.linspace(0, 1.3, 60, dtype=torch.float64)
    moved, tangent = f(x + g[:, None] * v), f(x[None]) + g[:, None] * JacobianAt(f, x).jvp(v[None])
    share = (moved - tangent).norm(dim=1)[1:] / (g[1:] * JacobianAt(f, x).jvp(v[None]).norm())
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    left.plot(moved[:, 0], moved[:, 2], color=RED, label="h(x + g v)")
    left.plot(tangent[:, 0], tangent[:, 2], color=GREY, ls="--", label="h + g J v")
    left.set(xlabel="h1", ylabel="h3", title="A straight step of x bends in H")
    left.legend(frameon=False)
    right.plot(g[1:], share, color=RED)
    right.axhline(0.1, color=GREY, ls="--")
    right.axvline(reach, color=BLUE)
    right.text(reach + 0.02, 0.02, f"linearity radius {reach:.2f}", color=BLUE)
    right.set(xlabel="g", title="remainder as a share of g |J v|")
    _save(figure, folder / "radius.png")
    assert float(share[g[1:] < reach].max()) < 0.1 < float(share[g[1:] > reach].min())


def moving(folder: Path) -> None:
    """The tangent planes of two points, their angle, and a direction carried from one to the other."""
    f = feature_map(sheet, 2)
    places = torch.tensor([[0.0, -0.7], [1.15, 0.6]], dtype=torch.float64)
    a, b = (basis(f, x, 2) for x in places)
    ends = f(places)
    u = a.u[0] * torch.where(a.u[0, 0] < 0, -1.0, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TransportWarning)  # in three dimensions a random direction keeps as much
        moved = transport(u, b)
    figure = plt.figure(figsize=(9, 4.4))
    curved = figure.add_subplot(projection="3d")
    _grid(curved, f)
    square = torch.tensor([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]], dtype=torch.float64) * 0.45
    for end, found, color in zip(ends, (a, b), (RED, BLUE), strict=True):
        curved.plot(*(end + square @ found.u).T, color=color, lw=1.5)
    curved.quiver(*ends[0], *(0.7 * u), color=RED, lw=2)
    curved.quiver(*ends[1], *(0.7 * u), color=GREY, lw=2)
    curved.quiver(*ends[1], *(0.7 * moved.u), color=BLUE, lw=2)
    distance = float(geodesic_distance(a.u, b.u))
    curved.set_title(
        f"T_h of two points: distance {distance:.2f} rad. Red u, as it is (grey) and projected (blue): "
        f"kept {float(moved.retained):.2f}",
        fontsize=9,
    )
    _save(figure, folder / "transport.png")
    assert torch.allclose(moved.u @ b.u.mT @ b.u, moved.u)


def shooting(folder: Path) -> None:
    """Shooting against a fixed v on ``h = x / |x|``: in x, and how far h turns."""
    f, x = UnitMap(2), torch.tensor([1.0, 0.0], dtype=torch.float64)
    u = torch.tensor([0.0, 1.0], dtype=torch.float64)
    shot = shoot(f, x, u, basis_at=lambda point: basis(f, point, 1), step=0.1, num_steps=30)
    fixed = x + 0.1 * torch.arange(31)[:, None] * u
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
    for path, color, name in ((shot.x, RED, "shooting"), (fixed, GREY, "fixed v")):
        angle = torch.atan2(f(path)[:, 1], f(path)[:, 0])
        left.plot(*path.T, color=color, label=name)
        right.plot(0.1 * torch.arange(len(path)), angle, color=color)
    turn = torch.linspace(0, 2 * math.pi, 100)
    left.plot(turn.cos(), turn.sin(), color=BLUE, lw=0.8, label="h")
    left.set(aspect="equal", title="x", xlim=(-1.6, 2.6), ylim=(-1.2, 3.1))
    left.legend(frameon=False, fontsize=8, loc="upper right")
    right.axhline(math.pi / 2, color=BLUE, ls="--", lw=0.8)
    right.set(xlabel="length of the path in x", title="angle of h: a fixed v never passes a quarter turn")
    _save(figure, folder / "shooting.png")
    assert float(f(shot.x)[-1, 0]) < 0 < float(f(fixed)[-1, 0])


def paths(folder: Path) -> None:
    """A great circle of the shell, and geodesics for three weights, of a map that hardly sees one coordinate."""
    matrix = torch.diag(torch.tensor([1.0, 1.0, 0.15], dtype=torch.float64))
    f = feature_map(lambda x: torch.tanh(x @ matrix.mT), 3)
    a, b = (torch.tensor(end, dtype=torch.float64) for end in ([0.95, -0.3, 0.1], [-0.75, -0.65, 0.1]))
    a, b = a / a.norm(), b / b.norm()
    figure = plt.figure(figsize=(9, 4.4))
    ball: Any = figure.add_subplot(projection="3d")
    around, up = torch.meshgrid(torch.linspace(0, 6.2832, 25), torch.linspace(-1.5, 1.5, 13), indexing="ij")
    ball.plot_wireframe(up.cos() * around.cos(), up.cos() * around.sin(), up.sin(), color=GREY, lw=0.3)
    lines = {"slerp": (slerp(a, b, torch.linspace(0, 1, 31).tolist()), BLUE)}
    for weight, color in ((1.0, GREEN), (0.1, "#b7791f"), (0.0, RED)):
        lines[f"geodesic, weight {weight:g}"] = (pullback_geodesic(f, a, b, relative_weight=weight).points, color)
    lengths = {}
    for name, (points, color) in lines.items():
        lengths[name] = path_lengths(f, points, lambda x: basis(f, x, 2)).h_length
        ball.plot(*points.T, color=color, lw=2, label=f"{name}: {lengths[name]:.2f} in H")
    ball.view_init(elev=50, azim=-95)
    ball.set_box_aspect((1, 1, 1), zoom=1.3)
    ball.set_axis_off()
    ball.legend(frameon=False, fontsize=8)
    ball.set_title("Four paths on the shell of typical norms; h hardly sees the height", fontsize=9)
    _save(figure, folder / "paths.png")
    assert lengths["geodesic, weight 0"] < lengths["geodesic, weight 1"] <= lengths["slerp"]


def _grid(axes: Any, f: FeatureMap) -> None:
    line = torch.linspace(-1.5, 1.5, 40, dtype=torch.float64)
    for fixed in torch.linspace(-1.5, 1.5, 9, dtype=torch.float64):
        for points in (torch.stack([line, fixed.expand(40)], 1), torch.stack([fixed.expand(40), line], 1)):
            axes.plot(*f(points).T, color=GREY, lw=0.5)
    axes.set(xlabel="h1", ylabel="h2", zlabel="h3")
    axes.set_box_aspect((1, 0.7, 0.5), zoom=1.15)
    axes.view_init(elev=28, azim=-65)


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)


def main(folder: Positional[Path] = FOLDER) -> None:
    """Draw all pictures into a folder."""
    mpl.use("Agg")
    for draw in (metric, radius, moving, shooting, paths):
        draw(folder)


if __name__ == "__main__":
    tyro.cli(main)
