"""Singular triplets against dense ones: spectra that are easy, tied, short, zero."""

import math
import weakref
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pullback.errors import NoMemoryError, NotConvergedError, NotConvergedWarning, OptionError, RankError
from pullback.geometry import JacobianAt, Plan, Products, principal_angles, top_singular
from pullback.geometry.lanczos import Goal
from pullback.geometry.linalg import precision
from pullback.geometry.power import power_iteration
from pullback.testing import ConvMap, LinearMap, planted_spectrum

METHODS = ("lanczos", "power", "pooled", "dense")


def at_zero(f):
    return JacobianAt(f, torch.zeros(f.x_shape, dtype=f.dtype))


def assert_triplets(basis, matrix, tolerance):
    """J v = + s u, J^T u = s v, orthonormal, decreasing, signs by the rule."""
    u, s, v = basis.u.double(), basis.s.double(), basis.v.flatten(1).double()
    scale = max(float(torch.linalg.matrix_norm(matrix.double(), 2)), 1e-30)
    eye = torch.eye(basis.rank, dtype=torch.float64)
    rounding = 100 * torch.finfo(basis.s.dtype).eps
    assert (v @ matrix.double().mT - s[:, None] * u).abs().max() <= tolerance * scale
    assert (u @ matrix.double() - s[:, None] * v).abs().max() <= tolerance * scale
    assert (u @ u.mT - eye).abs().max() <= rounding
    assert (v @ v.mT - eye).abs().max() <= rounding
    assert bool((s[:-1] >= s[1:]).all())
    assert bool((s >= 0).all())
    assert bool((u.gather(1, u.abs().argmax(1, keepdim=True)) > 0).all())


@pytest.mark.parametrize("rank", [1, 5, 10, 40])
@pytest.mark.parametrize(("dtype", "tol"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_law05_lanczos_equals_the_dense_svd(rank, dtype, tol):
    f = planted_spectrum(torch.logspace(0, -2, 80).tolist(), dim_x=300, dim_h=200, dtype=dtype)
    basis = top_singular(at_zero(f), rank, tol=tol)
    u, s, vh = torch.linalg.svd(f.matrix.double(), full_matrices=False)
    exact = dtype == torch.float64
    assert ((basis.s.double() - s[:rank]).abs() / s[0]).max() < (1e-8 if exact else 1e-5)
    residual, gap = float(basis.residual.max()), float((s[rank - 1] - s[rank]) / s[0])
    largest = max(1e-6 if exact else 1e-3, 10 * residual / gap)
    assert principal_angles(basis.u, u.mT[:rank]).max() < largest
    assert principal_angles(basis.v, vh[:rank]).max() < largest
    assert_triplets(basis, f.matrix, 2 * tol)
    assert basis.verified


@given(
    dims=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    spectrum=st.lists(st.floats(0.01, 10.0), max_size=12),
    method=st.sampled_from(METHODS),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_law05_any_shape_and_spectrum(dims, spectrum, method, data):
    dim_x, dim_h = dims
    spectrum = sorted(spectrum, reverse=True)[: min(dims)]
    rank = data.draw(st.integers(0, min(dims)))
    f = planted_spectrum(spectrum, dim_x=dim_x, dim_h=dim_h)
    basis = top_singular(at_zero(f), rank, method=method, tol=1e-9)
    assert (basis.u.shape, basis.s.shape, basis.v.shape) == ((rank, dim_h), (rank,), (rank, dim_x))
    if method != "power":
        exact = torch.tensor(spectrum + [0.0] * 12, dtype=torch.float64)[:rank]
        assert torch.allclose(basis.s, exact, rtol=0, atol=1e-8 * float(exact.max() if rank else 1) + 1e-12)
        if rank:
            assert_triplets(basis, f.matrix, 1e-8)
        assert basis.verified


@pytest.mark.parametrize("method", METHODS)
def test_law05_zero_jacobian(method):
    f = LinearMap(torch.zeros(6, 9, dtype=torch.float64))
    basis = top_singular(at_zero(f), 4, method=method)
    assert torch.equal(basis.s, torch.zeros(4, dtype=torch.float64))
    assert torch.equal(basis.residual, torch.zeros(4, dtype=torch.float64))
    assert_triplets(basis, f.matrix, 0)
    assert math.isinf(basis.gap)


@pytest.mark.parametrize("block", [1, 3, 10])
def test_law05_rank_beyond_that_of_j(block):
    f = planted_spectrum([5.0, 2.0, 1.0], dim_x=40, dim_h=30)
    basis = top_singular(at_zero(f), 8, block=block, tol=1e-9)
    assert torch.allclose(basis.s, torch.tensor([5.0, 2, 1, 0, 0, 0, 0, 0], dtype=torch.float64), atol=1e-9)
    assert_triplets(basis, f.matrix, 1e-9)


def test_law05_clusters_are_compared_as_projectors():
    spectrum = [4.0, 2.0, 2.0, 2.0, 1.0, 0.5, 0.25]
    f = planted_spectrum(spectrum, dim_x=60, dim_h=50)
    basis = top_singular(at_zero(f), 5, tol=1e-10)
    assert basis.clusters == ((0,), (1, 2, 3), (4,))
    u, _, _ = torch.linalg.svd(f.matrix)
    for cluster in basis.clusters:
        rows = basis.u[list(cluster)]
        exact = u.mT[list(cluster)]
        assert torch.allclose(rows.mT @ rows, exact.mT @ exact, atol=1e-8)
    assert float(basis.gap) == pytest.approx(2.0)


def test_law05_more_equal_values_than_the_block_is_wide():
    f = planted_spectrum([2.0] * 15 + [1.0] * 10, dim_x=120, dim_h=100)
    basis = top_singular(at_zero(f), 12, block=4, guard=0, tol=1e-8)
    assert torch.allclose(basis.s, torch.full((12,), 2.0, dtype=torch.float64))
    assert basis.verified


def test_probe_finds_what_lanczos_could_not_see(monkeypatch):
    """A first block orthogonal to the leading pair never meets it: only the probe does, and the answer is mended."""
    f = LinearMap(torch.diag(torch.linspace(3, 0.1, 30, dtype=torch.float64)))
    from pullback.geometry import lanczos

    blind = lanczos.orthonormal_rows
    calls = []

    def first_block_is_blind(rows):
        q, t = blind(rows)
        if not calls:
            calls.append(1)
            q = torch.eye(30, dtype=torch.float64)[None, 10 : 10 + q.shape[1]]
        return q, t

    monkeypatch.setattr(lanczos, "orthonormal_rows", first_block_is_blind)
    basis = top_singular(at_zero(f), 3, block=4, guard=1, tol=1e-9)
    assert torch.allclose(basis.s, torch.linspace(3, 0.1, 30, dtype=torch.float64)[:3])
    calls.clear()
    monkeypatch.setattr(lanczos, "orthonormal_rows", first_block_is_blind)
    unverified = top_singular(at_zero(f), 3, block=4, guard=1, tol=1e-9, verify=False)
    assert not unverified.verified
    assert float(unverified.s[0]) < 2.5


def test_full_reorthogonalisation_holds_over_many_blocks():
    f = planted_spectrum((10.0 ** -torch.linspace(0, 12, 150)).tolist(), dim_x=200, dim_h=180)
    basis = top_singular(at_zero(f), 60, block=3, tol=1e-12)
    assert_triplets(basis, f.matrix, 1e-11)


@pytest.mark.parametrize("next_value", [0.98, 0.8])
def test_the_span_is_right_whatever_the_gap_behind_it(next_value):
    """Residuals of the k alone would leave it wrong by their ratio to the gap."""
    spectrum = [4.0, 3.0, 2.0, 1.0, *(next_value * torch.linspace(1, 0.2, 80)).tolist()]
    f = planted_spectrum(spectrum, dim_x=140, dim_h=120)
    basis = top_singular(at_zero(f), 4, block=1)
    u, _, vt = torch.linalg.svd(f.matrix)
    assert basis.verified
    assert float(principal_angles(basis.u, u.mT[:4]).max()) <= 5e-3
    assert float(principal_angles(basis.v.flatten(1), vt[:4]).max()) <= 5e-3


def test_a_goal_weighs_residuals_by_the_gap_and_asks_for_nothing_below_rounding():
    goal = Goal(2, 3, 1e-3, 100, is_probed=False)
    s = torch.tensor([[1.0, 0.5, 0.3], [1.0, 0.5, 0.499], [1.0, 0.5, 0.3], [1.0, 0.5, 0.3]], dtype=torch.float64)
    residual = torch.tensor([[1e-4, 5e-4, 0.05], [1e-4, 5e-4, 0.05], [1e-4, 2e-3, 0.05], [1e-4, 5e-4, 0.2]])
    assert goal.is_met(s, residual).tolist() == [True, False, False, False]
    assert not goal.is_met(s[:, :2], residual[:, :2]).any()
    assert replace(goal, noise=1e-3).is_met(s, residual).tolist() == [True, True, False, False]
    assert Goal(2, 2, 1e-3, 100, is_probed=False).is_met(s, residual).tolist() == [True, True, False, True]


def test_law06_batch_equals_one_at_a_time_and_samples_leave_it():
    f = ConvMap()
    x = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    x[1] *= 20
    together = top_singular(JacobianAt(f, x), 6, tol=1e-10)
    assert together.is_batched
    assert together.u.shape == (3, 6, 64)
    assert together.v.shape == (3, 6, 3, 8, 8)
    for i, sample in enumerate(together.samples()):
        alone = top_singular(JacobianAt(f, x[i]), 6, tol=1e-10)
        assert torch.allclose(sample.s, alone.s, rtol=1e-9)
        assert principal_angles(sample.u, alone.u).max() < 1e-6
        assert_triplets(sample, f.jacobian(x[i]), 1e-9)
    assert len(together.products_each) == 3


def test_law06_samples_that_have_converged_cost_nothing_more():
    quick, slow = torch.zeros(50, 60).double(), torch.zeros(50, 60).double()
    quick.diagonal()[:3] = torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)
    slow.diagonal()[:] = torch.linspace(1, 0.9, 50, dtype=torch.float64)
    both = torch.stack([quick, slow])

    def f(x):
        mix = x[:, :1] * 0 + x[:, 60:]  # the last entry of x says which matrix applies
        return torch.einsum("bn,bhn->bh", x[:, :60], (1 - mix[..., None]) * both[0] + mix[..., None] * both[1])

    x = torch.zeros(2, 61, dtype=torch.float64)
    x[1, 60] = 1
    basis = top_singular(JacobianAt(f, x), 3, block=3, guard=2, tol=1e-9)
    first, second = basis.products_each
    assert first.total < second.total
    assert torch.allclose(basis.s[0], torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))


def test_law06_engines_agree_and_the_plan_is_recorded():
    f = ConvMap()
    x = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    exact = torch.linalg.svdvals(f.jacobian(x))[:5]
    for engine, tolerance in (("vmap", 1e-9), ("loop", 1e-9), ("double_backward", 1e-9), ("finite_difference", 1e-6)):
        plan = Plan.fixed(engine, chunk=3)
        basis = top_singular(JacobianAt(f, x, plan=plan), 5, tol=1e-6)
        assert torch.allclose(basis.s, exact, rtol=tolerance)
        assert basis.plan == plan


def test_law06_same_plan_and_generator_give_the_same_bits():
    f = ConvMap(dtype=torch.float32)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    first, second = (top_singular(JacobianAt(f, x), 5, generator=torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first.u, second.u)
    assert torch.equal(first.v, second.v)


def test_global_random_state_is_neither_read_nor_moved():
    f = ConvMap()
    x = torch.zeros(3, 8, 8, dtype=torch.float64)
    before = torch.get_rng_state()
    top_singular(JacobianAt(f, x), 3)
    assert torch.equal(before, torch.get_rng_state())


def test_law07_pooled_route_is_exact_at_d_reverse_products():
    f = ConvMap(pool=True)
    x = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    basis = top_singular(JacobianAt(f, x), 4, method="pooled")
    assert basis.products == Products(jvp=0, vjp=4)
    assert torch.allclose(basis.s, torch.linalg.svdvals(f.jacobian(x)), rtol=1e-12)
    assert basis.residual.max() < 1e-13
    assert basis.verified


def test_pooled_route_does_not_square_in_float32():
    spectrum = [1.0, 1e-2, 1e-5]
    f = planted_spectrum(spectrum, dim_x=400, dim_h=3, dtype=torch.float32)
    basis = top_singular(at_zero(f), 3, method="pooled")
    assert torch.allclose(basis.s, torch.tensor(spectrum), rtol=2e-2)


def test_published_power_iteration_costs_what_it_says():
    f = planted_spectrum([8.0, 4.0, 2.0, 1.0], dim_x=30, dim_h=20)
    jac = at_zero(f)
    published = top_singular(jac, 2, method="power")
    assert published.method == "power"
    assert published.products in [Products(2 * (n + 1), 2 * (n + 1)) for n in range(12, 51)]
    assert_triplets(published, f.matrix, 1e-6)
    assert not published.verified
    before = jac.products
    found = power_iteration(
        jac, 2, generator=torch.Generator().manual_seed(0), max_iterations=200, atol=1e-9, is_stop_sign_free=True
    )
    assert jac.products.total - before.total < 200 * 4
    assert torch.allclose(found.s, torch.tensor([[8.0, 4.0]], dtype=torch.float64), atol=1e-9)


@pytest.mark.parametrize("tol", [1e-2, 1e-6])
def test_power_iteration_can_run_until_a_residual_instead(tol):
    f = planted_spectrum([8.0, 4.0, 2.0, 1.0], dim_x=30, dim_h=20)
    jac = JacobianAt(f, torch.zeros(2, 30, dtype=torch.float64))
    found = power_iteration(jac, 2, generator=torch.Generator().manual_seed(0), max_iterations=200, residual_tol=tol)
    assert tol / 10 < float(found.residual.max()) <= tol  # it stops as soon as it may, and what it claims is so


def test_published_stop_waits_for_ten_iterations():
    f = planted_spectrum([1.0], dim_x=5, dim_h=4)
    jac = at_zero(f)
    power_iteration(jac, 1, generator=torch.Generator().manual_seed(0), is_stop_sign_free=True)
    assert jac.products == Products(13, 13)  # 12 iterations and the certificate


class LiveBytes(TorchDispatchMode):
    """Peak of the bytes that are alive at once, of all storages made inside."""

    def __init__(self, given):
        super().__init__()
        self.live, self.peak, self.seen = 0, 0, {given.untyped_storage()._cdata: None}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self.count(tensor.untyped_storage())
        return out

    def count(self, storage):
        key = storage._cdata
        if key in self.seen:
            return
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        self.seen[key] = weakref.ref(storage, lambda _: self.forget(key, size))

    def forget(self, key, size):
        del self.seen[key]
        self.live -= size


@pytest.mark.parametrize("engine", ["vmap", "loop", "double_backward", "finite_difference"])
def test_law33_activation_peak_depends_on_the_chunk_and_not_on_the_rank(engine):
    f = ConvMap(size=16)
    x = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    peaks = {}
    for rank in (24, 48, 96):
        for chunk in (4, 8):
            jac = JacobianAt(f, x, plan=Plan.fixed(engine, chunk=chunk))
            v = torch.randn(1, rank, jac.dim_x, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
            with LiveBytes(v) as seen:
                jac.jvp_flat(v)
            forward = seen.peak - 8 * rank * jac.dim_h  # without the answer itself
            u = torch.randn(1, rank, jac.dim_h, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
            with LiveBytes(u) as seen:
                jac.vjp_flat(u)
            peaks[rank, chunk] = forward, seen.peak - 8 * rank * jac.dim_x
    for chunk in (4, 8):
        assert peaks[24, chunk] == peaks[48, chunk] == peaks[96, chunk]


def test_law33_krylov_bytes_are_counted_apart():
    f = planted_spectrum(torch.logspace(0, -2, 60).tolist(), dim_x=300, dim_h=200)
    small, large = (top_singular(at_zero(f), rank).krylov_bytes for rank in (2, 30))
    assert 0 < small < large <= 8 * (300 + 200) * 200


def test_law33_a_network_call_never_sees_more_pairs_than_the_chunk():
    sizes = []
    f = ConvMap()

    def spy(x):
        sizes.append(len(x))
        return f(x)

    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    jac = JacobianAt(spy, x, plan=Plan.fixed("finite_difference", chunk=6))
    sizes.clear()
    top_singular(jac, 20)
    assert max(sizes) <= 6


def test_what_finite_differences_found_is_checked_by_exact_products():
    f = ConvMap()
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    jac = JacobianAt(f, x, plan=Plan.fixed("finite_difference"))
    basis = top_singular(jac, 4)
    assert basis.is_verified.all()
    u, s, v = basis.u, basis.s[..., None], basis.v.flatten(2)
    exact = JacobianAt(f, x)
    sides = exact.jvp_flat(v) - s * u, exact.vjp_flat(u) - s * v
    sizes = torch.maximum(*(side.norm(dim=-1) for side in sides))
    assert torch.allclose(basis.residual, sizes / s[:, :1, 0], rtol=1e-6, atol=1e-13)
    unchecked = top_singular(JacobianAt(f, x, plan=Plan.fixed("finite_difference")), 4, verify=False)
    assert not unchecked.is_verified.any()
    assert not torch.equal(unchecked.residual, basis.residual)


class Quantised(torch.autograd.Function):
    """Differentiable once and only backwards, as kernels of quantised weights are."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return g * (1 - ctx.saved_tensors[0].tanh() ** 2)


def test_without_an_exact_forward_derivative_nothing_is_called_verified():
    x = torch.linspace(-1, 1, 6, dtype=torch.float64)[None]
    jac = JacobianAt(Quantised.apply, x, plan=Plan.fixed("finite_difference", "loop"))
    basis = top_singular(jac, 2)
    assert not basis.is_verified.any()
    assert basis.residual.max() <= 1e-3
    assert torch.allclose(basis.s, (1 - x.tanh() ** 2).sort(descending=True).values[:, :2], atol=1e-6)


def test_all_of_j_by_reverse_products_needs_no_forward_derivative():
    """Quantised weights again, of which J^T u is exact; what was tried in vain counts for nothing."""
    x = torch.linspace(-1, 1, 6, dtype=torch.float64)[None]
    plan = Plan.fixed("finite_difference", "loop")
    for method in ("pooled", "dense"):
        basis = top_singular(JacobianAt(Quantised.apply, x, plan=plan), 2, method=method)
        assert basis.is_verified.all()
        assert basis.products == Products(vjp=6)
    found = top_singular(JacobianAt(Quantised.apply, x, plan=plan), 2)
    assert found.products.jvp < 20, "those of the check are not among them"
    wide = planted_spectrum([3.0, 2.0, 1.0], dim_x=3, dim_h=6)  # whole by columns, of finite differences
    unchecked = top_singular(JacobianAt(wide, torch.zeros(3).double(), plan=plan), 2, method="dense", verify=False)
    assert not unchecked.verified


def test_a_check_that_finds_no_memory_leaves_the_answer_unverified(monkeypatch):
    f, x = ConvMap(), torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    real = JacobianAt.jvp_flat

    def cramped(self, v):
        if self.plan.jvp_engine != "finite_difference":
            raise NoMemoryError(wanted="memory for one product of 1 samples", got="none", hint="wait")
        return real(self, v)

    monkeypatch.setattr(JacobianAt, "jvp_flat", cramped)
    basis = top_singular(JacobianAt(f, x, plan=Plan.fixed("finite_difference")), 3)
    assert not basis.is_verified.any()


def test_law34_low_precision_keeps_its_singular_values():
    spectrum = torch.logspace(0, -1.5, 40).tolist()
    full = planted_spectrum(spectrum, dim_x=120, dim_h=90, dtype=torch.float32)
    low = LinearMap(full.matrix.bfloat16())
    basis = top_singular(JacobianAt(low, torch.zeros(120, dtype=torch.bfloat16)), 10, tol=3e-2)
    exact = torch.linalg.svdvals(full.matrix)[:10]
    assert ((basis.s - exact).abs() / exact[0]).max() < 2e-2
    assert basis.s.dtype == torch.float32
    assert not basis.verified  # that takes a float32 pass


@pytest.mark.parametrize("allow_tf32", [False, True])
def test_precision_is_a_scope_whatever_surrounds_it(allow_tf32):
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    with precision(), precision(allow_tf32=allow_tf32):
        assert matmul.allow_tf32 == allow_tf32
        assert cudnn.allow_tf32 == allow_tf32
    assert (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark) == before


def test_tf32_is_never_verified():
    f = planted_spectrum([2.0, 1.0], dim_x=6, dim_h=5, dtype=torch.float32)
    jac = JacobianAt(f, torch.zeros(6), plan=Plan.fixed(dtype="tf32"))
    assert not top_singular(jac, 1).verified


def test_products_reached_on_a_decaying_spectrum():
    """A regression guard on counts: FINDINGS reached 148 at k=10 and 274 at k=50 on a trained network."""
    f = planted_spectrum(torch.logspace(0, -2, 120).tolist(), dim_x=600, dim_h=500)
    assert top_singular(at_zero(f), 10).products.total <= 160
    assert top_singular(at_zero(f), 50).products.total <= 240


def test_not_converged_is_an_answer_with_a_warning():
    f = planted_spectrum(torch.linspace(1, 0.9, 80).tolist(), dim_x=120, dim_h=100)
    with pytest.warns(
        NotConvergedWarning, match=r"residuals of at most 1e-06; got .* after 30 products; raise max_prod"
    ):
        basis = top_singular(at_zero(f), 5, tol=1e-6, max_products=30)
    assert basis.residual.max() > 1e-6
    assert not basis.verified
    with pytest.raises(NotConvergedError, match="residuals of at most"):
        top_singular(at_zero(f), 5, tol=1e-6, max_products=30, strict=True)


def test_a_budget_below_the_first_blocks_still_gives_every_triplet():
    f = planted_spectrum(torch.linspace(1, 0.9, 80).tolist(), dim_x=120, dim_h=100)
    with pytest.warns(NotConvergedWarning):
        basis = top_singular(at_zero(f), 12, tol=1e-6, max_products=1)
    assert basis.s.shape == (12,)


def test_residual_is_honest():
    f = planted_spectrum(torch.linspace(1, 0.5, 80).tolist(), dim_x=120, dim_h=100)
    basis = top_singular(at_zero(f), 5, tol=1e-2)
    forward = (basis.v @ f.matrix.mT - basis.s[:, None] * basis.u).norm(dim=1)
    reverse = (basis.u @ f.matrix - basis.s[:, None] * basis.v).norm(dim=1)
    assert torch.allclose(basis.residual, torch.maximum(forward, reverse) / basis.s[0], rtol=1e-6)


def test_errors_of_rank_and_options():
    jac = at_zero(planted_spectrum([1.0], dim_x=4, dim_h=3))
    with pytest.raises(RankError, match=r"rank must be between 0 and min\(D, N\) = 3; got 4"):
        top_singular(jac, 4)
    with pytest.raises(RankError, match="got -1"):
        top_singular(jac, -1)
    with pytest.raises(OptionError, match="method must be one of lanczos, power, pooled, dense; got 'magic'"):
        top_singular(jac, 1, method="magic")
    with pytest.raises(OptionError, match=r"tol > 0, guard >= 0 and block >= 1; got tol=0"):
        top_singular(jac, 1, tol=0)


def test_rank_zero():
    basis = top_singular(at_zero(planted_spectrum([1.0], dim_x=4, dim_h=3)), 0)
    assert basis.u.shape == (0, 3)
    assert basis.v.shape == (0, 4)
    assert basis.clusters == ()
    assert math.isinf(basis.gap)
