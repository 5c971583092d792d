"""The singular triplets of a real network's feature map, against the dense decomposition of its Jacobian."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pullback.geometry import JacobianAt, Plan, principal_angles, top_singular
from pullback.models import toy_denoiser

TOL = {"finite_difference": 1e-7}
"""In float64. By central differences singular values were measured to come within 1.6e-9 of s_1 here, and residuals to
fall to 2e-9 at best; by the exact engines to 1e-12."""


@pytest.mark.parametrize(
    ("method", "jvp_engine", "vjp_engine"),
    [
        ("lanczos", "vmap", "vmap"),
        ("lanczos", "loop", "loop"),
        ("lanczos", "double_backward", "vmap"),
        ("lanczos", "finite_difference", "loop"),
        ("dense", "vmap", "vmap"),
        ("dense", "double_backward", "vmap"),
        ("pooled", "vmap", "vmap"),
        ("pooled", "vmap", "loop"),
    ],
)
@given(seed=st.integers(0, 1_000_000))
@settings(max_examples=2, deadline=None)
def test_law05_a_diffusers_network_has_the_triplets_of_its_dense_jacobian(method, jvp_engine, vjp_engine, seed):
    den, rank, tol = toy_denoiser(dtype=torch.float64), 6, TOL.get(jvp_engine, 1e-9)
    jac = JacobianAt(den.feature_map(t_fraction=0.6), den.draw([seed])[0], plan=Plan.fixed(jvp_engine, vjp_engine))
    matrix = JacobianAt(jac.f, jac.x).vjp(torch.eye(jac.dim_h, dtype=torch.float64)).flatten(1)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    basis = top_singular(jac, rank, method=method, tol=tol)
    v = basis.v.flatten(1)
    assert ((basis.s - s[:rank]).abs() / s[0]).max() < 1e-8
    assert (v @ matrix.mT - basis.s[:, None] * basis.u).abs().max() < 2 * tol * s[0]  # signed pairs
    assert (v @ v.mT - torch.eye(rank, dtype=v.dtype)).abs().max() < 1e-12
    largest = max(1e-6, 10 * float(basis.residual.max() * s[0] / (s[rank - 1] - s[rank])))
    assert principal_angles(basis.u, u.mT[:rank]).max() < largest
    assert principal_angles(v, vh[:rank]).max() < largest
    assert basis.verified
