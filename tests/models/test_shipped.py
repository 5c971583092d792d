"""The shipped model without this package: plain diffusers opens it, and it says the same."""

import torch
from diffusers import DDIMPipeline, DDIMScheduler
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

import pullback
from pullback.models.folders import shipped_folders


def test_plain_diffusers_opens_the_shipped_folder_and_predicts_the_same():
    pipeline = DDIMPipeline.from_pretrained(shipped_folders()["portraits"], use_safetensors=True)
    assert isinstance(pipeline.scheduler, DDIMScheduler)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    den = pullback.load("portraits")
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        v = pipeline.unet.float()(pixel_unshuffle(x, 2), 700).sample
        abar = pipeline.scheduler.alphas_cumprod[700]
        x0 = abar.sqrt() * x - (1 - abar).sqrt() * pixel_shuffle(v, 2)
        torch.testing.assert_close(den.x0(x, 700), x0, atol=1e-5, rtol=1e-5)
    assert x0.std() > 0.1
