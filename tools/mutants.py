"""Plants named faults in a copy of the sources, one by one: each must be caught by its named test.

    python tools/mutants.py [WORD ...]

With words, only the faults whose name holds one of them. First the named tests are run on the sound copy and must
pass; then, for each fault, its text must stand in its file exactly once, and its test must fail (not break).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FAILED = 1
"""pytest's exit status when tests ran and failed; anything else means that they could not run."""


@dataclass(frozen=True)
class Mutant:
    """A fault: in ``file`` (under src/pullback) ``before`` becomes ``after``, and ``test`` must fail."""

    name: str
    file: str
    before: str
    after: str
    test: str


MUTANTS = (
    Mutant(
        "sign of u",
        "geometry/svd.py",
        "parts = (sign * u,",
        "parts = (-sign * u,",
        "tests/geometry/test_svd.py::test_law05_lanczos_equals_the_dense_svd",
    ),
    Mutant(
        "verdict without its interval",
        "analyses/record.py",
        "if self.low > self.null:",
        "if self.effect > self.null:",
        "tests/analyses/test_record.py::test_an_interval_that_includes_its_null_shows_nothing",
    ),
    Mutant(
        "what did not fit in memory is skipped",
        "geometry/jacobian.py",
        "                    continue\n",
        "                    done += num\n                    continue\n",
        "tests/geometry/test_jacobian.py::test_out_of_memory_halves_the_chunk_and_gives_the_same_products",
    ),
    Mutant(
        "block as wide as it gets",
        "geometry/cost.py",
        "if block <= max(guarded, 1)), key=seconds)",
        "if block <= max(guarded, 1)), key=lambda block: -block)",
        "tests/geometry/test_cost.py::test_the_block_is_wide_where_products_alone_are_dear_and_narrow_where_a_batch_fills_the_call",
    ),
    Mutant(
        "sign rule forgotten",
        "geometry/tangent.py",
        "torch.where(peak < 0, -1.0, 1.0)",
        "torch.where(peak < 0, 1.0, 1.0)",
        "tests/geometry/test_tangent.py::test_sign_rule",
    ),
    Mutant(
        "dropped re-orthogonalisation",
        "geometry/lanczos.py",
        "    rest = block - inside @ basis\n",
        "    rest = block\n",
        "tests/geometry/test_svd.py::test_full_reorthogonalisation_holds_over_many_blocks",
    ),
    Mutant(
        "probe that never finds anything",
        "geometry/lanczos.py",
        "is_missed = is_met & (largest > threshold)",
        "is_missed = is_met & (largest > threshold + torch.inf)",
        "tests/geometry/test_svd.py::test_probe_finds_what_lanczos_could_not_see",
    ),
    Mutant(
        "Jacobian of the output",
        "models/feature_map.py",
        "output = run_until(self._layer, lambda: self._call(self.network, x, self.t, self.cond))",
        "output = self._call(self.network, x, self.t, self.cond)",
        "tests/models/test_feature_map.py::test_law03_new_decoder_weights_leave_the_jacobian_bit_identical",
    ),
    Mutant(
        "hook left behind",
        "models/scope.py",
        "    finally:\n        handle.remove()\n",
        "    finally:\n        pass\n",
        "tests/models/test_feature_map.py::test_law01_the_network_is_left_as_it_was",
    ),
    Mutant(
        "stale cache key",
        "models/digest.py",
        "ref() is tensor and version == _version(tensor) and address == tensor.data_ptr()",
        "ref() is tensor",
        "tests/models/test_feature_map.py::test_digest_follows_values_not_precision",
    ),
    Mutant(
        "abar for alpha",
        "models/schedule.py",
        "return math.sqrt(self._abar(t))",
        "return self._abar(t)",
        "tests/models/test_schedule.py::test_variance_preserving",
    ),
    Mutant(
        "raw velocity for noise",
        "models/predictions.py",
        "return (alpha * p + sigma * x) / (alpha**2 + sigma**2)",
        "return p",
        "tests/edit/test_steps.py::test_law10_equal_edits_in_four_parametrisations",
    ),
    Mutant(
        "inversion at the wrong end of a step",
        "models/ddim.py",
        "eps = den.eps(guess, above, cond)",
        "eps = den.eps(guess, below or above, cond)",
        "tests/models/test_ddim.py::test_law26_inversion",
    ),
    Mutant(
        "one seed for the whole batch",
        "models/denoiser.py",
        "generator=torch.Generator().manual_seed(seed)) for seed in seeds]",
        "generator=torch.Generator().manual_seed(seeds[0])) for seed in seeds]",
        "tests/models/test_denoiser.py::test_latents_of_a_batch_are_those_of_its_seeds",
    ),
    Mutant(
        "transposed transport",
        "geometry/transport.py",
        "return Transported(_unit(inside @ basis.u, 1),",
        "return Transported(_unit(inside @ basis.v.flatten(1), 1),",
        "tests/geometry/test_transport.py::test_law11_to_itself_is_the_identity",
    ),
    Mutant(
        "pinv without the division",
        "geometry/transport.py",
        'weight = inside if inverse == "transpose" else inside * _inverse_of(basis.s)',
        "weight = inside",
        "tests/geometry/test_transport.py::test_law11_law31_pinv_moves_h_along_the_direction",
    ),
    Mutant(
        "mean without alignment",
        "directions/global_.py",
        "sign = torch.where(cosine.gather(-1, chosen) < 0, -1.0, 1.0).to(u) / num_samples",
        "sign = torch.ones_like(cosine.gather(-1, chosen)).to(u) / num_samples",
        "tests/directions/test_global.py::test_mean_is_made_after_the_signs_are_turned",
    ),
    Mutant(
        "agreement with the span instead of its vectors",
        "directions/held_out.py",
        "return float(_inside(direction, held_out).abs().amax(-1).mean())",
        "return float(torch.linalg.vector_norm(_inside(direction, held_out), dim=-1).mean())",
        "tests/directions/test_global.py::test_a_shared_span_without_shared_vectors_stays_at_the_matched_null",
    ),
    Mutant(
        "directions of another model accepted",
        "directions/store.py",
        "wrong = {name: value for name, value in expect.items() if direction.origin.get(name) != value}",
        "wrong = {name: value for name, value in expect.items() if name not in direction.origin}",
        "tests/directions/test_store.py::test_law32_refuses_another_map_and_names_what_differs",
    ),
    Mutant(
        "file written in place",
        "files.py",
        'partial = path.with_name(path.name + ".partial")',
        "partial = path",
        "tests/test_files.py::test_an_interrupted_write_leaves_the_old_file",
    ),
    Mutant(
        "NaN accepted from a file",
        "files.py",
        "        if not bool(tensor.isfinite().all()):\n            raise _refusal(",
        "        if False:\n            raise _refusal(",
        "tests/test_files.py::test_law32_hostile_files_are_refused_by_name",
    ),
    Mutant(
        "cosine form for small angles",
        "geometry/grassmann.py",
        "return torch.where(cosine**2 > 0.5, sine.asin(), cosine.acos())",
        "return cosine.float().acos().double()",
        "tests/geometry/test_grassmann.py::test_law16_planted_angle",
    ),
    Mutant(
        "step against the direction",
        "edit/steps.py",
        "return x + _along(x, g) * _at(x, v)",
        "return x - _along(x, g) * _at(x, v)",
        "tests/edit/test_steps.py::test_law09_the_remainder_of_a_step_has_slope_two",
    ),
    Mutant(
        "normalisation without its factor sqrt(abar)",
        "edit/normalise.py",
        "return alpha / (1 - kappa * sigma",
        "return 1 / (1 - kappa * sigma",
        "tests/edit/test_normalise.py::test_law20_exact_where_the_prediction_follows_x",
    ),
    Mutant(
        "scale measured in x",
        "edit/scale.py",
        "displacement = (features(f, moved, chunk=chunk) - h).norm(dim=1)",
        "displacement = (moved - x).flatten(1).norm(dim=1)",
        "tests/edit/test_scale.py::test_scale_one_is_a_tenth_of_the_typical_distance",
    ),
    Mutant(
        "purity summed over samples before squaring",
        "measure/score.py",
        "energy = np.square(odd).mean(axis=1)\n    return energy / np.maximum(",
        "energy = np.square(odd.mean(axis=1))\n    return energy / np.maximum(",
        "tests/measure/test_score.py::test_mean_hides_an_entanglement_whose_sign_flips",
    ),
    Mutant(
        "held-out samples among those of discovery",
        "api/settings.py",
        "first = self.seed * SEEDS_PER_RUN + HELD_OUT_OFFSET",
        "first = self.seed * SEEDS_PER_RUN",
        "tests/api/test_settings.py::test_discovery_and_held_out_seeds_never_meet",
    ),
    Mutant(
        "label not escaped",
        "measure/report_cards.py",
        '<h3 id="h{each.index}">{esc(each.title)}</h3>',
        '<h3 id="h{each.index}">{each.title}</h3>',
        "tests/measure/test_report.py::test_hostile_text_stays_text",
    ),
    Mutant(
        "results replaced one by one",
        "api/discovery.py",
        "        yield stage\n",
        "        yield folder\n",
        "tests/api/test_discover.py::test_staged_files_appear_together_or_not_at_all",
    ),
)


def main(words: list[str]) -> int:
    """Runs all faults, or those that are asked for; returns 1 if one survives."""
    chosen = [each for each in MUTANTS if not words or any(word in each.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        copy = Path(name)
        for folder in ("src", "tests", "tools"):
            shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", ".partial*"))
        for file in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / file, copy / file)
        tests = list(dict.fromkeys(each.test for each in chosen))
        print(f"{len(tests)} named tests on the sound copy ... ", end="", flush=True)
        status, said = run_tests(copy, tests)
        print("pass" if status == 0 else f"exit status {status}\n{said}")
        survivors = [each for each in chosen if not is_killed(copy, each)] if status == 0 else chosen
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} faults caught")
    return int(bool(survivors))


def is_killed(copy: Path, mutant: Mutant) -> bool:
    """Plants one fault, runs its test, takes the fault out again."""
    path = copy / "src" / "pullback" / mutant.file
    sound = path.read_text(encoding="utf-8") if path.is_file() else ""
    count = sound.count(mutant.before)
    start = time.perf_counter()
    if count != 1:
        verdict = f"the text to change stands there {count} times"
    else:
        path.write_text(sound.replace(mutant.before, mutant.after), encoding="utf-8")
        try:
            status, said = run_tests(copy, [mutant.test])
        finally:
            path.write_text(sound, encoding="utf-8")
        verdict = "" if status == FAILED else f"SURVIVED (pytest exit status {status})\n{said}"
    seconds = time.perf_counter() - start
    print(
        f"{'caught' if not verdict else 'FAILED':7} {mutant.name:48} {mutant.test} {seconds:.0f} s {verdict}",
        flush=True,
    )
    return not verdict


def run_tests(copy: Path, tests: list[str]) -> tuple[int, str]:
    """Runs tests of the copy on the sources of the copy; returns pytest's exit status and its last words."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", *tests],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr)[-1500:]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
