"""What is asked of Ray: GPUs and processors for each worker, and a finite number of lives. A Ray of this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pullback.bank import Bank, RunSettings, run_here
from pullback.bank.contents import content_digest
from pullback.bank.ray_backend import LOOPBACK, gpus_for, run_on_ray
from pullback.bank.toy import ToyWork, toy_units
from pullback.cli.bank_options import BankRun
from pullback.cli.bank_run import ray_settings
from pullback.errors import OptionError

SETTINGS, NUM = RunSettings(shard_size=4), 12


@dataclass(eq=False)
class Method:
    """``actor.name.remote(...)``, done at once."""

    call: Callable[..., object]
    results: dict[object, object]

    def remote(self, *arguments: object) -> object:
        ticket = object()
        self.results[ticket] = self.call(*arguments)
        return ticket


class Actor:
    def __init__(self, inner: object, results: dict[object, object]) -> None:
        for name in ("ready", "compute", "close"):
            setattr(self, name, Method(getattr(inner, name), results))


class Errors:
    RayError = type("RayError", (Exception,), {})
    RayTaskError = type("RayTaskError", (RayError,), {})


@dataclass
class FakeRay:
    """As much of Ray as the bank calls, and what it was asked for."""

    resources: dict[str, float]
    asked: list[dict[str, Any]] = field(default_factory=list)
    inits: list[dict[str, Any]] = field(default_factory=list)
    killed: list[object] = field(default_factory=list)
    results: dict[object, object] = field(default_factory=dict)
    num_shutdowns: int = 0
    exceptions = Errors
    __version__ = "fake"
    _private = SimpleNamespace(ray_constants=SimpleNamespace(ENABLE_RAY_CLUSTER=True))

    def is_initialized(self) -> bool:
        return False

    def init(self, **options: Any) -> None:
        self.inits.append(options)

    def nodes(self) -> list[dict[str, str]]:
        return [{"NodeManagerAddress": LOOPBACK}]

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def remote(self, kind: Callable[..., object], /) -> Any:
        ray = self

        class Remote:
            def options(self, **options: Any) -> Any:
                ray.asked.append(options)
                return self

            def remote(self, *arguments: object) -> Actor:
                return Actor(kind(*arguments), ray.results)

        return Remote()

    def wait(self, tickets: Sequence[object], *, num_returns: int, timeout: float | None = None) -> Any:
        return list(tickets[:num_returns]), list(tickets[num_returns:])

    def get(self, ticket: object) -> object:
        return self.results.pop(ticket)

    def kill(self, actor: object) -> None:
        self.killed.append(actor)

    def shutdown(self) -> None:
        self.num_shutdowns += 1


def ran(monkeypatch: pytest.MonkeyPatch, folder: Path, options: BankRun, **resources: float) -> FakeRay:
    """A bank filled as the command line asks, on a Ray with these resources; the contents are those of one process."""
    ray = FakeRay(resources)
    monkeypatch.setitem(sys.modules, "ray", ray)  # pyright: ignore[reportArgumentType]
    bank, whole = (Bank.make(folder / name, SETTINGS) for name in ("bank", "whole"))
    tally = run_on_ray(bank, toy_units(NUM), ToyWork(), settings=ray_settings(options))
    run_here(whole, toy_units(NUM), ToyWork())
    assert (tally.num_computed, tally.failed) == (NUM, [])
    assert content_digest(bank.reader()) == content_digest(whole.reader())
    assert len(ray.killed) == len(ray.asked)
    assert ray.num_shutdowns == 1
    return ray


@pytest.mark.parametrize(
    ("device", "workers", "gpus", "num_expected"),
    [("cuda", 0, 1.0, 3), ("cuda", 2, 1.0, 2), ("cpu", 0, 0.0, 5), ("cpu", 2, 0.0, 2), ("mps", 1, 0.0, 1)],
)
def test_each_worker_asks_for_a_processor_and_for_a_gpu_where_it_computes_on_one(
    device: str, workers: int, gpus: float, num_expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = BankRun(tmp_path, device=device, workers=workers, ray="local")
    ray = ran(monkeypatch, tmp_path, options, CPU=5.0, GPU=3.0)
    assert ray.asked == [{"num_cpus": 1, "num_gpus": gpus, "max_restarts": 0}] * num_expected
    assert [init["num_cpus"] for init in ray.inits] == [workers or None]
    assert not any("num_gpus" in init for init in ray.inits), "Ray finds the GPUs of a machine itself"


def test_a_ray_without_a_gpu_is_refused_where_workers_would_wait_for_one_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for workers in (0, 2):
        with pytest.raises(OptionError, match=r"a Ray with 1 GPU for each worker; got one with 0; start Ray where"):
            ran(monkeypatch, tmp_path, BankRun(tmp_path, device="cuda", workers=workers, ray="local"), CPU=4.0)
    assert not list((tmp_path / "bank").rglob("*.safetensors"))


def test_a_gpu_of_a_number_is_refused() -> None:
    """Each worker sees its own GPU alone, as the first: whoever asked for the second would fail, or get another one."""
    for device in ("cuda:1", "cuda:0"):
        with pytest.raises(OptionError, match=r"--device cuda with --ray.*got 'cuda:\d'; .*CUDA_VISIBLE_DEVICES=1"):
            gpus_for(device)
        with pytest.raises(OptionError, match="each worker a GPU of its own"):
            ray_settings(BankRun(Path("pairs"), device=device, ray="local"))
