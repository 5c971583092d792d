"""On a device: nothing meets what stayed on the CPU, and what leaves torch has come back first."""

import dataclasses

import numpy as np
import pytest
import torch

import pullback
from pullback.analyses import Size
from pullback.analyses.catalogue import load_figure
from pullback.analyses.context import Context
from pullback.analyses.figures.complexity import siblings_in
from pullback.api import PageSettings, make_report
from pullback.directions import canonical, global_directions, load_directions, local_basis, save_directions
from pullback.directions.masks import Rectangle
from pullback.edit import edit
from pullback.geometry import JacobianAt, Plan, linearity_radius, pullback_geodesic, total_squares, total_values
from pullback.models import toy_denoiser
from pullback.portraits.judge import load_judge
from pullback.portraits.siblings import SHIPPED

PLAN = Plan.fixed("double_backward", "vmap", chunk=8)
TINY = Size(3, 2, 2, 2, 1, 1, 2, (0.8, 0.4), 2, 2)


@pytest.fixture(scope="module")
def model(device):
    return pullback.load(toy_denoiser()).to(device)


@pytest.fixture(scope="module")
def found(model, tmp_path_factory):
    bank = tmp_path_factory.mktemp("bank")
    settings = {"num_samples": 3, "num_held_out": 2, "rank": 2, "num_steps": 2, "pool": "sum", "plan": PLAN}
    first, second = (pullback.discover(model, bank=bank, **settings) for _ in range(2))
    return first, second


def test_the_device_refuses_what_an_accelerator_refuses(device):
    there = torch.ones(3, device=device)
    assert (there.device.type, (2 * there + torch.tensor(1.0)).tolist()) == ("simulated", [3.0, 3.0, 3.0])
    with pytest.raises(RuntimeError, match="same device"):
        there + torch.ones(3)
    with pytest.raises(RuntimeError, match="same device"):
        torch.where(there > 0, there, torch.zeros(3))
    with pytest.raises(RuntimeError, match="indices should be"):
        torch.ones(3)[there > 0]
    with pytest.raises(RuntimeError, match="generator"):
        torch.randn(3, device=device, generator=torch.Generator())
    for leave in (there.numpy, lambda: np.asarray(there), lambda: np.stack([there, there])):
        with pytest.raises(TypeError, match="to numpy"):
            leave()


def test_a_discovery_its_report_and_its_bank(model, found):
    first, second = found
    assert {each.vector.device.type for each in first} == {"simulated"}
    assert all(torch.equal(a.u.cpu(), b.u.cpu()) for a, b in zip(first.bases, second.bases, strict=True))
    assert second.bases[0].u.device == first.bases[0].u.device
    report = make_report(model, first, source="toy", command="", page=PageSettings(num_shown=1, num_people=1))
    assert report.stages


def test_numbers_are_those_of_the_cpu(model, found):
    x = found[0].latents
    there, here = (
        local_basis(den.feature_map(t_fraction=0.8, pool="sum"), x, rank=2, plan=PLAN)
        for den in (model, pullback.load(toy_denoiser()))
    )
    assert torch.allclose(there.u.cpu(), here.u, atol=1e-5)
    assert torch.allclose(there.s.cpu(), here.s, rtol=1e-5)


def test_directions_from_disk_edit_a_model_on_a_device(model, found, tmp_path):
    save_directions(tmp_path / "directions.safetensors", found[0])
    stored = load_directions(tmp_path / "directions.safetensors")
    f = model.feature_map(t_fraction=0.8, pool="sum")
    for options in ({}, {"mask": Rectangle(0, 0, 0.5, 0.5), "mask_in": "x0"}):
        edited = edit(
            model, found[0].held_out, f.t, stored, (-1.0, 0.0, 1.0), f=f, num_steps=1, distance=1.0, **options
        )
        assert edited.x0.device.type == "simulated"
    assert len(model.edit(seed=1, direction=stored[0], scale=[-1.0, 0.0, 1.0], num_steps=2)) == 3


def test_geometry(model, found):
    f, x, bases = model.feature_map(t_fraction=0.8, pool="sum"), found[0].latents, found[0].bases
    assert linearity_radius(f, x[0], bases[0].v, plan=PLAN).shape == (2,)
    assert pullback_geodesic(f, x[0], x[1], num_segments=2, max_iterations=2, plan=PLAN).points.device == x.device
    jac = JacobianAt(f, x[0], plan=PLAN)
    assert total_squares(jac, num_probes=2, sketch=1).value > 0
    assert total_values(jac, num_probes=2, num_steps=2, basis=bases[0]).value > 0
    assert len(canonical(bases)) == len(bases)
    assert global_directions(bases, match="hungarian")[0].vector.device == x.device


@pytest.mark.parametrize("name", ["transport", "local"])
def test_figures(name, model, tmp_path_factory, monkeypatch):
    def pooled(self, t_fraction, **_):  # of which all of J is a few products
        return self.model.feature_map(t_fraction=t_fraction, pool="sum")

    monkeypatch.setattr(Context, "feature_map", pooled)
    context = Context(model, TINY, bank=tmp_path_factory.getbasetemp() / "figures")
    context.how = PLAN
    rows = load_figure(name).run(context).rows
    assert all(isinstance(value, str | int | float) for row in rows for value in row.values())


def test_the_judge_reads_pictures_of_a_device_and_siblings_run_beside_the_model(device):
    judge, x0 = load_judge(), torch.zeros(1, 3, 64, 64)
    for read in (judge.factors, judge.residual):
        assert np.allclose(read(x0.to(device)), read(x0))
    moved = dataclasses.replace(judge, oracle=load_judge().oracle.to(device))
    assert np.allclose(moved.factors(x0), judge.factors(x0), atol=1e-5)
    assert {each.device for level in siblings_in(SHIPPED, device=device).values() for each in level} == {device}
