"""What one model draws and the other does not: the mixture by which their predictions of the same latents differ most.

A network that was taught to draw something no more still responds to it, in h and for small steps; what it lacks shows
in how its predictions vary from latent to latent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigh
from torch import Tensor

from pullback.errors import OptionError, ShapeError
from pullback.measure.compare import MAX_SHARE, NUM_BOOTSTRAP

MIN_LATENTS = 8
NUM_FOLDS = 4
RIDGE = 0.3
"""Of the owner's mean variance: details that hardly vary differ between any two training runs."""
RELATIVE_SIZE = 1e-9
"""Of the predictions: models that differ by less do not differ."""


@dataclass(frozen=True)
class Lack:
    """The variation of one model's predictions that the other's have least of.

    Attributes:
        share: The other's standard deviation over the owner's along a mixture, on latents that did not choose it.
        low: 2.5 % of a bootstrap over latents.
        high: 97.5 % of it.
        is_missing: Whether the other model does not draw it: ``high < 1/2``.
        order: Latents by how much the owner draws of the mixture that all of them choose, rising; its sign is random.
    """

    share: float
    low: float
    high: float
    is_missing: bool
    order: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A lack, and pictures of it.

    Attributes:
        lack: What was found.
        strip: Predictions of latents with least and most of it, `(2, latents, H, W, 3)`, its owner's first, or None.
    """

    lack: Lack
    strip: np.ndarray | None = None


def lacking(own: Tensor, other: Tensor, *, generator: torch.Generator) -> Lack:
    """Returns what the owner draws and the other draws least of, cross-validated.

    With X and Y the centred predictions of n latents, the mixture is ``min_w |Y w|^2 / |X w|^2`` in the span of the n/2
    main components of X - Y, both squares with a ridge. It is chosen on three quarters of the latents and measured on
    the fourth, in turn: chance differences choose it, and do not come back.

    Args:
        own: Clean predictions of the model whose variation is looked at, shape `(n, *x_shape)`.
        other: The other's, of the same latents in the same order.
        generator: For the folds and the bootstrap.

    Raises:
        ShapeError: If the shapes differ.
        OptionError: If there are fewer than eight latents.

    Example:
        >>> own = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
        >>> lacking(own, own * torch.tensor([1.0, 0.1, 1.0]), generator=torch.Generator()).is_missing
        True
    """
    if own.shape != other.shape:
        raise ShapeError(wanted=f"predictions {tuple(own.shape)}", got=str(tuple(other.shape)), hint="of one data size")
    num = len(own)
    if num < MIN_LATENTS:
        raise OptionError(wanted=f"{MIN_LATENTS} latents or more", got=str(num), hint="raise --predictions")
    x, y = _coordinates(own, other)
    scores = torch.zeros(2, num, dtype=torch.float64)
    for held in torch.randperm(num, generator=generator).chunk(NUM_FOLDS):
        is_held = torch.zeros(num, dtype=torch.bool).index_fill_(0, held, True)
        w = _mixture(x[~is_held], y[~is_held])
        scores[:, held] = torch.stack([(z[held] - z[~is_held].mean(0)) @ w for z in (x, y)])
    drawn = torch.randint(num, (NUM_BOOTSTRAP, num), generator=generator)
    low, high = torch.quantile(_share(scores[:, drawn]), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    order = torch.argsort((x - x.mean(0)) @ _mixture(x, y), stable=True)
    return Lack(float(_share(scores)), low, high, high < MAX_SHARE, tuple(order.tolist()))


def _coordinates(own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both in an orthonormal frame of all that they span: as many coordinates as there are predictions."""
    both = torch.cat([own, other]).flatten(1).double().cpu()
    rows = torch.linalg.qr((both - both.mean(0)).mT, mode="reduced").R.mT
    return rows[: len(own)], rows[len(own) :]


def _mixture(x: Tensor, y: Tensor) -> Tensor:
    """The w of `lacking`, scaled to variance 1 in x; zero if the two do not differ."""
    x, y = x - x.mean(0), y - y.mean(0)
    _, s, components = torch.linalg.svd(x - y, full_matrices=False)
    is_kept = s > RELATIVE_SIZE * torch.linalg.matrix_norm(x).clamp_min(1e-300)
    components = components[: max(1, len(x) // 2)][is_kept[: max(1, len(x) // 2)]]
    if not len(components):
        return torch.zeros(x.shape[1], dtype=x.dtype)
    a, b = (((z @ components.mT).mT @ (z @ components.mT) / len(z)).numpy() for z in (x, y))
    ridge = RIDGE * (np.trace(a) / len(a) + 1e-300) * np.eye(len(a))
    w = torch.from_numpy(eigh(b + ridge, a + ridge, subset_by_index=[0, 0])[1][:, 0]) @ components
    return w / (x @ w).square().mean().sqrt().clamp_min(1e-300)


def _share(scores: Tensor) -> Tensor:
    """Ratio of root mean squares of `(2, ..., n)`: the sign of a mixture, another in each fold, does not enter."""
    own, other = scores.square().mean(dim=-1).sqrt()
    return torch.where(own > 0, other / own.clamp_min(1e-300), 1.0)
