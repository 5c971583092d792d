"""Power spectral density of directions: coarse or fine."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pullback.errors import OptionError, ShapeError


@dataclass(frozen=True, eq=False)
class PowerSpectrum:
    """Power over rings of spatial frequency.

    Attributes:
        frequency: Centre of each ring in cycles a pixel, 0 first, shape `(n,)`.
        power: Power in each ring, shape `(..., n)`; sums to ``|v|^2`` (Parseval).
        count: How many frequencies a ring holds, over all channels, shape `(n,)`.
    """

    frequency: Tensor
    power: Tensor
    count: Tensor

    @property
    def density(self) -> Tensor:
        """Mean power of a frequency of each ring, `(..., n)`: flat for white noise."""
        return self.power / self.count

    def low_share(self, below: float = 0.125) -> Tensor:
        """Share of the power in rings centred below ``below`` cycles a pixel, shape `(...)`."""
        whole = self.power.sum(-1)
        low = self.power[..., self.frequency < below].sum(-1)
        return torch.where(whole > 0, low / whole.clamp_min(1e-300), 0.0)


def power_spectrum(v: Tensor, *, num_rings: int | None = None) -> PowerSpectrum:
    """Radial power spectrum of vectors of X in their natural shape  (2307.12868: PSD of v against t).

    Args:
        v: Shape `(..., C, H, W)`; channels are summed.
        num_rings: Rings besides frequency 0, evenly wide up to the corner; by default they are centred on multiples of
            ``1 / min(H, W)``, so that each whole wave along an axis has a ring of its own.

    Returns:
        Power, ring by ring, in float64 on the CPU.

    Raises:
        ShapeError: If v has no height and width.
        OptionError: If ``num_rings`` is below 1.

    Example:
        >>> wave = torch.cos(2 * torch.pi * torch.arange(8) / 4).expand(1, 8, 8)
        >>> found = power_spectrum(wave)
        >>> float(found.frequency[found.power.argmax()]), round(float(found.power.sum()), 4)
        (0.25, 32.0)
    """
    if v.ndim < 3:
        raise ShapeError(wanted="v of shape (..., C, H, W)", got=str(tuple(v.shape)), hint="use the natural shape of x")
    height, width = v.shape[-2:]
    if num_rings is not None and num_rings < 1:
        raise OptionError(wanted="num_rings >= 1", got=str(num_rings), hint="None fits them to the picture")
    radius = torch.hypot(torch.fft.fftfreq(height)[:, None].double(), torch.fft.fftfreq(width)[None].double())
    ring_width = 1 / min(height, width) if num_rings is None else float(radius.max()) / num_rings
    ring = (radius / ring_width).round().long() if num_rings is None else (radius / ring_width).ceil().long()
    num = int(ring.max()) + 1
    values = torch.fft.fft2(v.detach().to("cpu", torch.float64), norm="ortho").abs().square().sum(-3)  # (..., H, W)
    power = torch.zeros(*values.shape[:-2], num, dtype=torch.float64)
    power.index_add_(-1, ring.flatten(), values.flatten(-2))
    count = torch.bincount(ring.flatten(), minlength=num) * v.shape[-3]
    is_there = count > 0
    centres = torch.arange(num, dtype=torch.float64) * ring_width
    if num_rings is not None:
        centres = (centres - ring_width / 2).clamp_min(0.0)
    return PowerSpectrum(centres[is_there], power[..., is_there], count[is_there])
