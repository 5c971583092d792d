"""The commands on a toy model: what they write, print, and leave alone when something goes wrong."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from pullback.cli import main
from pullback.directions import load_directions
from pullback.measure.report import from_plain, read_images

FILES = ("directions.safetensors", "report.html", "report.json")


def listing(folder: Path) -> dict[str, bytes]:
    """Every file but those of a bank, which stays whatever becomes of a run."""
    files = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {str(name): path.read_bytes() for name, path in files.items() if "bank" not in name.parts}


@pytest.fixture
def results(discovered: Path, tmp_path: Path) -> Path:
    """A copy of a finished folder that a test may change."""
    return Path(shutil.copytree(discovered, tmp_path / "results"))


def failing(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Runs a command that must fail; returns what it said, which has three parts."""
    assert main([str(word) for word in words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: wanted " in captured.err
    assert "\n       got " in captured.err
    assert "\nhint: " in captured.err
    assert "Traceback" not in captured.err
    return captured.err


PLAN = ["samples", "bases", "pictures", "names", "total", "memory", "writes", "keeps"]
MEMORY = (
    r"  memory    \S+ [GM]B: weights and activations \S+ [GM]B at any rank, Krylov bases .* k?B, finished bases .* kB"
)


def test_discover_writes_three_files_and_prints_the_page(
    toy_folder: Path, tmp_path: Path, tiny_options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "er"
    assert main(["discover", str(toy_folder), "--out", str(out), *tiny_options]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{out / 'report.html'}\n"
    assert tuple(sorted(path.name for path in out.iterdir() if path.is_file())) == FILES
    lines = captured.err.splitlines()
    plan = lines.index("plan")
    assert [line.split()[0] for line in lines[plan + 1 : plan + 9]] == PLAN
    assert any("Jacobian products" in line for line in lines[plan : plan + 5])
    assert re.fullmatch(r"  samples   3 samples \+ 2 held out: 20 network calls, \d.* s", lines[plan + 1])
    assert re.fullmatch(r"  names     4 strips, \d.* s", lines[plan + 4])
    assert re.fullmatch(MEMORY, lines[plan + 6])
    assert any(line.strip().startswith("local bases") for line in lines[plan + 9 :])
    assert lines[-1].startswith("hint: open it in a browser")


def test_the_plan_of_a_run_that_goes_on_is_that_of_its_bank(
    toy_folder: Path,
    tmp_path: Path,
    tiny_options: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from pullback.geometry import Plan, batching

    for measured, told in ((Plan.fixed(chunk=5), ")"), (Plan.fixed("loop", chunk=7), ", as its bank was begun)")):
        monkeypatch.setattr(batching, "measure_plan", lambda *_, plan=measured, **__: plan)
        assert main(["discover", str(toy_folder), "--out", str(tmp_path), *tiny_options]) == 0
        assert f"Jacobian products (vmap / vmap, 5 at a time{told}, " in capsys.readouterr().err
    words = ["discover", str(toy_folder), "--out", str(tmp_path), *tiny_options, "--bank", "off"]
    assert main(words) == 0
    assert "(loop / vmap, 7 at a time), " in capsys.readouterr().err


def test_the_results_say_all_that_determined_them(discovered: Path, toy_folder: Path) -> None:
    directions = load_directions(discovered / "directions.safetensors")
    origin = directions[0].origin
    assert {"weights", "config", "layer", "pool", "t", "condition", "distance", "seed", "num_samples"} <= set(origin)
    assert (origin["layer"], origin["t"], origin["pool"]) == ("mid_block", 800, "none")
    report = from_plain(json.loads((discovered / "report.json").read_text()))
    assert report.model == str(toy_folder)
    assert report.command.startswith(f"pullback discover {toy_folder} --out")
    assert [card.index for card in report.cards] == list(range(len(directions)))
    assert {"samples", "local bases", "global directions", "pictures"} <= {stage.name for stage in report.stages}
    assert sum(stage.num_products for stage in report.stages) > 0
    assert set(read_images((discovered / "report.html").read_bytes())) == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(
    toy_folder: Path, discovered: Path, tmp_path: Path, tiny_options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pullback.api.cost
    from pullback.api.pictures import Precision
    from pullback.geometry import Plan, batching

    monkeypatch.setattr(batching, "measure_plan", lambda *_, **__: Plan.fixed(chunk=8))
    monkeypatch.setattr(pullback.api.cost, "_fastest_precision", lambda *_: (Precision(), 0.01, 0.01))
    outs = [tmp_path / name for name in ("a", "b", "c")]
    for out, seed in zip(outs, ("0", "0", "1"), strict=True):
        assert main(["discover", str(toy_folder), "--out", str(out), "--seed", seed, *tiny_options]) == 0
    first, second, other = (load_directions(out / "directions.safetensors") for out in outs)
    assert [a.origin for a in first] == [b.origin for b in second]
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0].vector, other[0].vector)
    pictures = [read_images((out / "report.html").read_bytes()) for out in outs]
    assert pictures[0] == pictures[1]
    assert pictures[0] != pictures[2]


def test_edit_writes_one_frame_a_scale(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["edit", str(results), "--direction", "1", "--scale", "-1,0,1", "--seed", "7"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{results / 'edit-1-7.png'}\n"
    with Image.open(results / "edit-1-7.png") as picture:
        assert picture.size == (24, 8)
        frames = np.asarray(picture)
    assert (frames[:, :8] != frames[:, 8:16]).any()


def test_edit_of_a_sample_of_the_report_gives_its_frame_at_zero(results: Path) -> None:
    report = from_plain(json.loads((results / "report.json").read_text()))
    seed = report.cards[0].strips[0].seed
    assert main(["edit", str(results), "--direction", "0", "--scale", "0", "--out", str(results / "still.png")]) == 0
    with Image.open(results / "still.png") as picture:
        still = np.asarray(picture.convert("RGB")).astype(float)
    from pullback import load

    model = load(report.model)
    x = model.sample_latent(t_fraction=0.8, seed=seed)
    from pullback.models import denoise_multistep

    wanted = model.to_image(denoise_multistep(model, x[None], 800, num_steps=8))[0]
    assert np.abs(still - wanted).max() <= 1


def test_edit_of_a_picture_file(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "me.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)).save(picture)
    words = ["edit", str(results), "--direction", "0", "--image", str(picture), "--out", str(tmp_path / "e.webp")]
    assert main([*words, "--scale", "-1,0,1"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'e.webp'}\n"
    assert (tmp_path / "e.webp").read_bytes()[:4] == b"RIFF"


def test_label_reaches_all_three_files_and_comes_off_again(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = read_images((results / "report.html").read_bytes())
    assert main(["label", str(results), "1", "head <turn>"]) == 0
    assert capsys.readouterr().out == f"{results / 'report.html'}\n"
    assert load_directions(results / "directions.safetensors")[1].name == "head <turn>"
    assert json.loads((results / "report.json").read_text())["cards"][1]["label"] == "head <turn>"
    page = (results / "report.html").read_bytes()
    assert b"head &lt;turn&gt;" in page
    assert b"head <turn>" not in page
    assert read_images(page) == images
    assert main(["label", str(results), "1", ""]) == 0
    assert "it was 'head <turn>'" in capsys.readouterr().err
    assert b"head &lt;turn" not in (results / "report.html").read_bytes()


def test_models_prints_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    captured = capsys.readouterr()
    from pullback.models import list_models

    assert captured.out.split() == list(list_models())
    assert captured.err.startswith("hint: ")


# bad input: a three-part message, exit status 2, nothing written


def test_an_unknown_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = failing(capsys, "discover", "no such model!", "--out", tmp_path / "o")
    assert "no such model!" in said
    assert listing(tmp_path) == {}


def test_a_folder_that_holds_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    failing(capsys, "discover", tmp_path / "empty", "--out", tmp_path / "o")
    assert listing(tmp_path) == {}


def test_a_missing_layer_lists_the_nearest(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = failing(capsys, "discover", toy_folder, "--out", tmp_path / "o", "--layer", "mid_blok")
    assert "mid_block" in said
    assert listing(tmp_path) == {}


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--rank", "100000"), "rank"),
        (("--rank", "0"), "rank"),
        (("--samples", "1"), "samples"),
        (("--held-out", "0"), "held-out"),
        (("--t-fraction", "1.5"), "t_fraction"),
        (("--t-fraction", "nan"), "t_fraction"),
        (("--seed", "-1"), "seed"),
        (("--max-scale", "0"), "scale"),
        (("--device", "toaster"), "toaster"),
        (("--people", "0"), "samples in a row"),
        (("--prompt", "a cat"), "prompt"),
    ],
)
def test_options_that_have_no_meaning(
    toy_folder: Path, tmp_path: Path, options: tuple[str, ...], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert part in failing(capsys, "discover", toy_folder, "--out", tmp_path / "o", *options)
    assert listing(tmp_path) == {}


def test_nan_weights(toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = Path(shutil.copytree(toy_folder, tmp_path / "broken"))
    weights = broken / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    next(iter(tensors.values())).flatten()[0] = torch.nan
    save_file(tensors, weights)
    said = failing(capsys, "discover", broken, "--out", tmp_path / "o")
    assert "NaN" in said
    assert not (tmp_path / "o" / "report.html").exists()


def test_directions_of_another_model(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from diffusers import DDIMScheduler

    from pullback.models import toy_denoiser

    other = tmp_path / "other"
    toy_denoiser(seed=5).network.save_pretrained(other)  # pyright: ignore[reportCallIssue]
    DDIMScheduler(prediction_type="v_prediction").save_pretrained(other)
    before = listing(results)
    said = failing(capsys, "edit", results, "--direction", "0", "--model", other)
    assert "weights" in said
    assert listing(results) == before
    assert (
        main(["edit", str(results), "--direction", "0", "--model", str(other), "--allow-mismatch", "--scale", "0"]) == 0
    )


@pytest.mark.parametrize("index", ["-1", "99"])
def test_a_direction_that_is_not_there(results: Path, index: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = listing(results)
    failing(capsys, "edit", results, f"--direction={index}")
    if index == "99":
        failing(capsys, "label", results, index, "x")
    assert listing(results) == before


def test_a_label_that_is_too_long_or_unprintable(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = listing(results)
    failing(capsys, "label", results, "0", "x" * 81)
    failing(capsys, "label", results, "0", "a\x1bb")
    assert listing(results) == before


def test_a_seed_and_a_picture_at_once(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = failing(capsys, "edit", results, "--direction", "0", "--seed", "1", "--image", results / "x.png")
    assert "--seed or --image" in said


@pytest.mark.parametrize("content", [None, b"not a picture", b"\x89PNG\r\n\x1a\n broken"])
def test_a_picture_that_is_none(
    results: Path, tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "p.png").write_bytes(content)
    assert "picture file" in failing(capsys, "edit", results, "--direction", "0", "--image", tmp_path / "p.png")


def test_a_folder_without_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("edit", tmp_path / "no", "--direction", "0"), ("label", tmp_path, "0", "x")):
        assert "pullback discover" in failing(capsys, *words)
    assert listing(tmp_path) == {}


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda _: b"",
    "flipped": lambda content: content[:-5] + bytes([content[-5] ^ 64]) + content[-4:],
    "huge header": lambda content: (1 << 60).to_bytes(8, "little") + content[8:],
    "text": lambda _: b"hello",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_hostile_directions(results: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = results / "directions.safetensors"
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    before = listing(results)
    failing(capsys, "edit", results, "--direction", "0")
    failing(capsys, "label", results, "0", "x")
    assert listing(results) == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": "other"}', b"\xff\xfe", b"[" * 100_000])
def test_hostile_reports(results: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "report.json").write_bytes(content)
    before = listing(results)
    failing(capsys, "label", results, "0", "x")
    assert listing(results) == before


# the world around: disks, folders, interruptions


def test_a_file_where_the_folder_should_be(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    failing(capsys, "discover", toy_folder, "--out", tmp_path / "file")
    assert listing(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_can_only_be_read(
    toy_folder: Path, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise OSError(number, os.strerror(number), str(tmp_path))

    monkeypatch.setattr("pullback.api.discovery.tempfile.mkdtemp", refuse)
    said = failing(capsys, "discover", toy_folder, "--out", tmp_path)
    assert os.strerror(number) in said
    assert "loading" not in said  # found out before the long work


def test_a_full_disk_leaves_earlier_results_as_they_were(results: Path) -> None:
    """The limit on file size stands in for a full disk: a write fails in the middle."""
    import resource

    before = listing(results)
    limit = len(before["report.html"]) // 2
    program = "import sys; from pullback.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, "label", str(results), "0", "a new name"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: (
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )[0],
    )
    assert done.returncode == 2, done.stderr
    assert "error: wanted " in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr
    assert listing(results) == before


def test_ctrl_c_is_clean_and_leaves_earlier_results_as_they_were(toy_folder: Path, results: Path) -> None:
    before = listing(results)
    program = (
        "import faulthandler, signal, sys; faulthandler.register(signal.SIGUSR1); "
        # tests that run in the background of a shell are started with Ctrl-C ignored, and so would the command be
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from pullback.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["discover", str(toy_folder), "--out", str(results), "--samples", "4000", "--rank", "2"]
    with subprocess.Popen(
        [sys.executable, "-c", program, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if line.strip() == "plan":
                break
        time.sleep(1)
        try:
            running.send_signal(signal.SIGINT)
            out, said = running.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGUSR1)  # prints where it is
            time.sleep(1)
            running.kill()
            pytest.fail(f"it did not stop:\n{running.communicate()[1]}")
        finally:
            running.kill()
    assert running.returncode == 2
    assert out == ""
    assert "Traceback" not in said
    assert "error: wanted to go on to the end\n       got Ctrl-C\nhint: " in said
    assert "no results were written" in said
    assert listing(results) == before


def test_a_plan_with_a_comparison_tells_its_time() -> None:
    from pullback.api import PageSettings, forecast, load
    from pullback.api.contest import ContestSettings
    from pullback.api.settings import Settings
    from pullback.cli.discover import plan_text
    from pullback.cli.options import Discover
    from pullback.measure.report_text import duration
    from pullback.models import toy_denoiser

    settings = Settings(num_samples=3, num_held_out=2, rank=3)
    options = Discover(out=Path("here"), compare=64)
    page = PageSettings(num_shown=2, num_people=2)
    expected = forecast(load(toy_denoiser()), settings, page, rivals=ContestSettings(num_held_out=64))
    lines = plan_text(options, settings, expected).splitlines()
    (told,) = (line for line in lines if line.startswith("  compares  "))
    assert told.startswith("  compares  with rivals on 64 samples: ")
    assert f"{expected.compared.rows:,} picture steps, {expected.compared.products:,} products, " in told
    assert told.endswith(duration(expected.prices.of(expected.compared)))
    assert f"  total     about {duration(expected.seconds)}" in lines
    quiet = plan_text(Discover(out=Path("here")), settings, expected)
    assert "compares" not in quiet


def test_a_comparison_needs_known_factors(
    toy_folder: Path, tmp_path: Path, tiny_options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    said = failing(capsys, "discover", toy_folder, "--out", tmp_path / "out", "--compare", "8", *tiny_options)
    assert "the portrait model, whose factors are known, for --compare" in said
    assert not list((tmp_path / "out").iterdir())
