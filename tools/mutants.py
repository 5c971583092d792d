"""Plants named faults in a copy of the sources, one by one: each must be caught by its named test.

    python -m tools.mutants [WORD ...]

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
from pathlib import Path

from tools.faults import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent
FAILED = 1
"""pytest's exit status when tests ran and failed; anything else means that they could not run."""


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
