import numpy as np
import pytest
import torch

from pullback.errors import FileFormatError, ShapeError
from pullback.files import write_safetensors
from pullback.portraits.factors import NUM_FACTORS, sample
from pullback.portraits.judge import Judge, load_judge, nearest, real_residuals
from pullback.portraits.oracle import Calibration, Oracle, calibrate, load_oracle, read_factors, to_clean
from pullback.portraits.renderer import render
from pullback.portraits.train_oracle import loss_of, train_oracle, worn


@pytest.fixture(scope="module")
def judge() -> Judge:
    return load_judge()


def test_shipped_oracle_reads_every_factor(judge):
    assert judge.calibration.r2.min() > 0.95
    assert judge.calibration.leakage < 0.06
    assert judge.calibration.noise.max() < 0.25


def test_judge_undoes_the_calibration(judge):
    z = sample(64, seed=123)
    error = judge.factors(to_clean(render(z))) - z
    assert np.sqrt(np.square(error).mean(axis=0)).max() < 0.3


def test_effects_are_in_standard_units():
    slope = np.array([[2.0, 0.5], [0.0, 4.0]])
    fit = Calibration(slope=slope, offset=np.ones(2), r2=np.ones(2), noise=np.zeros(2))
    z = np.array([[1.0, 0.0], [0.3, -2.0]])
    assert np.allclose(fit.effects(z @ slope.T + 1, np.ones((2, 2))), z)
    assert fit.leakage == pytest.approx(0.25)


def test_leakage_is_relative_to_the_answer_for_the_factor_itself():
    """An answer of twice its own factor that also moves by half a unit with the other leaks a quarter, not a half."""
    planted = np.array([[2.0, 0.5], [-0.4, 4.0]])
    fit = Calibration(slope=planted, offset=np.ones(2), r2=np.ones(2), noise=np.zeros(2))
    assert np.allclose(fit.leakage_matrix, [[1, 0.25], [-0.1, 1]])
    assert fit.leakage == pytest.approx(0.25)


def test_edit_of_one_factor_is_read_as_that_factor(judge):
    before = sample(32, seed=9)
    after = before.copy()
    after[:, 4] += np.where(after[:, 4] > 0, -1.0, 1.0)
    change = judge.factors(to_clean(render(after))) - judge.factors(to_clean(render(before)))
    share = np.square(change[:, 4]).mean() / np.square(change).sum(axis=1).mean()
    assert share > 0.85


def test_residual_tells_a_portrait_from_a_broken_picture(judge):
    real = real_residuals(judge, num=32)
    clean = to_clean(render(sample(32, seed=5)))
    broken = clean.clone()
    broken[:, :, 20:44, 20:44] = clean.roll(1, 0)[:, :, 20:44, 20:44].flip(-2)
    assert np.median(judge.residual(broken)) > 1.5 * np.quantile(real, 0.95)


def test_nearest_finds_the_copy():
    pictures = torch.rand(10, 3, 8, 8)
    distance, row = nearest(pictures[3:5] + 0.01, pictures, chunk=1)
    assert row.tolist() == [3, 4]
    assert distance.tolist() == pytest.approx([0.01, 0.01], rel=0.05)


def test_wear_changes_pictures_a_little_and_is_seeded():
    pictures = to_clean(render(sample(4, seed=0)))
    first, again = (worn(pictures, generator=torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(first, again)
    assert 0 < (first - pictures).abs().mean() < 0.15


def test_loss_is_zero_for_the_truth():
    z = torch.from_numpy(sample(8, seed=0)).float()
    answer = z.clone()
    answer[:, 12] *= 50
    assert float(loss_of(answer, z)) < 1e-6
    assert float(loss_of(-answer, z)) > 1


def test_training_writes_an_oracle_of_the_shipped_shape(tmp_path):
    path = tmp_path / "oracle.safetensors"
    trained = train_oracle(path, num_pictures=8, num_steps=2, batch_size=4, num_calibration=64)
    read, fit = load_oracle(path)
    pictures = to_clean(render(sample(2, seed=0)))
    assert torch.equal(read(pictures), trained(pictures))
    assert fit.slope.shape == (NUM_FACTORS, NUM_FACTORS)
    assert path.stat().st_size < 2e6


def test_file_of_something_else_is_refused(tmp_path):
    write_safetensors(tmp_path / "other.safetensors", {"net.weight": torch.zeros(2)}, {})
    with pytest.raises(FileFormatError, match="the weights of the oracle"):
        load_oracle(tmp_path / "other.safetensors")


def test_shipped_calibration_is_that_of_the_shipped_weights(judge):
    fresh = calibrate(judge.oracle, num=1024)
    assert np.abs(fresh.slope - judge.calibration.slope).max() < 0.05 * np.abs(judge.calibration.slope).max()
    assert np.abs(fresh.r2 - judge.calibration.r2).max() < 0.02


def test_wrong_shape_is_named():
    with pytest.raises(ShapeError, match=r"pictures of shape \(B, 3, 64, 64\) in \[-1, 1\]; got \(1, 3, 32, 32\)"):
        Oracle()(torch.zeros(1, 3, 32, 32))


def test_no_pictures_give_no_factors():
    assert read_factors(Oracle(), torch.zeros(0, 3, 64, 64)).shape == (0, NUM_FACTORS)
