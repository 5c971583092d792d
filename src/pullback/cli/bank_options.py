"""Options of ``pullback bank`` and ``pullback compare``; the docstrings are the help."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Fixed, OmitArgPrefixes, Positional, Suppress, arg, subcommand

_ADDRESS = re.compile(r"|local|auto|ray://\S+|[^\s/]+:\d+")
BankFolder = Annotated[Positional[Path], arg(metavar="DIR")]


@dataclass(frozen=True)
class BankRun:
    """Compute local bases of many samples into a bank; started again, it goes on where it stopped.

    A folder that was begun needs no other option: what was asked for is in its run.json. Copy it to another
    machine to go on there. Several may run on one folder at once.

    Exits with 1 if units that it was to compute are set aside, in this run or since an earlier one.
    """

    folder: BankFolder
    """The bank; it is made if it is not there."""
    model: Annotated[str, arg(metavar="MODEL")] = ""
    """A shipped model, a folder in diffusers' layout, or a hub id; the bank's own if none is given."""
    samples: int = 32
    """Samples, each from its own seed."""
    first_seed: int = 0
    """Seed of the first sample."""
    t_fractions: Annotated[str, arg(metavar="A,B,...")] = "0.8"
    """Where in the noise to look, one unit a sample and share of T: 1 is pure noise, 0 the picture."""
    layer: Annotated[str, arg(metavar="PATH")] = ""
    """Feature layer, such as mid_block; the innermost block if none is given."""
    pool: Literal["none", "sum", "sum2", "sum4"] = "none"
    """How the feature is pooled: not at all, summed over all positions, or over 2 x 2 or 4 x 4 windows."""
    prompt: Annotated[str, arg(metavar="TEXT")] = ""
    """Prompt of a text model."""
    rank: int = 10
    """Local directions of a unit."""
    tol: float = 1e-3
    """Largest residual of a basis, relative to its first singular value."""
    steps: int = 20
    """Steps from noise to picture."""
    keep_u: Literal["exact", "fp16", "sketch", "none"] = "fp16"
    """How the vectors in H are kept; without them there are no distances, maps and means."""
    keep_v: Literal["exact", "fp16", "none"] = "fp16"
    """How the vectors in X are kept; without them there are no edits, and no comparison of unlike models."""
    shard_size: int = 32
    """Units of a file; a kill costs each worker at most so many."""
    group: int = 1
    """Units computed together: faster, at the price that they share their random start."""
    shard: Annotated[str, arg(metavar="i/N")] = "0/1"
    """Which share is ours, such as 3/8 for the fourth of eight that run on one folder."""
    ray: Annotated[str, arg(metavar="[ADDRESS]")] = ""
    """Run on Ray: without an address, or with "local", it starts one on this machine; "auto" or HOST:PORT joins a
    cluster."""
    workers: int = 0
    """Workers on Ray; 0 takes one a GPU, or one a processor where there is none."""
    retries: int = 2
    """How often a failing unit is tried again before it is set aside and the run goes on."""
    retry_failed: bool = False
    """Try again what an earlier run set aside."""
    device: Annotated[str, arg(metavar="NAME")] = "cpu"
    """Where to compute: cpu, cuda, cuda:1, mps; on Ray without a number, since each worker gets a GPU of its own."""
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = "float32"
    """Precision of the network."""
    threads: int = 0
    """Processor threads of a worker, recorded in run.json; 0 leaves the choice to torch, and takes one on Ray."""
    given: Fixed[Suppress[tuple[str, ...]]] = ()
    """Names of the options that were given: what is usual is refused too where a bank was begun with something else."""


@dataclass(frozen=True)
class BankLs:
    """List what is in a bank: units at each timestep, what failed, what was refused."""

    folder: BankFolder
    """The bank."""


@dataclass(frozen=True)
class BankShow:
    """Show one unit: all that determined it, and what came out; or the traceback of one that failed."""

    folder: BankFolder
    """The bank."""
    unit: Annotated[Positional[str], arg(metavar="ID")]
    """First digits of its id, or of the key of one that failed."""


@dataclass(frozen=True)
class BankVerify:
    """Check every byte of a bank, and, if asked to, compute some units again and clean up after kills.

    Exits with 1 if something is damaged.
    """

    folder: BankFolder
    """The bank."""
    spot: int = 0
    """Units to compute again and compare."""
    clean: bool = False
    """Set damaged files aside in refused/, remove half-written ones, mend the journals. Nobody should be writing."""
    model: Annotated[str, arg(metavar="MODEL")] = ""
    """Where the model of the spot checks lies, if not where the bank was begun."""
    device: Annotated[str, arg(metavar="NAME")] = "cpu"
    """Where to compute the spot checks."""


@dataclass(frozen=True)
class BankMerge:
    """Copy into one bank what others hold beyond it; every file is checked first."""

    folder: BankFolder
    """The bank to merge into; it is made if it is not there."""
    sources: Annotated[Positional[tuple[Path, ...]], arg(metavar="DIR...")]
    """Banks to merge; they stay as they are."""


@dataclass(frozen=True)
class BankMaps:
    """Write means and maps of a bank at each timestep, as tables and pictures; no model is needed.

    Mean spectrum, mean subspace, distances between samples beside those of random spans, and between timesteps.
    """

    folder: BankFolder
    """The bank, which must keep U."""
    out: Annotated[Path, arg(metavar="DIR")]
    """Folder to write to; it is made if it is not there."""
    max_samples: int = 500
    """Units in a map of distances, the first by id; means are over all."""
    passes: int = 20
    """Passes over the units for the mean subspace."""


@dataclass(frozen=True)
class BankOptions:
    """Thousands of local bases on disk: compute, list, check, merge and map them."""

    action: OmitArgPrefixes[
        Annotated[BankRun, subcommand("run", prefix_name=False)]
        | Annotated[BankLs, subcommand("ls", prefix_name=False)]
        | Annotated[BankShow, subcommand("show", prefix_name=False)]
        | Annotated[BankVerify, subcommand("verify", prefix_name=False)]
        | Annotated[BankMerge, subcommand("merge", prefix_name=False)]
        | Annotated[BankMaps, subcommand("maps", prefix_name=False)]
    ]
    """What to do."""


@dataclass(frozen=True)
class CompareOptions:
    """Compare two models on the same latents: a base and what was made of it, or two training runs.

    Writes compare.html and compare.json: principal angles between their local spaces at each t, and which directions
    of either the other does not respond to, or does not draw. Bases are kept in OUT/bank.
    """

    a: Annotated[Positional[str], arg(metavar="A")]
    """The first model, such as the base: a shipped model, a folder in diffusers' layout, or a hub id."""
    b: Annotated[Positional[str], arg(metavar="B")]
    """The second, such as the fine-tuned one, with latents of the same shape."""
    out: Annotated[Path, arg(metavar="DIR")]
    """Folder to write to; it is made if it is not there."""
    samples: int = 16
    """Latents at each t whose local bases are compared."""
    predictions: int = 64
    """Latents at each t whose predictions are compared, for what one model draws and the other does not; 0 for none."""
    t_fractions: Annotated[str, arg(metavar="A,B,...")] = "0.8,0.5,0.2"
    """Where in the noise to look: 1 is pure noise, 0 the picture."""
    rank: int = 10
    """Local directions of a latent, and at most as many global ones."""
    layer: Annotated[str, arg(metavar="PATH")] = ""
    """Feature layer of both; the innermost block of each if none is given."""
    pool: Literal["none", "sum", "sum2", "sum4"] = "none"
    """How the feature is pooled."""
    seed: int = 0
    """Seed of the first latent."""
    steps: int = 20
    """Steps from noise to picture."""
    device: Annotated[str, arg(metavar="NAME")] = "cpu"
    """Where to compute: cpu, cuda, cuda:1, mps."""
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = "float32"
    """Precision of the networks."""


def with_ray_here(words: Sequence[str]) -> list[str]:
    """The words of a command line, with the address that ``--ray`` stands for when it has none.

    Example:
        >>> with_ray_here(["bank", "run", "--ray", "pairs"])
        ['bank', 'run', '--ray', 'local', 'pairs']
    """
    found = list(words)
    if found[:2] == ["bank", "run"] and "--ray" in found:
        place = found.index("--ray") + 1
        if place == len(found) or not _ADDRESS.fullmatch(found[place]):
            found.insert(place, "local")
    return found


def with_given(command: BankOptions, words: Sequence[str]) -> BankOptions:
    """The command, that knows which options stood on its line."""
    if not isinstance(command.action, BankRun):
        return command
    given = tuple(word[2:].partition("=")[0].replace("-", "_") for word in words if word.startswith("--"))
    return replace(command, action=replace(command.action, given=given))
