"""`pullback bank` on a toy model: run, stop and go on, list, show, verify, merge."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from pullback.bank.journal import line_of
from pullback.cli import bank_options, main
from pullback.cli.bank_options import (
    BankLs,
    BankMaps,
    BankMerge,
    BankOptions,
    BankRun,
    BankShow,
    BankVerify,
    CompareOptions,
)
from pullback.cli.run import parse

ACTIONS = {"run": BankRun, "ls": BankLs, "show": BankShow, "verify": BankVerify, "merge": BankMerge, "maps": BankMaps}
WITH_HELP = {**{f"bank {name}": kind for name, kind in ACTIONS.items()}, "compare": CompareOptions}
SMALL = ("--samples", "4", "--t-fractions", "0.8,0.4", "--rank", "2", "--shard-size", "2", "--steps", "2")


def failing(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["bank", *map(str, words)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: wanted " in captured.err
    assert "\nhint: " in captured.err
    return captured.err


@pytest.fixture(scope="module")
def made(toy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bank") / "toy"
    assert main(["bank", "run", str(folder), "--model", str(toy_folder), *SMALL, "--threads", "1"]) == 0
    return folder


def test_a_run_prints_the_plan_the_sizes_and_the_digest(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bank", "run", str(tmp_path), "--model", str(toy_folder), *SMALL, "--keep-u", "none"]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.strip()) == 64
    assert "units     8: 4 samples at t/T 0.8, 0.4, rank 2" in captured.err
    assert "keeps     u none, v fp16: 8" in captured.err
    (takes,) = (line for line in captured.err.splitlines() if line.startswith("  takes     about "))
    assert " Jacobian products, " in takes
    assert " of one worker as fast as the one that began; memory in each: Krylov bases of " in takes
    assert ", graphs of " in takes
    assert "8 units computed, 0 were there, 0 set aside" in captured.err
    record = json.loads((tmp_path / "run.json").read_text())
    assert set(record["plan"]) == {"jvp_engine", "vjp_engine", "chunk", "dtype", "threads", "seconds_by_width"}
    assert record["plan"]["threads"] == torch.get_num_threads() > 0, "what torch chose, not that it chose"
    assert record["request"]["model"] == str(toy_folder)
    assert len(record["request"]["weights"]) == 64


def test_a_run_that_lost_a_file_goes_on_without_options_and_ends_in_the_same_bits(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "elsewhere"))
    assert main(["bank", "run", str(folder)]) == 0
    whole = capsys.readouterr()
    assert "0 units computed, 8 were there" in whole.err
    for path in sorted((folder / "shards").iterdir())[1:3]:
        path.unlink()
    assert main(["bank", "run", str(folder)]) == 0
    mended = capsys.readouterr()
    assert "4 units computed, 4 were there" in mended.err
    assert mended.out == whole.out


def test_shares_and_merge_end_in_the_same_bits(
    made: Path, toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bank", "run", str(made)]) == 0
    wanted = capsys.readouterr().out
    shutil.copytree(made, tmp_path / "a", ignore=shutil.ignore_patterns("*.safetensors", "*.jsonl"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for name, share in (("a", "0/2"), ("b", "1/2")):
        assert main(["bank", "run", str(tmp_path / name), "--shard", share]) == 0
    assert main(["bank", "merge", str(tmp_path / "all"), str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "4 files copied, 0 held nothing new, 0 refused" in capsys.readouterr().out
    assert main(["bank", "run", str(tmp_path / "all")]) == 0
    assert capsys.readouterr().out == wanted


def test_ls_and_show(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bank", "ls", str(made)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["t 400\t4 units", "t 800\t4 units"]
    assert lines[2].startswith("8 units in 4 files, ")
    from pullback.bank import Bank

    name = next(Bank.open(made).reader().ids())
    assert main(["bank", "show", str(made), name[:10]]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["id"] == name
    assert record["unit"]["layer"] == "mid_block"
    assert record["unit"]["made"]["num_steps"] == 2
    assert record["facts"]["vjp"] > 0
    assert len(record["s"]) == 2
    assert "which fits 0" in failing(capsys, "show", made, "zz")


def test_verify_finds_recomputes_and_cleans(
    made: Path, toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "bank"))
    assert main(["bank", "verify", str(folder), "--spot", "3", "--model", str(toy_folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "8 units in 4 files are whole"
    assert [line.split()[0] for line in lines[1:]] == ["agrees"] * 3
    assert all("same bits" in line for line in lines[1:])
    path = sorted((folder / "shards").iterdir())[0]
    path.write_bytes(path.read_bytes()[:-1])
    (folder / "shards" / "x.safetensors.partial").write_bytes(b"x")
    assert main(["bank", "verify", str(folder)]) == 1
    told = capsys.readouterr().out
    assert f"refused {path.name}: " in told
    assert "orphan shards/x.safetensors.partial" in told
    assert "6 units in 3 files are whole" in told
    assert main(["bank", "verify", str(folder), "--clean"]) == 1
    capsys.readouterr()
    assert main(["bank", "verify", str(folder)]) == 0
    assert main(["bank", "run", str(folder)]) == 0
    assert "2 units computed, 6 were there" in capsys.readouterr().err


def test_a_file_whose_name_is_no_text_is_refused_in_words(
    made: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "bank"))
    (folder / "shards" / os.fsdecode(b"\xff.safetensors")).write_bytes(b"x")
    assert main(["bank", "verify", str(folder), "--clean"]) == 1
    assert b"refused \\udcff.safetensors: " in capfdbinary.readouterr().out
    assert main(["bank", "verify", str(folder)]) == 0


def test_a_spot_check_tells_a_bank_of_other_values(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pullback.bank import Answer, Bank

    source = Bank.open(made)
    bank = Bank.make(tmp_path / "forged", source.settings)
    with bank.writer() as writer:
        for answer in (source.reader().get(unit_id) for unit_id in source.reader().ids()):
            tensors = {**answer.tensors, "u": answer.tensors["u"].roll(1, -1)}
            writer.add([Answer(answer.unit, tensors, answer.facts)])
    assert main(["bank", "verify", str(tmp_path / "forged"), "--spot", "2"]) == 1
    assert capsys.readouterr().out.count("DIFFERS") == 2


def test_another_checkpoint_or_option_is_refused_by_name(
    made: Path, toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = failing(capsys, "run", made, "--model", toy_folder, *SMALL, "--rank", 3)
    assert "same request: rank=3" in told
    from diffusers import DDIMScheduler

    from pullback.models import toy_denoiser

    other = tmp_path / "other"
    toy_denoiser(seed=1).network.save_pretrained(other)  # pyright: ignore[reportCallIssue]
    DDIMScheduler(prediction_type="v_prediction").save_pretrained(other)
    folder = Path(shutil.copytree(made, tmp_path / "bank"))
    assert "another folder for another checkpoint" in failing(capsys, "run", folder, "--model", other)
    assert "same storage: u='none'" in failing(capsys, "run", folder, "--keep-u", "none")


def test_what_is_usual_is_refused_too_where_the_bank_was_begun_with_something_else(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = failing(capsys, "run", made, "--rank", 10, "--samples=32", "--t-fractions", "0.8")
    assert "same request: num_samples=32, t_fractions=[0.8], rank=10" in told
    assert "a bank with shard_size=32" in failing(capsys, "run", made, "--shard-size", 32)
    assert main(["bank", "run", str(made), *SMALL, "--group", "1", "--threads", "0", "--keep-u", "fp16"]) == 0


@pytest.mark.parametrize("option", ["--group", "--shard-size", "--threads"])
def test_another_plan_than_the_one_begun_with_is_refused_not_passed_over(
    option: str, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = failing(capsys, "run", made, option, 7)
    assert f"a bank with {option[2:].replace('-', '_')}=7" in told


def test_a_rank_that_the_feature_has_not_got_is_refused_before_a_bank_is_made(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = failing(capsys, "run", tmp_path / "bank", "--model", toy_folder, *SMALL, "--rank", 10**6)
    assert "rank of at most min(D, N)" in told
    assert not (tmp_path / "bank").exists()


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("plan", {"foo": 1}),
        ("plan", {"chunk": "x"}),
        ("plan", {"jvp_engine": "x"}),
        ("plan", {"threads": "x"}),
        ("plan", {"threads": -1}),
        ("plan", {"seconds_by_width": 5}),
        ("plan", {"seconds_by_width": [[1, -1.0]]}),
        ("plan", {"seconds_by_width": [[4, 1.0], [1, 2.0]]}),
        ("request", {"model": 5}),
        ("request", {"layer": 5}),
        ("request", {"weights": 5}),
        ("request", {"t_fractions": "x"}),
    ],
)
def test_a_run_file_with_another_plan_or_request_is_refused_by_name(
    part: str, change: dict[str, object], made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "bank"))
    record = json.loads((folder / "run.json").read_text())
    record[part].update(change)
    (folder / "run.json").write_text(json.dumps(record))
    assert f"error: wanted a {part}" in failing(capsys, "run", folder)


def test_the_same_model_may_lie_elsewhere(
    made: Path, toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, model = (Path(shutil.copytree(each, tmp_path / each.name)) for each in (made, toy_folder))
    record = json.loads((folder / "run.json").read_text())
    record["request"]["model"] = "/where/it/was"
    (folder / "run.json").write_text(json.dumps(record))
    for path in sorted((folder / "shards").iterdir())[:1]:
        path.unlink()
    assert main(["bank", "run", str(folder), "--model", str(model)]) == 0
    assert "2 units computed, 6 were there" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["chunk", "vjp_engine"])
def test_under_another_plan_units_agree_and_are_not_said_to_have_the_same_bits(
    name: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "bank"))
    record = json.loads((folder / "run.json").read_text())
    plan = record["plan"]  # as it was measured: whichever it is, take another
    plan[name] = plan[name] + 1 if name == "chunk" else {"vmap": "loop", "loop": "vmap"}[plan[name]]
    (folder / "run.json").write_text(json.dumps(record))
    assert main(["bank", "verify", str(folder), "--spot", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["agrees"] * 2
    assert all("s off by" in line and "same bits" not in line for line in lines)


PAIRS = ("--samples", "4", "--rank", "2", "--layer", "up_blocks.0", "--group", "2", "--shard-size", "2", "--steps", "2")


def test_groups_of_two_go_on_in_the_same_bits_unless_one_of_them_fails(
    toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Iterated, from a random start that a group shares."""
    from pullback.bank import Bank
    from pullback.bank.request import BasisWork

    folder = tmp_path / "whole"
    assert main(["bank", "run", str(folder), "--model", str(toy_folder), *PAIRS, "--keep-u", "exact"]) == 0
    wanted = capsys.readouterr().out
    (tmp_path / "torn").mkdir()
    shutil.copy(folder / "run.json", tmp_path / "torn")
    sorted((folder / "shards").iterdir())[1].unlink()
    assert main(["bank", "run", str(folder)]) == 0
    mended = capsys.readouterr()
    assert "2 units computed, 2 were there" in mended.err
    assert mended.out == wanted
    with monkeypatch.context() as patched:
        patched.setattr(BasisWork, "compute", _poisoned(BasisWork.compute, seed=1))
        assert main(["bank", "run", str(tmp_path / "torn")]) == 1
    whole, torn = (Bank.open(each).reader() for each in (folder, tmp_path / "torn"))
    pairs = [(whole.get(name), torn.get(name)) for name in torn.ids()]
    same = {a.unit.made["seed"]: torch.equal(a.tensors["u"], b.tensors["u"]) for a, b in pairs}
    assert same == {0: False, 2: True, 3: True}, "whose companion failed was computed alone, from a start of its own"
    for a, b in pairs:
        torch.testing.assert_close(a.tensors["s"], b.tensors["s"], rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "none"), "--model MODEL for a new bank"),
        (("run", "none", "--shard", "4/4"), "a share i/N"),
        (("ls", "none"), "a bank, a folder with run.json"),
        (("verify", "none"), "a bank, a folder with run.json"),
        (("merge", "none", "neither"), "a bank, a folder with run.json"),
        (("run", "none", "--model", "portraits", "--samples", "0"), "num_samples of at least 1"),
        (("run", "none", "--model", "portraits", "--device", "abacus"), "a device of this machine"),
        (("run", "none", "--model", "portraits", "--ray", "--device", "cuda:1"), "CUDA_VISIBLE_DEVICES=1 before the"),
        (("run", "none", "--model", "portraits", "--threads", "-1"), "threads of at least 0"),
        (("run", "none", "--model", "portraits", "--t-fractions", "x"), "such as --t-fractions 0.8,0.5"),
        (("run", "none", "--model", "portraits", "--t-fractions", "0.8,0.5,0.8"), "shares of T in (0, 1], each once"),
        (("verify", "none", "--spot", "1", "--device", "abacus"), "a device of this machine"),
    ],
)
def test_wrong_requests_are_said_so(
    words: tuple[str, ...],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told in failing(capsys, *words)
    assert not list(tmp_path.iterdir())


def test_a_sketch_says_how_wrong_its_distances_are(
    toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pullback.bank.storage import Storage

    monkeypatch.setattr(Storage, "__init__", _with_dim(Storage.__init__, 32))
    assert main(["bank", "run", str(tmp_path), "--model", str(toy_folder), *SMALL, "--keep-u", "sketch"]) == 0
    told = capsys.readouterr().err
    assert "sketch    32 of D: distances of 3 bases are off by at most " in told
    assert "5 units computed, 3 were there" in told


def test_a_share_of_sketches_begins_with_its_own_units(
    toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pullback.bank import Bank
    from pullback.bank.storage import Storage

    monkeypatch.setattr(Storage, "__init__", _with_dim(Storage.__init__, 32))
    words = ["--model", str(toy_folder), *SMALL, "--keep-u", "sketch", "--shard", "1/2"]
    assert main(["bank", "run", str(tmp_path), *words]) == 0
    assert "1 units computed, 3 were there" in capsys.readouterr().err
    assert len(Bank.open(tmp_path).reader()) == 4, "and not three of the other share's"


def _poisoned(compute, *, seed: int):
    """``BasisWork.compute`` that fails on the unit of one seed at t = 800, and on its group."""

    def poisoned(self, units, /):
        if units[0].t == 800 and any(unit.made["seed"] == seed for unit in units):
            raise RuntimeError("poison")
        return compute(self, units)

    return poisoned


def test_a_first_unit_that_fails_does_not_end_a_run_of_sketches(
    toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pullback.bank.request import BasisWork
    from pullback.bank.storage import Storage

    monkeypatch.setattr(BasisWork, "compute", _poisoned(BasisWork.compute, seed=0))
    monkeypatch.setattr(Storage, "__init__", _with_dim(Storage.__init__, 32))
    assert main(["bank", "run", str(tmp_path), "--model", str(toy_folder), *SMALL, "--keep-u", "sketch"]) == 1
    told = capsys.readouterr().err
    assert "distances of 2 bases are off by at most " in told
    assert "5 units computed, 3 were there, 1 set aside" in told
    assert "since an earlier run" not in told


def test_a_run_whose_units_are_set_aside_ends_with_1_until_they_are_there(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a share: of its own units alone."""
    from pullback.bank.request import BasisWork

    folder = tmp_path / "bank"
    folder.mkdir()
    shutil.copy(made / "run.json", folder)
    with monkeypatch.context() as patched:
        patched.setattr(BasisWork, "compute", _poisoned(BasisWork.compute, seed=1))
        statuses = [main(["bank", "run", str(folder), "--shard", f"{i}/4"]) for i in range(4)]
        assert statuses == [0, 1, 0, 0]
    capsys.readouterr()
    assert main(["bank", "run", str(folder)]) == 1
    told = capsys.readouterr().err
    assert "0 units computed, 8 were there, 0 set aside\n1 of those that were there are set aside since" in told
    assert "says why; --retry-failed tries them again" in told
    assert [main(["bank", "run", str(folder), "--shard", f"{i}/2"]) for i in range(2)] == [0, 1]
    assert main(["bank", "run", str(folder), "--retry-failed"]) == 0
    assert main(["bank", "run", str(folder)]) == 0


def test_a_run_on_ray_whose_units_are_set_aside_ends_with_1(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pullback.bank import Tally, ray_backend

    folder = Path(shutil.copytree(made, tmp_path / "bank"))
    for tally, status in ((Tally(), 0), (Tally(failed=["ab" * 16]), 1), (Tally(num_found=1, num_aside=1), 1)):
        monkeypatch.setattr(ray_backend, "run_on_ray", lambda *_, tally=tally, **__: tally)
        if tally.num_aside:
            (folder / "done" / "x.jsonl").write_bytes(line_of({"failed": "cd" * 16, "unit": {}, "tries": 1}))
        assert main(["bank", "run", str(folder), "--ray", "local"]) == status
        told = capsys.readouterr().err
        assert ("says why" in told) == bool(status)


def _with_dim(init, dim: int):  # the toy's h is small: sketch it further than anyone would
    return lambda self, u="exact", v="exact", sketch_dim=dim: init(self, u, v, sketch_dim)


def test_the_driver_of_a_run_on_ray_has_dropped_its_model_before_workers_load_theirs(
    toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import weakref

    from pullback.bank import Bank, Tally, Unit, ray_backend
    from pullback.bank.request import BasisWork, ModelWork

    networks: list[weakref.ref[torch.nn.Module]] = []
    build = BasisWork.__init__

    def watched(self, model, request, plan):
        networks.append(weakref.ref(model.network))
        build(self, model, request, plan)

    def pretended(bank: Bank, units: Iterable[Unit], make_work: ModelWork, **_: object) -> Tally:
        alive.append([network() is not None for network in networks])
        asked.append([unit.key for unit in units])
        assert asked[-1] == [unit.key for unit in make_work().units()]
        assert bank.settings.plan["threads"] == 1
        return Tally()

    alive: list[list[bool]] = []
    asked: list[list[str]] = []
    monkeypatch.setattr(BasisWork, "__init__", watched)
    monkeypatch.setattr(ray_backend, "run_on_ray", pretended)
    before = torch.get_num_threads()
    try:
        for words in (["--model", str(toy_folder), *SMALL], []):
            networks.clear()
            assert main(["bank", "run", str(tmp_path / "bank"), *words, "--ray", "local"]) == 0
    finally:
        torch.set_num_threads(before)
    assert [any(each) for each in alive] == [False, False]
    assert all(alive)
    assert len(asked[0]) == len(set(asked[0])) == 8
    assert asked[0] == asked[1]


@pytest.mark.parametrize("name", WITH_HELP)
def test_every_action_and_option_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    import tyro

    assert main([*name.split(), "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for field in dataclasses.fields(WITH_HELP[name]):
        if field.name == "given":  # filled in by the parser
            assert "--given" not in text
            continue
        described = tyro._docstrings.get_field_docstring(WITH_HELP[name], field.name, ())
        assert described and described.rstrip().endswith("."), field.name
        assert " ".join(described.split())[:40] in text


def test_the_names_of_the_actions() -> None:
    command = parse(["bank", "verify", "here", "--spot", "2", "--clean"])
    assert isinstance(command, BankOptions)
    assert command.action == BankVerify(Path("here"), 2, True)
    assert bank_options.BankRun(Path("x")).shard == "0/1"


@pytest.mark.parametrize(
    ("words", "address"),
    [
        ("pairs", ""),
        ("pairs --ray", "local"),
        ("--ray pairs", "local"),
        ("pairs --ray --workers 2", "local"),
        ("pairs --ray local", "local"),
        ("--ray=auto pairs", "auto"),
        ("--ray 10.0.0.1:6379 pairs", "10.0.0.1:6379"),
        ("--ray ray://head:10001 pairs", "ray://head:10001"),
    ],
)
def test_ray_without_an_address_is_this_machines_own(words: str, address: str) -> None:
    command = parse(["bank", "run", *words.split()])
    assert isinstance(command, BankOptions)
    assert isinstance(command.action, BankRun)
    assert (command.action.folder, command.action.ray) == (Path("pairs"), address)


def test_discover_keeps_its_bases_and_a_second_run_computes_none(
    toy_folder: Path, tmp_path: Path, tiny_options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["discover", str(toy_folder), "--out", str(tmp_path / "out"), *tiny_options]
    products = []
    for _ in range(2):
        assert main(words) == 0
        told = capsys.readouterr().err
        assert f"local bases in {tmp_path / 'out' / 'bank'} (up to " in told
        record = json.loads((tmp_path / "out" / "report.json").read_text())
        products.append({stage["name"]: stage["num_products"] for stage in record["stages"]}["local bases"])
    assert products[0] > 0 == products[1]
    assert main([*words, "--bank", str(tmp_path / "mine")]) == 0
    assert (tmp_path / "mine" / "run.json").is_file()
    capsys.readouterr()
    assert main(["discover", str(toy_folder), "--out", str(tmp_path / "none"), *tiny_options, "--bank", "off"]) == 0
    assert "keeps     no local bases" in capsys.readouterr().err
    assert not (tmp_path / "none" / "bank").exists()
