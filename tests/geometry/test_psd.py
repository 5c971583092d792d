import pytest
import torch

from pullback.errors import OptionError, ShapeError
from pullback.geometry import power_spectrum


def wave(cycles_down, cycles_across, size=32):
    grid = torch.arange(size, dtype=torch.float64) / size
    return torch.cos(2 * torch.pi * (cycles_down * grid[:, None] + cycles_across * grid[None]))[None]


@pytest.mark.parametrize(("down", "across"), [(0, 1), (3, 0), (3, 4), (0, 16), (5, 12)])
def test_law21_a_cosine_is_in_its_bin(down, across):
    found = power_spectrum(wave(down, across))
    share = found.power / found.power.sum()
    assert float(share.max()) == pytest.approx(1)
    assert float(found.frequency[share.argmax()]) == pytest.approx(round((down**2 + across**2) ** 0.5) / 32)


@pytest.mark.parametrize("shape", [(3, 32, 32), (4, 9, 16), (1, 7, 5)])
@pytest.mark.parametrize("num_rings", [None, 6])
def test_law21_parseval(shape, num_rings):
    v = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = power_spectrum(v, num_rings=num_rings)
    assert torch.allclose(found.power.sum(-1), v.flatten(1).square().sum(1))
    assert int(found.count.sum()) == v[0].numel()
    assert float(power_spectrum(torch.ones(shape), num_rings=num_rings).power[1:].sum()) < 1e-20


def test_law21_white_noise_is_flat():
    v = torch.randn(400, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    density = power_spectrum(v).density.mean(0)
    assert torch.allclose(density, torch.ones_like(density), atol=0.1)


def test_low_share():
    found = power_spectrum(torch.stack([wave(0, 1), wave(0, 12), torch.zeros(1, 32, 32).double()]))
    assert found.low_share().tolist() == pytest.approx([1, 0, 0], abs=1e-12)
    assert found.low_share(0.5)[1] == pytest.approx(1)


def test_errors():
    with pytest.raises(ShapeError, match=r"v of shape \(\.\.\., C, H, W\); got \(8, 8\)"):
        power_spectrum(torch.zeros(8, 8))
    with pytest.raises(OptionError, match="num_rings >= 1; got 0"):
        power_spectrum(torch.zeros(1, 8, 8), num_rings=0)
