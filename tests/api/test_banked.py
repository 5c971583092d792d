"""discover and its bank: a second run computes no basis, and nothing of another run is ever served."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import pullback
from pullback.api import banked
from pullback.api.banked import banked_bases, open_bank, units_of
from pullback.api.model import Model
from pullback.api.settings import Settings, silent
from pullback.bank import Bank, RunSettings, Storage
from pullback.bank.bases import unit_of
from pullback.directions import local_basis
from pullback.errors import MemoryWarning, MismatchError, NoMemoryError
from pullback.geometry import Plan
from pullback.models import toy_denoiser
from pullback.models.conditions import Condition

SMALL: dict[str, Any] = {"num_samples": 4, "num_held_out": 3, "rank": 3, "plan": Plan.fixed(chunk=8)}


@pytest.fixture(scope="module")
def model() -> Model:
    return pullback.load(toy_denoiser())


def spent(found: pullback.Discovery) -> int:
    return next(stage.num_products for stage in found.stages if stage.name == "local bases")


def same(a: pullback.Discovery, b: pullback.Discovery) -> bool:
    """Whether bases and directions have the same bits, and directions the same figures."""
    names = ("u", "s", "v", "residual", "s_next", "is_verified")
    bases = zip((*a.bases, *a.held_out_bases), (*b.bases, *b.held_out_bases), strict=True)
    figures = [[(d.s, d.agreement, d.agreement_null, d.cluster) for d in found] for found in (a, b)]
    return (
        all(torch.equal(getattr(x, name), getattr(y, name)) for x, y in bases for name in names)
        and all(torch.equal(x.vector, y.vector) for x, y in zip(a, b, strict=True))
        and figures[0] == figures[1]
    )


def test_a_second_run_computes_no_basis_and_ends_in_the_same_bits(model: Model, tmp_path: Path) -> None:
    without = pullback.discover(model, **SMALL)
    first = pullback.discover(model, bank=tmp_path, **SMALL)
    second = pullback.discover(model, bank=tmp_path, **SMALL)
    assert spent(without) == spent(first) > 0
    assert spent(second) == 0
    assert same(without, first)
    assert same(first, second)
    assert [basis.origin for basis in first.bases] == [basis.origin for basis in second.bases]
    assert sum(basis.products.total for basis in (*second.bases, *second.held_out_bases)) == spent(first)


def test_the_width_of_the_block_is_the_same_with_a_bank_and_without(model: Model, tmp_path: Path) -> None:
    f = model.feature_map(t_fraction=0.8, layer="up_blocks.0")  # its h is too large to be computed whole
    x = model.sample_latent(t_fraction=0.8, seeds=[0], num_steps=2)
    units = [unit_of(f, rank=2, tol=1e-2, x=latent) for latent in x]
    narrow = Plan.fixed(chunk=8)
    wide = replace(narrow, seconds_by_width=((1, 9.0), (4, 1.0)))

    def u_of(plan: Plan, folder: Path | None = None) -> torch.Tensor:
        return banked_bases(f, x, units, batch=1, plan=plan, folder=folder, progress=silent).bases[0].u

    kept = u_of(wide, tmp_path)
    assert torch.equal(kept, u_of(wide))
    assert not torch.equal(kept, u_of(narrow)), "or the width would not matter here"
    shutil.rmtree(tmp_path / "shards")
    assert torch.equal(kept, u_of(narrow, tmp_path)), "the plan of the bank, widths and all"


def test_more_samples_cost_only_themselves(model: Model, tmp_path: Path) -> None:
    few = {**SMALL, "pool": "sum"}  # computed whole, so that every basis takes as many products
    many = {**few, "num_samples": 6}
    first = pullback.discover(model, bank=tmp_path, **few)
    more = pullback.discover(model, bank=tmp_path, **many)
    assert spent(more) == pytest.approx(spent(first) * 2 / 7, rel=0.01)
    alone = pullback.discover(model, **many)  # other batches, and so other random starts
    for one, other in zip(more.bases, alone.bases, strict=True):
        torch.testing.assert_close(one.s, other.s, rtol=1e-3, atol=0)
    assert len(Bank.open(tmp_path).reader()) == 9


@pytest.mark.parametrize(
    "change", [{"rank": 2}, {"t_fraction": 0.5}, {"seed": 1}, {"pool": "sum"}, {"num_steps": 3}, {"tol": 1e-4}]
)
def test_another_setting_is_never_served(change: dict[str, Any], model: Model, tmp_path: Path) -> None:
    pullback.discover(model, bank=tmp_path, **SMALL)
    other = pullback.discover(model, bank=tmp_path, **{**SMALL, **change})
    assert spent(other) == sum(basis.products.total for basis in (*other.bases, *other.held_out_bases))
    assert same(other, pullback.discover(model, **{**SMALL, **change}))


def test_another_checkpoint_is_never_served(model: Model, tmp_path: Path) -> None:
    pullback.discover(model, bank=tmp_path, **SMALL)
    other = pullback.load(toy_denoiser(seed=3))
    assert spent(pullback.discover(other, bank=tmp_path, **SMALL)) > 0


def test_guidance_and_what_it_leads_away_from_make_another_latent(model: Model) -> None:
    """The map sees the conditional pass alone; the walk to its latent sees both."""
    cond = Condition({"label": torch.tensor([1])}, {"label": torch.tensor([0])}, 3.0)
    f = model.feature_map(t_fraction=0.8)
    others = (replace(cond, guidance=5.0), replace(cond, unconditional={"label": torch.tensor([2])}))
    plain, *keys = [
        units_of(model, f, Settings(), cond=each)[0].key for each in (None, cond.conditional(), cond, *others)
    ]
    assert keys[0] == plain, "without guidance nothing is added"
    assert len({*keys}) == 4


def test_a_damaged_bank_is_refused_by_name_not_served(model: Model, tmp_path: Path) -> None:
    pullback.discover(model, bank=tmp_path, **SMALL)
    path = next((tmp_path / "shards").iterdir())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(pullback.PullbackError, match=path.name):
        pullback.discover(model, bank=tmp_path, **SMALL)


def test_the_plan_of_the_bank_is_kept(model: Model, tmp_path: Path) -> None:
    pullback.discover(model, bank=tmp_path, **SMALL)
    again = pullback.discover(model, bank=tmp_path, **{**SMALL, "seed": 1, "plan": Plan.fixed("loop", chunk=4)})
    assert again.bases[0].plan.chunk == 8


def test_the_forecast_is_of_the_plan_that_a_begun_bank_keeps_to(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pullback.api import PageSettings, cost, forecast
    from pullback.geometry import batching

    settings = Settings(2, 1, 3, layer="up_blocks.0", num_steps=2, batch=1)  # its h is too large to be computed whole
    narrow = replace(Plan.fixed(chunk=4), seconds_by_width=((1, 1.0), (4, 1.0)))
    wide = replace(Plan.fixed("double_backward", "loop", chunk=4), seconds_by_width=((1, 9.0), (4, 1.0)))
    monkeypatch.setattr(batching, "measure_plan", lambda *_, **__: narrow)

    def told(bank: Path) -> cost.Forecast:
        return forecast(model, settings, PageSettings(num_shown=1, num_people=1), bank=bank)

    new = told(tmp_path / "new")
    assert (new.plan, new.is_of_bank, list(tmp_path.iterdir())) == (narrow, False, [])
    open_bank(tmp_path / "begun", wide, batch=1)
    begun = told(tmp_path / "begun")
    assert (begun.plan, begun.is_of_bank) == (wide, True)
    assert begun.num_products > new.num_products, "a block as wide as the bank's own times make it"
    assert begun.seconds_bases < begun.num_products, "but seconds as measured here, not one a product"
    monkeypatch.setattr(batching, "measure_plan", lambda *_, **__: pytest.fail("what the bank knows was measured"))
    words = {"num_samples": 2, "num_held_out": 1, "rank": 3, "layer": "up_blocks.0", "num_steps": 2, "batch": 1}
    found = pullback.discover(model, bank=tmp_path / "begun", **words)
    assert {basis.plan.jvp_engine for basis in found.bases} == {begun.plan.jvp_engine}


def test_a_bank_that_keeps_less_is_refused(model: Model, tmp_path: Path) -> None:
    Bank.make(tmp_path, RunSettings(storage=Storage(u="fp16")))
    with pytest.raises(MismatchError, match=r"same storage: u='exact'; got .* with u='fp16'"):
        pullback.discover(model, bank=tmp_path, **SMALL)


def test_bases_of_a_bank_run_are_shared(model: Model, tmp_path: Path) -> None:
    from pullback.bank import run_here
    from pullback.bank.request import BasisWork, Request

    plan = {"jvp_engine": "vmap", "vjp_engine": "vmap", "chunk": 8, "dtype": "auto"}
    work = BasisWork(model, Request("toy", num_samples=4, rank=3), plan)
    bank = Bank.make(tmp_path, RunSettings(plan=plan))  # one by one: a seed's latent has no company in its bits
    assert run_here(bank, work.units(), lambda: work).num_computed == 4
    found = pullback.discover(model, bank=tmp_path, **SMALL)
    assert spent(found) == sum(basis.products.total for basis in found.held_out_bases)


def latents_and_units(model: Model, num: int) -> tuple[Any, torch.Tensor, list[Any]]:
    f = model.feature_map(t_fraction=0.8)
    x = model.sample_latent(t_fraction=0.8, seeds=range(num), num_steps=4)
    return f, x, [unit_of(f, rank=3, tol=1e-3, x=latent) for latent in x]


def cramp(monkeypatch: pytest.MonkeyPatch, most: int, error: Exception) -> list[int]:
    """From here on more than ``most`` latents together raise; returns the numbers that were tried."""
    tried: list[int] = []

    def cramped(f: Any, x: torch.Tensor, **options: Any) -> Any:
        tried.append(len(x))
        if len(x) > most:
            raise error
        return local_basis(f, x, **options)

    monkeypatch.setattr(banked, "local_basis", cramped)
    return tried


def test_when_memory_runs_out_fewer_latents_go_together_and_nothing_else_changes(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    f, x, units = latents_and_units(model, 7)
    options: dict[str, Any] = {"plan": SMALL["plan"], "folder": None, "progress": silent}
    wanted = banked_bases(f, x, units, batch=3, **options)
    assert wanted.batch == 3
    tried = cramp(monkeypatch, 3, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.warns(MemoryWarning, match="out of memory with 7 samples together; going on with 3"):
        found = banked_bases(f, x, units, batch=64, **options)
    assert tried == [7, 3, 3, 1]
    assert all(torch.equal(a.v, b.v) for a, b in zip(found.bases, wanted.bases, strict=True))
    assert (found.num_products, found.num_found, found.batch) == (wanted.num_products, 0, 3)


def test_want_of_memory_for_one_latent_is_an_error_and_other_errors_are_left_alone(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    f, x, units = latents_and_units(model, 2)
    options: dict[str, Any] = {"batch": 1, "plan": SMALL["plan"], "folder": None, "progress": silent}
    cramp(monkeypatch, 0, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(NoMemoryError, match="memory for the basis of one sample; got CUDA out of memory; take a lower"):
        banked_bases(f, x, units, **options)
    cramp(monkeypatch, 0, RuntimeError("no such thing"))
    with pytest.raises(RuntimeError, match="no such thing"):
        banked_bases(f, x, units, **options)
