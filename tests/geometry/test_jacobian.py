"""Products against the dense Jacobian, engine against engine, and what they leave behind."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

from pullback.errors import MemoryWarning, ModelError, NoMemoryError, NumericalError, OptionError, ShapeError
from pullback.geometry import JacobianAt, Plan, Products, as_feature_map, measure_plan, top_singular
from pullback.testing import ConvMap, UnitMap, planted_null, planted_spectrum

JVP_ENGINES = ("vmap", "loop", "double_backward", "finite_difference")
EXACT_ENGINES = JVP_ENGINES[:3]


def latents(f, num, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, *f.x_shape, generator=generator, dtype=torch.float64).to(f.dtype)


def vectors(num_samples, rank, dim, seed=1):
    return torch.randn(num_samples, rank, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("engine", EXACT_ENGINES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_law02_jvp_equals_the_dense_jacobian(engine, dtype, tolerance):
    f = ConvMap(dtype=dtype)
    x = latents(f, 2)
    dense = torch.stack([ConvMap().jacobian(sample.double()) for sample in x])
    v = vectors(2, 7, 192)
    got = JacobianAt(f, x, plan=Plan.fixed(engine, chunk=5)).jvp(v.unflatten(-1, f.x_shape))
    assert (got - v @ dense.mT).abs().max() < tolerance * dense.abs().amax() * 192**0.5


@pytest.mark.parametrize("engine", ["vmap", "loop"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_law02_vjp_equals_the_dense_jacobian(engine, dtype, tolerance):
    f = ConvMap(dtype=dtype)
    x = latents(f, 2)
    dense = torch.stack([ConvMap().jacobian(sample.double()) for sample in x])
    u = vectors(2, 7, 64)
    got = JacobianAt(f, x, plan=Plan.fixed(vjp_engine=engine, chunk=5)).vjp(u)
    assert got.shape == (2, 7, 3, 8, 8)
    assert (got.flatten(2) - u @ dense).abs().max() < tolerance * dense.abs().amax() * 64**0.5


def test_law02_finite_differences_are_near():
    f = ConvMap()
    x = latents(f, 2)
    v = vectors(2, 3, 192).unflatten(-1, f.x_shape)
    exact = JacobianAt(f, x).jvp(v)
    near = JacobianAt(f, x, plan=Plan.fixed("finite_difference")).jvp(v)
    assert (near - exact).abs().max() / exact.abs().max() < 1e-8


@given(seed=st.integers(0, 10**6), engine=st.sampled_from(EXACT_ENGINES), chunk=st.integers(1, 9))
@settings(max_examples=15, deadline=None)
def test_law02_adjoint(seed, engine, chunk):
    f = ConvMap(seed=seed % 7)
    jac = JacobianAt(f, latents(f, 1, seed)[0], plan=Plan.fixed(engine, chunk=chunk))
    v, u = vectors(1, 4, 192, seed)[0].unflatten(-1, f.x_shape), vectors(1, 3, 64, seed + 1)[0]
    left = jac.jvp(v) @ u.mT  # <J v_i, u_j>
    right = v.flatten(1) @ jac.vjp(u).flatten(1).mT  # <v_i, J^T u_j>
    assert torch.allclose(left, right, rtol=0, atol=1e-12 * float(left.abs().max() + 1) * 192)


def test_law02_attention_needs_nothing_patched():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(6, 18)

        def forward(self, x):
            q, k, v = self.qkv(x).chunk(3, dim=-1)
            return nn.functional.scaled_dot_product_attention(q, k, v).flatten(1)

    torch.manual_seed(0)
    net = Attention().double()
    x = torch.randn(1, 5, 6, dtype=torch.float64)
    dense = torch.autograd.functional.jacobian(lambda p: net(p[None])[0], x[0]).flatten(1)
    v = vectors(1, 2, 30)
    got = JacobianAt(net, x, plan=Plan.fixed("double_backward")).vjp(torch.eye(30, dtype=torch.float64)[None])
    assert torch.allclose(got[0].flatten(1), dense, atol=1e-12)
    near = JacobianAt(net, x, plan=Plan.fixed("finite_difference")).jvp(v.unflatten(-1, (5, 6)))
    assert torch.allclose(near, v @ dense.mT, atol=1e-7)


@pytest.mark.parametrize("engine", JVP_ENGINES)
def test_law03_what_comes_after_h_does_not_matter(engine):
    encoder = ConvMap()
    decoders = [nn.Conv2d(4, 3, 3).double() for _ in range(2)]
    features = []

    def f(x, decoder):
        h = encoder(x)
        features.append(decoder(h).detach())
        return h

    x = latents(encoder, 1)
    maps = [as_feature_map(lambda x, d=decoder: f(x, d), x) for decoder in decoders]
    first, second = (JacobianAt(one, x, plan=Plan.fixed(engine)) for one in maps)
    assert torch.equal(first.dense(), second.dense())
    v = vectors(1, 5, 192).unflatten(-1, encoder.x_shape)
    assert torch.equal(first.jvp(v), second.jvp(v))
    assert not torch.equal(features[0], features[-1])


@pytest.mark.parametrize("engine", JVP_ENGINES)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=5, deadline=None)
def test_law04_metric_is_the_length_of_a_small_step(engine, seed):
    f = ConvMap()
    x, v = latents(f, 1, seed)[0], vectors(1, 3, 192, seed)[0].unflatten(-1, f.x_shape)
    g = JacobianAt(f, x, plan=Plan.fixed(engine)).metric(v)
    e = 1e-6
    lengths = (f(x + e * v) - f(x[None])).flatten(1).norm(dim=1) / e
    assert torch.allclose(g.diagonal().sqrt(), lengths, rtol=1e-4)
    assert torch.allclose(g, g.mT, rtol=0, atol=1e-12)
    assert torch.linalg.eigvalsh(g).min() > -1e-10 * g.diagonal().max()


def test_law04_error_of_the_step_falls_with_the_step():
    f = ConvMap()
    x, v = latents(f, 1)[0], vectors(1, 1, 192)[0].unflatten(-1, f.x_shape)
    exact = JacobianAt(f, x).metric(v)[0, 0].sqrt()
    errors = [((f(x + e * v) - f(x[None])).norm() / e - exact).abs() for e in (1e-2, 1e-3)]
    assert 8 < errors[0] / errors[1] < 12


def test_law04_planted_null_direction_has_length_zero():
    f = planted_null(9, 6)
    g = JacobianAt(f, latents(f, 1)[0]).metric(f.null[None])
    assert g.abs().max() < 1e-20


@pytest.mark.parametrize("engine", JVP_ENGINES)
def test_law09_linear_step_is_right_to_second_order(engine):
    f = ConvMap()
    x, v = latents(f, 1)[0], vectors(1, 1, 192)[0].unflatten(-1, f.x_shape)
    jac = JacobianAt(f, x, plan=Plan.fixed(engine))
    pushed = jac.jvp(v)[0]
    steps = torch.tensor([0.0, 1e-3, 2e-3, 4e-3, 8e-3], dtype=torch.float64)
    gaps = torch.stack([(f(x + g * v).flatten() - jac.h - g * pushed).norm() for g in steps])
    slope = (gaps[2:] / gaps[1:-1]).log2()
    assert gaps[0] < 1e-13
    assert (slope - 2).abs().max() < 0.05


def test_law06_batch_equals_one_at_a_time_for_every_engine_and_chunk():
    f = ConvMap()
    x, v, u = latents(f, 3), vectors(3, 5, 192).unflatten(-1, f.x_shape), vectors(3, 5, 64)
    one = [JacobianAt(f, sample) for sample in x]
    pushed = torch.stack([jac.jvp(rows) for jac, rows in zip(one, v, strict=True)])
    pulled = torch.stack([jac.vjp(rows) for jac, rows in zip(one, u, strict=True)])
    for engine in EXACT_ENGINES:
        for chunk in (1, 4, 100):
            jac = JacobianAt(f, x, plan=Plan.fixed(engine, "loop" if chunk == 4 else "vmap", chunk=chunk))
            assert torch.allclose(jac.jvp(v), pushed, rtol=0, atol=1e-12)
            assert torch.allclose(jac.vjp(u), pulled, rtol=0, atol=1e-12)


def test_law06_same_plan_same_bits():
    f = ConvMap(dtype=torch.float32)
    x, v = latents(f, 2), vectors(2, 5, 192).unflatten(-1, f.x_shape)
    first, second = (JacobianAt(f, x, plan=Plan.fixed(chunk=6)).jvp(v) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("engine", JVP_ENGINES)
def test_law07_pooling_is_a_linear_map_after_j(engine):
    whole, pooled = ConvMap(), ConvMap(pool=True)
    x = latents(whole, 1)[0]
    pool = torch.eye(4, dtype=torch.float64).repeat_interleave(16, dim=1)
    assert torch.allclose(JacobianAt(pooled, x).dense(), pool @ JacobianAt(whole, x).dense(), atol=1e-12)
    v = vectors(1, 5, 192)[0].unflatten(-1, whole.x_shape)
    few, many = (JacobianAt(f, x, plan=Plan.fixed(engine)).jvp(v) for f in (pooled, whole))
    assert torch.allclose(few, many @ pool.mT, atol=1e-7 if engine == "finite_difference" else 1e-12)


def test_law34_half_precision_products_are_returned_in_float32():
    f = planted_spectrum([3.0, 1.0], dim_x=8, dim_h=6, dtype=torch.bfloat16)
    jac = JacobianAt(f, torch.zeros(8, dtype=torch.bfloat16))
    pushed = jac.jvp(torch.eye(8))
    assert pushed.dtype == torch.float32
    assert (pushed.mT - f.matrix.float()).abs().max() < 1e-2


def test_products_are_counted_per_direction_and_sample():
    f = ConvMap()
    jac = JacobianAt(f, latents(f, 2))
    jac.jvp(vectors(2, 3, 192).unflatten(-1, f.x_shape))
    jac.subset([1]).vjp(vectors(1, 4, 64))
    assert jac.products_each == (Products(3, 0), Products(3, 4))
    assert jac.products == Products(6, 4)
    assert jac.products.total == 10


def test_no_directions_cost_nothing():
    f = ConvMap()
    jac = JacobianAt(f, latents(f, 1)[0])
    assert jac.jvp(torch.zeros(0, 3, 8, 8, dtype=torch.float64)).shape == (0, 64)
    assert jac.vjp(torch.zeros(0, 64, dtype=torch.float64)).shape == (0, 3, 8, 8)
    assert jac.products == Products(0, 0)


@pytest.mark.parametrize("engine", JVP_ENGINES)
def test_weights_stay_trainable_and_without_grad(engine):
    f = ConvMap()
    jac = JacobianAt(f, latents(f, 1)[0], plan=Plan.fixed(engine))
    jac.jvp(vectors(1, 2, 192)[0].unflatten(-1, f.x_shape))
    jac.vjp(vectors(1, 2, 64)[0])
    assert all(p.requires_grad and p.grad is None for p in f.parameters())


def test_weights_stay_trainable_when_the_map_raises():
    net = nn.Linear(4, 4)
    net.register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("planted")))
    f = as_feature_map(nn.Linear(4, 4), torch.zeros(1, 4))
    object.__setattr__(f, "call", net)
    with pytest.raises(RuntimeError, match="planted"):
        JacobianAt(f, torch.zeros(4)).vjp(torch.zeros(1, 4))
    assert all(p.requires_grad for p in net.parameters())


def test_products_run_under_no_grad_and_inference_mode():
    f = UnitMap(3)
    x, u = latents(f, 1)[0], torch.eye(3, dtype=torch.float64)
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            jac = JacobianAt(f, x)
            assert torch.allclose(jac.h, x / x.norm())
            assert torch.allclose(jac.vjp(u), f.jacobian(x), atol=1e-12)
            assert torch.allclose(jac.jvp(u).mT, f.jacobian(x), atol=1e-12)


def test_gradient_checkpointing_keeps_working():
    f = ConvMap()
    net = f.net
    x, u = latents(f, 2), vectors(2, 3, 64)
    wrapped = as_feature_map(lambda p: checkpoint(net, p, use_reentrant=False), x)
    for engine in ("vmap", "loop"):
        got = JacobianAt(wrapped, x, plan=Plan.fixed(vjp_engine=engine)).vjp(u)
        assert torch.allclose(got, JacobianAt(f, x).vjp(u), atol=1e-12)


def test_metric_h_and_dense_of_a_single_latent():
    f = UnitMap(4)
    x = latents(f, 1)[0]
    jac = JacobianAt(f, x)
    assert torch.allclose(jac.h, x / x.norm())
    assert torch.allclose(jac.dense(), f.jacobian(x), atol=1e-14)
    wide = planted_spectrum([2.0, 1.0], dim_x=3, dim_h=7)
    tall = JacobianAt(wide, torch.zeros(3, dtype=torch.float64))
    assert torch.allclose(tall.dense(), wide.matrix)
    assert tall.products == Products(jvp=3, vjp=0)


def test_autotune_fills_in_its_times():
    f = ConvMap(dtype=torch.float32)
    plan = measure_plan(f, latents(f, 2), chunk=4)
    assert plan.jvp_engine in ("vmap", "loop", "double_backward")
    assert plan.vjp_engine in ("vmap", "loop")
    assert plan.seconds_per_jvp is not None
    assert plan.seconds_per_jvp > 0
    assert plan.seconds_per_vjp is not None


class Doubled(torch.autograd.Function):
    """A layer with a reverse derivative only."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return 2 * g


def test_autotune_says_why_it_leaves_forward_mode():
    with pytest.warns(UserWarning, match=r"products use double_backward, since loop failed"):
        plan = measure_plan(Doubled.apply, torch.ones(1, 3))
    assert plan.jvp_engine == "double_backward"


def test_error_missing_forward_derivative_names_the_way_out():
    jac = JacobianAt(Doubled.apply, torch.ones(1, 3), plan=Plan.fixed("loop"))
    with pytest.raises(ModelError, match=r"every layer before h needs a forward derivative; .*'finite_difference'"):
        jac.jvp(torch.ones(1, 1, 3))
    assert jac.products == Products()


def test_error_shape_of_x():
    with pytest.raises(ShapeError, match=r"x must have shape \(3, 8, 8\) or \(B, 3, 8, 8\); got \(8, 8\)"):
        JacobianAt(ConvMap(), torch.zeros(8, 8))


def test_error_shape_of_v_and_u():
    f = ConvMap()
    jac = JacobianAt(f, latents(f, 1)[0])
    with pytest.raises(ShapeError, match=r"v must have shape \(k, 3, 8, 8\); got \(3, 8, 8\); stack directions"):
        jac.jvp(torch.zeros(3, 8, 8, dtype=torch.float64))
    with pytest.raises(ShapeError, match=r"u must have shape \(k, 64\); got \(2, 63\)"):
        jac.vjp(torch.zeros(2, 63, dtype=torch.float64))
    with pytest.raises(ShapeError, match=r"v must have shape \(2, k, 3, 8, 8\)"):
        JacobianAt(f, latents(f, 2)).jvp(torch.zeros(1, 3, 8, 8, dtype=torch.float64))


def test_error_nan():
    f = ConvMap()
    with pytest.raises(NumericalError, match="x must be finite; got NaN or infinity"):
        JacobianAt(f, torch.full((3, 8, 8), torch.nan, dtype=torch.float64))
    with pytest.raises(NumericalError, match="products must be finite"):
        JacobianAt(lambda x: x.sqrt(), torch.zeros(1, 2)).vjp(torch.ones(1, 1, 2))


def test_error_detached_map():
    with pytest.raises(ModelError, match=r"differentiable in x; got an output that is not attached.*detach\(\)"):
        JacobianAt(lambda x: x.detach() * 2, torch.ones(1, 2)).vjp(torch.ones(1, 1, 2))


def test_error_plain_callable_without_batch():
    with pytest.raises(ShapeError, match=r"must take \(B, \*x_shape\) and return \(B, \*h_shape\)"):
        as_feature_map(lambda x: x.sum(), torch.ones(3))


def test_error_options_of_a_plan():
    with pytest.raises(OptionError, match="jvp_engine must be one of vmap, loop, double_backward, finite_difference"):
        Plan.fixed("fast")
    with pytest.raises(OptionError, match="chunk must be at least 1; got 0"):
        Plan.fixed(chunk=0)
    with pytest.raises(OptionError, match="dtype must be one of auto, tf32"):
        Plan.fixed(dtype="float8")


class Cramped:
    """A map that runs out of memory beyond ``most`` latents in a call, once that is set; its calls are written down."""

    def __init__(self, error=torch.OutOfMemoryError, text="out of memory"):
        self.inner, self.calls, self.most, self.failure = ConvMap(), [], 1000, error(text)

    def __call__(self, x):
        self.calls.append(len(x))
        if len(x) > self.most:
            raise self.failure
        return self.inner(x)

    def jacobian_at(self, num, most, chunk):
        x = latents(self.inner, num)
        jac = JacobianAt(self, x, plan=Plan.fixed("finite_difference", chunk=chunk))
        self.most = most
        self.calls.clear()
        return jac


@pytest.mark.parametrize(
    ("error", "text"),
    [(torch.OutOfMemoryError, "CUDA out of memory"), (RuntimeError, "DefaultCPUAllocator: can't allocate memory")],
)
def test_out_of_memory_halves_the_chunk_and_gives_the_same_products(error, text):
    f = Cramped(error, text)
    jac = f.jacobian_at(1, 3, 8)
    v = torch.randn(1, 8, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with pytest.warns(MemoryWarning) as warned:
        found = jac.jvp(v)
    assert [str(each.message)[-42:] for each in warned] == [
        "with 8 products at a time; going on with 4",
        "with 4 products at a time; going on with 2",
    ]
    assert f.calls == [8, 4, *[2] * 8]  # two sides of four pieces
    assert jac.plan.chunk == 2
    assert jac.products == Products(jvp=8, vjp=0)
    f.most = 1000
    assert torch.allclose(found, f.jacobian_at(1, 1000, 8).jvp(v), rtol=1e-12, atol=1e-12)


def test_a_basis_survives_want_of_memory_and_records_the_plan_that_worked():
    jac = Cramped().jacobian_at(2, 4, 16)
    with pytest.warns(MemoryWarning):
        basis = top_singular(jac, 5, block=5, tol=1e-5)
    assert basis.plan.chunk == 4
    assert basis.residual.max() <= 1e-5


def test_the_measured_plan_has_the_chunk_that_fitted(monkeypatch):
    from pullback.geometry import jacobian

    whole = jacobian.VJP_ENGINES["vmap"]

    def cramped(point, u):
        if len(u) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(point, u)

    monkeypatch.setitem(jacobian.VJP_ENGINES, "vmap", cramped)
    f = ConvMap(dtype=torch.float32)
    with pytest.warns(MemoryWarning):
        plan = measure_plan(f, latents(f, 1), chunk=16)
    assert plan.chunk == 5  # half of the widest block


def test_an_engine_that_wants_too_much_memory_gives_way_to_one_that_does_not(monkeypatch):
    from pullback.geometry import jacobian

    def cramped(point, v):
        raise torch.OutOfMemoryError("CUDA out of memory")

    for name in ("vmap", "double_backward"):
        monkeypatch.setitem(jacobian.JVP_ENGINES, name, cramped)
    f = ConvMap(dtype=torch.float32)
    assert measure_plan(f, latents(f, 1), chunk=1).jvp_engine == "loop"
    monkeypatch.setitem(jacobian.JVP_ENGINES, "loop", cramped)
    with pytest.raises(NoMemoryError, match="memory for one product of 1 samples"):
        measure_plan(f, latents(f, 1), chunk=1)  # rather than finite differences, which are not exact


def test_want_of_memory_for_a_single_product_is_an_error_that_says_what_to_do():
    jac = Cramped().jacobian_at(2, 1, 4)
    with (
        pytest.warns(MemoryWarning),
        pytest.raises(OptionError, match="memory for one product of 2 samples; got out of memory; compute fewer"),
    ):
        jac.jvp_flat(torch.ones(2, 2, 192, dtype=torch.float64))


def test_other_errors_of_the_network_are_left_alone():
    jac = Cramped(RuntimeError, "no such thing").jacobian_at(1, 1, 4)
    with pytest.raises(RuntimeError, match="no such thing"):
        jac.jvp_flat(torch.ones(1, 2, 192, dtype=torch.float64))
