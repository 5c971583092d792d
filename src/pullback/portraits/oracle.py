"""The oracle: a small network that reads the factors off a picture, and how far it can be trusted."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pullback.errors import FileFormatError, ShapeError
from pullback.files import read_safetensors, write_safetensors
from pullback.portraits.factors import FACTORS, NAMES, NUM_FACTORS, Array, World, sample
from pullback.portraits.renderer import Image, render

WIDTHS = (24, 48, 96, 128)
SWITCHES = tuple(j for j, factor in enumerate(FACTORS) if factor.kind == "switch")


class Oracle(nn.Module):
    """Picture -> factors in standard units; a switch comes as a logit.

    Four strided convolution blocks, then two linear layers that see positions.

    Example:
        >>> Oracle()(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 16])
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((3, *WIDTHS), WIDTHS, strict=False):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
            layers += [nn.Conv2d(after, after, 3, padding=1, stride=2), nn.GroupNorm(8, after), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(WIDTHS[-1] * 16, 192), nn.SiLU(), nn.Linear(192, NUM_FACTORS))

    def forward(self, x0: Tensor) -> Tensor:
        """Reads factors off clean samples.

        Args:
            x0: Pictures in [-1, 1], shape `(B, 3, 64, 64)`.

        Returns:
            Standard units, shape `(B, 16)`; column ``glasses`` is a logit.

        Raises:
            ShapeError: If the pictures have another shape.
        """
        if x0.ndim != 4 or x0.shape[1:] != (3, 64, 64):
            raise ShapeError(
                wanted="pictures of shape (B, 3, 64, 64) in [-1, 1]", got=str(tuple(x0.shape)), hint="resize first"
            )
        return self.head(self.body(x0.clamp(-1, 1)))


@dataclass(frozen=True)
class Calibration:
    """The fit ``o = z B^T + c`` on fresh renders: what the oracle answers, per unit of each factor.

    Attributes:
        slope: B, shape `(16, 16)`, answer by factor.
        offset: c, shape `(16,)`.
        r2: Explained share of each factor on renders never used in training (of the area under the curve for a
            switch), shape `(16,)`.
        noise: Root mean square of what is left after the fit, in standard units, shape `(16,)`.
    """

    slope: Array
    offset: Array
    r2: Array
    noise: Array

    @property
    def leakage_matrix(self) -> Array:
        """B with each row scaled by its diagonal, `(16, 16)`: what the answer for a row's factor owes to a column's."""
        return self.slope / np.diag(self.slope)[:, None]

    @property
    def leakage(self) -> float:
        """Largest off-diagonal of the leakage matrix, without its sign."""
        return float(np.abs(self.leakage_matrix - np.eye(len(self.slope))).max())

    def effects(self, after: Array, before: Array) -> Array:
        """Effects of an edit in standard units: ``B^-1 (o(x') - o(x))``; shapes `(..., 16)`."""
        return (after - before) @ np.linalg.inv(self.slope).T


def to_clean(pictures: Image) -> Tensor:
    """Pictures `(N, H, W, 3)` in [0, 1] to clean samples `(N, 3, H, W)` in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))) * 2 - 1


@torch.no_grad()
def read_factors(oracle: Oracle, x0: Tensor, *, chunk: int = 256) -> Array:
    """Runs the oracle in chunks, where its weights are; `(B, 3, 64, 64)` to `(B, 16)` in float64."""
    device = next(oracle.parameters()).device
    parts = [oracle(part.to(device, torch.float32)) for part in x0.split(chunk)]
    return torch.cat(parts).double().cpu().numpy() if parts else np.zeros((0, NUM_FACTORS))


def calibrate(oracle: Oracle, *, num: int = 1024, seed: int = 77, world: World = "easy") -> Calibration:
    """Fits ``o(x) = B z + c`` on half of ``num`` fresh renders and measures the oracle on the other half.

    Args:
        oracle: The network.
        num: Renders, at least 64.
        seed: Of their factors; none of them was trained on.
        world: Which world.

    Returns:
        Slope, offset, R^2 (area under the ROC curve for switches), noise.
    """
    z = sample(num, seed=9_000_000 + seed, world=world)
    o = read_factors(oracle, to_clean(render(z, world=world)))
    half = num // 2
    design = np.c_[z[:half], np.ones(half)]
    solution = np.linalg.lstsq(design, o[:half], rcond=None)[0]
    slope, offset = solution[:-1].T, solution[-1]
    guess = (o[half:] - offset) @ np.linalg.inv(slope).T
    left = guess - z[half:]
    r2 = 1 - left.var(axis=0) / z[half:].var(axis=0)
    for j in SWITCHES:
        r2[j] = _area_under_curve(o[half:, j], z[half:, j] > 0)
    return Calibration(slope=slope, offset=offset, r2=r2, noise=np.sqrt(np.square(left).mean(axis=0)))


def _area_under_curve(score: Array, truth: np.ndarray) -> float:
    """Probability that a positive scores above a negative (Mann-Whitney)."""
    order = score.argsort().argsort() + 1.0
    num_on, num_off = int(truth.sum()), int((~truth).sum())
    return float((order[truth].sum() - num_on * (num_on + 1) / 2) / max(num_on * num_off, 1))


def save_oracle(path: Path, oracle: Oracle, calibration: Calibration) -> None:
    """Writes weights in fp16, and beside them the calibration of just these weights in float64."""
    weights = {f"net.{name}": value.half().contiguous() for name, value in oracle.state_dict().items()}
    fit = {f"fit.{name}": torch.from_numpy(value) for name, value in asdict(calibration).items()}
    write_safetensors(path, weights | fit, {"factors": ", ".join(NAMES)})


def load_oracle(path: Path | None = None) -> tuple[Oracle, Calibration]:
    """Loads an oracle (frozen, float32) and its calibration; the shipped ones by default.

    Raises:
        FileFormatError: If its file does not hold this network.
    """
    if path is None:
        with as_file(files("pullback.portraits") / "weights" / "oracle.safetensors") as shipped:
            return load_oracle(shipped)
    tensors, _ = read_safetensors(path)
    oracle = Oracle()
    try:
        oracle.load_state_dict({name[4:]: value.float() for name, value in tensors.items() if name.startswith("net.")})
        fit = {each.name: tensors[f"fit.{each.name}"].numpy() for each in fields(Calibration)}
    except (RuntimeError, KeyError) as error:
        raise FileFormatError(
            wanted="the weights of the oracle", got=str(error), hint="reinstall the package"
        ) from error
    return oracle.eval().requires_grad_(False), Calibration(**fit)
