import numpy as np
import pytest
import torch

from pullback.directions import (
    MaskedInput,
    MaskedOutput,
    Rectangle,
    cleared,
    first_order_outside,
    local_basis,
    loco_directions,
    mask_at,
    outside_share,
    outside_vectors,
    regional,
    regional_bases,
    regional_directions,
    restricted,
    shrink_mask,
)
from pullback.directions.masked_jacobian import MaskedJacobianAt, flat_masks
from pullback.errors import MemoryWarning, NumericalError, OptionError, ShapeError
from pullback.geometry import JacobianAt, Plan
from pullback.models import toy_denoiser
from pullback.models.output_map import OutputMap
from pullback.testing import ConvMap

T = 600
TOP = Rectangle(0.0, 0.0, 0.5, 1.0)
PLAN = Plan.fixed()


@pytest.fixture(scope="module")
def den():
    return toy_denoiser(dtype=torch.float64)


@pytest.fixture(scope="module")
def x(den):
    return den.sample_latent(t=T, seed=0)


@pytest.fixture(scope="module")
def x0_map(den):
    return OutputMap(den, t=T, kind="x0")


def latent(seed=0):
    return torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stacked(directions):
    return torch.stack([each.vector for each in directions])


def test_four_ways_to_give_the_same_mask():
    shape = (3, 8, 8)
    expected = torch.zeros(shape)
    expected[:, :4] = 1
    for mask in (
        TOP,
        expected[0],
        expected,
        expected[0].bool().numpy(),
        expected[:1].numpy().astype(float),
        lambda row, column: row < 0.5,
    ):
        assert torch.equal(mask_at(mask, shape), expected)
    assert mask_at(TOP, (4, 2, 2)).sum() == 8  # rectangles and functions fit every resolution


def test_a_picture_mask_is_shrunk_by_the_share_that_is_covered():
    mask = np.zeros((8, 8))
    mask[:4, :6] = 1
    assert shrink_mask(mask, (2, 2)).tolist() == [[1.0, 0.5], [0.0, 0.0]]


def test_outside_share():
    change = torch.zeros(2, 3, 8, 8)
    change[0, :, :4] = 1
    change[1] = 2
    assert outside_share(change, TOP).tolist() == [0.0, 0.5]
    assert float(outside_share(0 * change[0], TOP)) == 0


@pytest.mark.parametrize("jvp_engine", ["vmap", "finite_difference"])
def test_masked_maps_have_masked_jacobians(jvp_engine):
    f, x = ConvMap(), latent()
    dense, in_x, in_h = f.jacobian(x), mask_at(TOP, (3, 8, 8)).flatten(), mask_at(TOP, (4, 4, 4)).flatten()
    eye = torch.eye(192).double().reshape(192, 3, 8, 8)
    for masked, exact in (
        (MaskedInput(f, x, TOP), dense * in_x),
        (MaskedOutput(f, TOP), dense * in_h[:, None]),
        (MaskedOutput(f, TOP, is_outside=True), dense * (1 - in_h)[:, None]),
    ):
        jac = JacobianAt(masked, x, plan=Plan.fixed(jvp_engine))
        torch.testing.assert_close(jac.jvp(eye).mT, exact, atol=1e-7, rtol=0)
        assert masked.origin["mask"] != ""
    assert torch.equal(MaskedInput(f, x, TOP)(x[None]), f(x[None]))


def test_regional_bases_are_those_of_the_masked_maps_each_with_its_own_mask():
    f, x, left = ConvMap(), torch.stack([latent(), 2 * latent(), latent()]), Rectangle(0, 0, 1, 0.5)
    for where, kind in (("x", lambda at, mask: MaskedInput(f, at, mask)), ("h", lambda _, mask: MaskedOutput(f, mask))):
        found = regional_bases(f, x, [TOP, left, left], where=where, rank=3, tol=1e-8, plan=PLAN)
        for at, mask, basis in zip(x, [TOP, left, left], found, strict=True):
            alone = local_basis(kind(at, mask), at, rank=3, tol=1e-8, plan=PLAN)
            torch.testing.assert_close(basis.s, alone.s, rtol=1e-6, atol=0)
            assert torch.allclose((basis.v * alone.v).flatten(1).sum(1).abs(), torch.ones(3).double(), atol=1e-6)
            assert basis.origin == {**alone.origin, "mask_on": where}
    with pytest.raises(ShapeError, match=r"latents \(B, 3, 8, 8\) and a mask for each; got \(3, 3, 8, 8\) and 2 masks"):
        regional_bases(f, x, [TOP, left], plan=PLAN)
    with pytest.raises(ShapeError, match=r"got \(3, 8, 8\) and 3 masks; repeat a latent"):
        regional_bases(f, x[0], [TOP, left, left], plan=PLAN)
    origins = [basis.origin for basis in regional_bases(f, x, [TOP] * 3, where="h", is_outside=True, plan=PLAN)]
    assert origins == [MaskedOutput(f, TOP, is_outside=True).origin] * 3


def test_regions_go_in_smaller_groups_once_memory_runs_out(monkeypatch):
    f, x, sizes, real = ConvMap(), torch.stack([latent(seed) for seed in range(4)]), [], regional.top_singular

    def cramped(jac, rank, **how):
        sizes.append(jac.num_samples)
        if jac.num_samples > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(jac, rank, **how)

    monkeypatch.setattr(regional, "top_singular", cramped)
    with pytest.warns(MemoryWarning, match="out of memory with 4 samples together; going on with 2"):
        found = regional_bases(f, x, [TOP] * 4, where="h", rank=2, plan=PLAN)
    assert sizes == [4, 2, 2]
    for at, basis in zip(x, found, strict=True):
        exact = torch.linalg.svdvals(f.jacobian(at) * mask_at(TOP, (4, 4, 4)).flatten()[:, None])[:2]
        assert torch.allclose(basis.s, exact, rtol=1e-3)


def test_a_direction_inside_a_mask_of_a_model_in_half_precision():
    f, x = ConvMap(dtype=torch.bfloat16), latent().bfloat16()
    (found,) = regional_directions(f, x, TOP, where="x", rank=1, tol=0.1, plan=PLAN)
    assert len(found.origin["anchor"]) == 16


@pytest.mark.parametrize("jvp_engine", ["vmap", "double_backward", "finite_difference"])
def test_products_of_masked_jacobians_are_masked_on_both_sides_also_of_some_of_the_samples(jvp_engine):
    f, x, masks = ConvMap(), torch.stack([latent(), 2 * latent()]), [TOP, Rectangle(0, 0, 1, 0.5)]
    in_x, in_h = flat_masks(masks, f.x_shape), flat_masks(masks, f.h_shape)
    jac = MaskedJacobianAt(f, x, in_x=in_x, in_h=in_h, plan=Plan.fixed(jvp_engine))
    exact = torch.stack([in_h[i, 0][:, None] * f.jacobian(x[i]) * in_x[i, 0] for i in (0, 1)])
    torch.testing.assert_close(jac.dense(), exact, atol=1e-7, rtol=0)
    second = jac.subset([1])
    torch.testing.assert_close(second.dense(), exact[1:], atol=1e-7, rtol=0)
    torch.testing.assert_close(jac.by(Plan.fixed("loop")).dense(), exact, atol=1e-7, rtol=0)
    v = torch.randn(1, 2, 192, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(second.jvp_flat(v)[0], v[0] @ exact[1].mT, atol=1e-6, rtol=0)


def test_a_mask_in_x_keeps_v_inside_and_one_in_h_keeps_u_inside():
    f, x = ConvMap(), latent()
    inside = stacked(regional_directions(f, x, TOP, where="x", rank=4, tol=1e-8, plan=PLAN))
    assert inside[:, :, 4:].abs().max() < 1e-12
    _, _, right = torch.linalg.svd(f.jacobian(x) * mask_at(TOP, (3, 8, 8)).flatten())
    assert torch.allclose((inside.flatten(1) * right[:4]).sum(1).abs(), torch.ones(4).double(), atol=1e-6)
    basis = local_basis(MaskedOutput(f, TOP), x, rank=3, plan=PLAN)
    assert basis.u.reshape(3, 4, 4, 4)[:, :, 2:].abs().max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("tol", [1e-8, 1e-3])
def test_beyond_the_rank_of_a_masked_map_there_is_no_direction(dtype, tol):
    """One place of three channels: J M has three columns."""
    f, x, place = ConvMap(dtype=dtype), latent().to(dtype), torch.zeros(8, 8)
    tol, place[3, 3] = max(tol, 1e-5 if dtype == torch.float32 else 0), 1
    found = stacked(regional_directions(f, x, place, where="x", rank=3, tol=tol, plan=PLAN))
    exact = torch.linalg.svd(f.jacobian(x).double() * mask_at(place, (3, 8, 8)).flatten())[2][:3]
    assert torch.allclose((found.flatten(1).double() * exact).sum(1).abs(), torch.ones(3).double(), atol=10 * tol)
    with pytest.raises(
        NumericalError,
        match="5 directions with a part inside the mask; got 3 of them: J M has no higher rank; ask for rank=3 at most",
    ):
        regional_directions(f, x, place, where="x", rank=5, tol=tol, plan=PLAN)


def test_law29_loco_is_orthogonal_to_the_outside(x0_map, x):
    found = stacked(loco_directions(x0_map, x, TOP, rank=2, tol=1e-8, plan=PLAN)).flatten(1)
    w = outside_vectors(x0_map, x, TOP, tol=1e-8, plan=PLAN).flatten(1)
    assert len(w) == 5
    assert (found @ w.mT).abs().max() < 1e-10
    assert torch.allclose(found.norm(dim=1), torch.ones(2).double())


def test_law29_loco_equals_its_dense_definition(x0_map, x):
    found = stacked(loco_directions(x0_map, x, TOP, rank=2, tol=1e-9, plan=PLAN)).flatten(1)
    dense, inside = JacobianAt(x0_map, x).dense(), mask_at(TOP, (3, 8, 8)).flatten()[:, None]
    v = torch.linalg.svd(inside * dense)[2][:2]
    w = torch.linalg.svd((1 - inside) * dense)[2][:5]
    exact = v - v @ w.mT @ w
    exact = exact / exact.norm(dim=1, keepdim=True)
    assert torch.allclose((found * exact).sum(1).abs(), torch.ones(2).double(), atol=1e-6)


def test_law29_a_full_mask_gives_the_plain_directions(x0_map, x):
    full = stacked(loco_directions(x0_map, x, torch.ones(8, 8), rank=3, tol=1e-8, plan=PLAN))
    plain = local_basis(x0_map, x, rank=3, tol=1e-8, plan=PLAN).v
    assert torch.allclose((full * plain).flatten(1).sum(1).abs(), torch.ones(3).double(), atol=1e-6)
    assert len(outside_vectors(x0_map, x, torch.ones(8, 8))) == 0


def test_clearing_the_outside_lowers_what_falls_there(den, x, x0_map):
    f = den.feature_map(t=T)
    plain = regional_directions(f, x, TOP, where="x", rank=3, plan=PLAN)
    clear = regional_directions(f, x, TOP, where="x", rank=3, outside=x0_map, num_outside=20, plan=PLAN)
    before, after = (first_order_outside(found, x0_map, x, TOP) for found in (plain, clear))
    assert after.mean() < before.mean()
    assert clear[0].origin["num_outside"] == 20
    assert plain[0].origin["num_outside"] == 0
    assert clear[0].space == "X"


def test_a_direction_cleared_of_the_outside_still_moves_x_inside_its_mask_alone(den, x, x0_map):
    found = stacked(regional_directions(den.feature_map(t=T), x, TOP, where="x", rank=2, outside=x0_map, plan=PLAN))
    w = outside_vectors(x0_map, x, TOP, plan=PLAN)
    assert found[:, :, 4:].abs().max() < 1e-10
    assert (found.flatten(1) @ w.flatten(1).mT).abs().max() < 1e-10


def test_what_vectors_have_inside_a_mask():
    w = torch.zeros(3, 1, 8, 8, dtype=torch.float64)
    w[0, 0, :4, 0], w[1, 0, 2:6, 1], w[2, 0, 6:, 2] = 0.5, 0.5, 0.5
    found = restricted(w, TOP)
    assert len(found) == 2  # the third has nothing there
    assert found[:, :, 4:].abs().max() == 0
    rows = found.flatten(1)
    assert torch.allclose(rows @ rows.mT, torch.eye(2).double())
    inside = (w[:2] * mask_at(TOP, (1, 8, 8))).flatten(1)
    assert torch.allclose(inside @ rows.mT @ rows, inside)


def test_cleared_of_vectors_that_are_not_orthonormal():
    v, others = latent().reshape(4, 48)[:1], torch.stack([latent(1).flatten()[:48], latent(2).flatten()[:48]])
    left = cleared(v, others)
    assert (left @ others.mT).abs().max() < 1e-12
    assert torch.allclose(cleared(v, others[:0]), v / v.norm())


def test_errors(x0_map, x):
    with pytest.raises(ShapeError, match=r"a mask of shape \(8, 8\) or \(3, 8, 8\); got \(4, 4\); shrink_mask brings"):
        mask_at(torch.ones(4, 4), (3, 8, 8))
    with pytest.raises(OptionError, match="a mask of values from 0 to 1, not all 0; got an empty one; mark at least"):
        mask_at(torch.zeros(8, 8), (3, 8, 8))
    with pytest.raises(OptionError, match="not all 0; got other values"):
        mask_at(2 * torch.ones(8, 8), (3, 8, 8))
    with pytest.raises(ShapeError, match=r"a space of shape \(C, H, W\) to lay a mask on; got \(16,\)"):
        mask_at(TOP, (16,))
    with pytest.raises(OptionError, match="0 <= top < bottom <= 1"):
        Rectangle(0.5, 0, 0.5, 1)
    with pytest.raises(ShapeError, match=r"a mask \(H, W\) of at least \(8, 8\); got \(4, 4\)"):
        shrink_mask(torch.ones(4, 4), (8, 8))
    with pytest.raises(OptionError, match="where x, h or x0; got 'y'"):
        regional_directions(x0_map, x, TOP, where="y")
    with pytest.raises(OptionError, match="got an empty one"):
        loco_directions(x0_map, x, torch.zeros(8, 8))
    with pytest.raises(ShapeError, match="mask a sample a time"):
        MaskedInput(x0_map, x[None], TOP)
    with pytest.raises(NumericalError, match="a part outside the span of the others; got one that lies within it"):
        cleared(x[None], x[None])
    with pytest.raises(ShapeError, match="compare within X"):
        cleared(x[None], x[None, :1])
