import pytest
import torch

from pullback.directions import local_basis
from pullback.edit import interpolate
from pullback.errors import OptionError, ShapeError
from pullback.geometry import Plan, slerp
from pullback.models import denoise, invert

T = 600


@pytest.mark.parametrize("kind", ["lerp", "slerp", "shooting", "geodesic"])
def test_every_way_starts_at_the_first_picture(den, kind):
    f, x0 = den.feature_map(t=T), 0.5 * den.draw([0, 1])

    def basis_at(x):
        return local_basis(f, x, rank=3, plan=Plan.fixed())

    found = interpolate(den, x0, f=f, kind=kind, num_segments=3, basis_at=basis_at, num_steps=5)
    x = invert(den, x0, T, num_steps=5, fixed_point_iterations=3)
    back = denoise(den, x, T, num_steps=5)
    assert found.shape == (4, 3, 8, 8)
    torch.testing.assert_close(found[0], back[0], atol=1e-10, rtol=0)
    assert kind == "shooting" or torch.allclose(found[-1], back[1], atol=1e-10)
    if kind == "slerp":
        middle = denoise(den, slerp(x[0], x[1], 1 / 3)[None], T, num_steps=5)
        torch.testing.assert_close(found[1:2], middle, atol=1e-6, rtol=0)


def test_errors(den):
    f = den.feature_map(t=T)
    with pytest.raises(ShapeError, match=r"two clean samples, \(2, \.\.\.\); got \(3, 3, 8, 8\)"):
        interpolate(den, den.draw([0, 1, 2]), f=f)
    with pytest.raises(OptionError, match="basis_at for shooting"):
        interpolate(den, den.draw([0, 1]), f=f, kind="shooting", num_steps=1)
