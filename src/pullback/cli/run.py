"""Parsing, dispatch, and what happens when something goes wrong."""

from __future__ import annotations

import errno
import sys
import warnings
from collections.abc import Sequence

import tyro

from pullback.cli.analyze_options import Analyze
from pullback.cli.bank_options import BankOptions, CompareOptions, with_given, with_ray_here
from pullback.cli.interrupt import heard
from pullback.cli.options import Command, Discover, Edit, Label
from pullback.cli.terminal import complain, hint, log
from pullback.errors import PullbackError

INTRODUCTION = """Semantic directions of diffusion models, found without labels.

Start with `pullback discover --out demo`, and open demo/report.html."""
HINTS = {
    errno.ENOSPC: "free some space, or write to another disk",
    errno.EROFS: "this disk can only be read; choose another folder",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EDQUOT: "your quota is used up; free some space",
    errno.EFBIG: "the file may not grow that large here; raise the limit (ulimit -f)",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a file stands where a folder is needed; choose another path",
    errno.EEXIST: "a file stands where a folder is needed; choose another path",
}


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line; see `pullback.cli.main`."""
    try:
        command = parse(arguments)
    except SystemExit as leaving:  # help, or arguments that make no sense: tyro has said what
        return leaving.code if isinstance(leaving.code, int) else 2
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = _show_warning
        return _guarded(command)


def parse(arguments: Sequence[str] | None = None) -> Command:
    """Returns the command that the arguments stand for.

    Raises:
        SystemExit: After printing help, or what is wrong with the arguments.
    """
    words = with_ray_here(sys.argv[1:] if arguments is None else arguments)
    command = tyro.cli(
        Command,
        prog="pullback",
        description=INTRODUCTION,
        args=words,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    return with_given(command, words) if isinstance(command, BankOptions) else command


def _guarded(command: Command) -> int:
    try:
        with heard():
            return _dispatch(command) or 0
    except PullbackError as error:
        complain(error)
        return 2
    except KeyboardInterrupt:
        log("\nerror: wanted to go on to the end\n       got Ctrl-C")
        hint("no results were written, what was there before is as it was; bases in a bank are kept for the next run")
        return 2
    except BrokenPipeError:
        return 141
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        log(f"error: wanted to use{where or ' a file'}\n       got {error.strerror or error}")
        hint(HINTS.get(error.errno or 0, "what was there before is as it was; try again"))
        return 2


def _dispatch(command: Command) -> int | None:
    if isinstance(command, Discover):
        from pullback.cli.discover import run_discover

        run_discover(command)
    elif isinstance(command, Edit):
        from pullback.cli.edit import run_edit
        from pullback.cli.replay import run_replay

        return run_replay(command) if command.replay else run_edit(command)
    elif isinstance(command, Label):
        from pullback.cli.label import run_label

        run_label(command)
    elif isinstance(command, Analyze):
        from pullback.cli.analyze import run_analyze

        run_analyze(command)
    elif isinstance(command, BankOptions):
        from pullback.cli.bank import run_bank

        return run_bank(command)
    elif isinstance(command, CompareOptions):
        from pullback.cli.compare import run_compare

        run_compare(command)
    else:
        from pullback.cli.models import run_models

        run_models()
    return None


def _show_warning(message: Warning | str, category: type[Warning], *_: object) -> None:
    """One line on standard error, for warnings that are meant for users."""
    if issubclass(category, UserWarning):
        log(f"warning: {message}")
