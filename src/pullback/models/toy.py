"""Two models for examples and tests: a real U-Net at toy size, and a model that is exactly right."""

from typing import Literal

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor, nn

from pullback.models.denoiser import Denoiser
from pullback.models.load import load_denoiser, wrap_module
from pullback.models.predictions import Prediction
from pullback.models.schedule import Schedule, VPSchedule


def toy_denoiser(
    *,
    seed: int = 0,
    prediction: Literal["epsilon", "v_prediction", "sample"] = "v_prediction",
    dtype: torch.dtype = torch.float32,
) -> Denoiser:
    """Return an untrained denoiser of latents `(3, 8, 8)` with attention in its mid block.

    >>> toy_denoiser().sample_latent(t_fraction=0.8, seeds=[1, 2]).shape
    torch.Size([2, 3, 8, 8])
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = UNet2DModel(
            sample_size=8,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
            norm_num_groups=4,
            attention_head_dim=8,
        )
    scheduler = DDIMScheduler(prediction_type=prediction)
    return load_denoiser((network, scheduler), dtype=dtype, name="toy")


class GaussianNetwork(nn.Module):
    """The exact denoiser of ``x0 ~ N(mean, diag(variance))``, in any parametrisation.

    ``eps(x) = sigma (x - alpha mean) / (alpha^2 variance + sigma^2)``, and x0 from it; its Jacobian
    is diagonal. The layer ``eps`` outputs that noise.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, mean: Tensor, variance: Tensor, schedule: Schedule, prediction: Prediction) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("variance", variance)
        self.schedule, self.prediction, self.eps = schedule, prediction, nn.Identity()

    def forward(self, x: Tensor, t: float) -> Tensor:
        """Return the prediction `(B, *x_shape)` at x `(B, *x_shape)`."""
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        spread = alpha**2 * self.variance + sigma**2
        eps = self.eps(sigma * (x - alpha * self.mean) / spread)
        x0 = self.mean + alpha * self.variance * (x - alpha * self.mean) / spread
        known = {"epsilon": eps, "v_prediction": alpha * eps - sigma * x0, "sample": x0, "flow": eps - x0}
        return known[self.prediction]


def gaussian_denoiser(
    *, prediction: Prediction = "epsilon", schedule: Schedule | None = None, seed: int = 0, num_channels: int = 1
) -> Denoiser:
    """Return the exact float64 denoiser of Gaussian data `(num_channels, 4, 4)`.

    >>> den = gaussian_denoiser(prediction="v_prediction")
    >>> x = den.sample_latent(t_fraction=0.5, seeds=[0])
    >>> bool(torch.allclose(den.eps(x, 500), gaussian_denoiser(prediction="sample").eps(x, 500)))
    True
    """
    generator = torch.Generator().manual_seed(seed)
    mean, draw = torch.randn(2, num_channels, 4, 4, generator=generator, dtype=torch.float64)
    schedule = schedule or VPSchedule.from_betas(torch.linspace(1e-4, 0.02, 1000))
    return wrap_module(
        GaussianNetwork(0.3 * mean, 0.2 + draw.square(), schedule, prediction),
        schedule=schedule,
        prediction=prediction,
        x_shape=tuple(mean.shape),
        call=lambda network, x, t, cond: network(x, t),
        name="gaussian",
    )
