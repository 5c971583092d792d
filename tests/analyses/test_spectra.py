"""Matched nulls beside power spectra and singular values."""

import pytest
import torch

import pullback
from pullback.analyses import Size
from pullback.analyses.context import Context
from pullback.analyses.figures import psd, spectra
from pullback.analyses.moves import unit_weights
from pullback.analyses.record import column, distinct
from pullback.geometry.plan import counted_products
from pullback.geometry.psd import power_spectrum
from pullback.models import toy_denoiser

TINY = Size(3, 2, 2, 2, 1, 1, 2, (0.8, 0.4), 4, 2)


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return Context(pullback.load(toy_denoiser()), TINY, bank=tmp_path_factory.mktemp("bank"))


def test_the_null_of_psd_is_that_of_random_u_through_autograd(context):
    f, x = context.feature_map(0.8, pool="sum"), context.latents(0.8, 3)[1:2].requires_grad_()
    u = unit_weights(psd.NUM_DRAWN, 16, context.generator())
    v = torch.stack([torch.autograd.grad((f(x)[0].flatten() * row).sum(), x)[0][0] for row in u])
    wanted = float(power_spectrum(v).low_share().mean())  # a share, so that lengths do not matter
    assert psd.pulled_back(context, 0.8, "sum")[1] == pytest.approx(wanted, rel=1e-4)


def test_every_row_of_psd_has_its_null_and_products_are_counted(context):
    with counted_products() as tally:
        outcome = psd.run(context)
    assert tally.products.total >= 2 * 2 * 3 * psd.NUM_DRAWN
    assert all(0 < float(row["low_share_null"]) < 1 for row in outcome.rows)
    nulls = {(row["t_fraction"], row["pool"], row["sample"]): row["low_share_null"] for row in outcome.rows}
    assert len(set(nulls.values())) == 2 * 2 * 3 + 1
    dashed = [line for line in psd.draw(outcome.rows).axes[2].lines if line.get_linestyle() == "--"]
    assert len(dashed) == 3
    for axis in psd.draw(outcome.rows).axes[:2]:
        assert len(axis.collections) == len(axis.lines) == 2  # a band for each timestep


def test_the_null_of_spectra_is_flatter_and_as_long_as_the_samples_own(context):
    outcome = spectra.run(context)
    for sample in (0, 2):
        where = {"t_fraction": 0.8, "pool": "none", "sample": sample}
        own, null = (column(outcome.rows, name, **where) for name in ("s", "s_null"))
        assert (null**2).sum() == pytest.approx((own**2).sum(), rel=1e-2)
        assert null[0] >= null[1] > 0
    assert all(1 <= float(row["effective_rank_null"]) <= TINY.rank for row in outcome.rows)
    for pool in ("none", "sum"):
        assert len(set(column(outcome.rows, "effective_rank_null", pool=pool))) == 1
    assert len(distinct(outcome.rows, "effective_rank_null")) == 2
    assert sum(line.get_linestyle() == "--" for axis in spectra.draw(outcome.rows).axes for line in axis.lines) == 5
