"""A compiled encoder: the forward derivative traced once, its part that depends on the direction alone run again."""

from __future__ import annotations

import time

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from benchmarks.cases import portraits
from benchmarks.ideas import fastest_of
from benchmarks.record import Figure, Row
from pullback.geometry.engines import Point, frozen_parameters, jvp_double_backward, prepare_forward_mode, vjp_loop
from pullback.types import FeatureMap

TABLE = "A compiled encoder: one Jv of eight samples, t/T = .8; J^T u costs the same with each"


def traced_rows(*, num: int = 8) -> list[Row]:
    """Double backward, the traced derivative, and that compiled: seconds before the first product, and of each."""
    case = portraits(t_fractions=(0.8,), num=num)[0]
    f, point, v = case.f, Point(case.f, case.x), torch.randn_like(case.x)
    ours = fastest_of(lambda: jvp_double_backward(point, v[None]))
    other = fastest_of(lambda: vjp_loop(point, torch.randn(1, num, *f.h_shape)))
    with torch.no_grad(), frozen_parameters(f), f.forward_mode():
        start = time.perf_counter()
        primal, tangent = split(f, case.x, v)
        saved = primal(case.x)
        traced_after = time.perf_counter() - start
        wanted = torch.func.jvp(f, (case.x,), (v,))[1]
        torch.testing.assert_close(tangent(v, *saved), wanted, rtol=1e-4, atol=1e-5)
        traced = fastest_of(lambda: tangent(v, *saved))
        compiled = torch.compile(tangent)
        compiled(v, *saved)
        compiled_after = time.perf_counter() - start
        fused = fastest_of(lambda: compiled(v, *saved))
    return [
        Row(TABLE, "double backward, the default", _figures(0.0, ours, ours, other)),
        Row(TABLE, "forward mode, traced and split", _figures(traced_after, traced, ours, other)),
        Row(TABLE, "the same, compiled by inductor", _figures(compiled_after, fused, ours, other)),
    ]


def split(f: FeatureMap, x: Tensor, v: Tensor) -> tuple[fx.GraphModule, fx.GraphModule]:
    """``x -> what the derivative needs of x`` and ``(v, *that) -> Jv``, both for latents of this very shape."""
    prepare_forward_mode()
    traced = make_fx(lambda x, v: torch.func.jvp(f, (x,), (v,))[1])(x, v)
    traced.graph.eliminate_dead_code()
    nodes = list(traced.graph.nodes)
    of_v = {[node for node in nodes if node.op == "placeholder"][1]}
    for node in nodes:
        if not of_v.isdisjoint(node.all_input_nodes):
            of_v.add(node)
    (end,) = (node for node in nodes if node.op == "output")
    saved = [n for n in nodes if n not in of_v and n.op != "get_attr" and not of_v.isdisjoint(n.users)]
    primal, tangent = fx.Graph(), fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in nodes:
        if node not in of_v:
            copies[node] = primal.node_copy(node, copies.__getitem__)
    primal.output(tuple(copies[node] for node in saved))
    direction = next(node for node in nodes if node in of_v)
    copies = {direction: tangent.placeholder("v")} | {node: tangent.placeholder(node.name) for node in saved}
    for node in nodes:
        is_weight = node.op == "get_attr" and not of_v.isdisjoint(node.users)
        if node not in copies and node is not end and (is_weight or node in of_v):
            copies[node] = tangent.node_copy(node, copies.__getitem__)
    tangent.output(copies[end.args[0]])  # pyright: ignore[reportArgumentType] - the one output of the traced function
    return fx.GraphModule(traced, primal), fx.GraphModule(traced, tangent)


def _figures(before: float, seconds: float, ours: float, other: float) -> dict[str, Figure]:
    saved = ours - seconds
    return {
        "seconds before": before,
        "ms a product": 1e3 * seconds,
        "of a pair Jv and J^T u": (seconds + other) / (ours + other),
        "pays after so many Jv": before / saved if saved > 0 else None,
    }
