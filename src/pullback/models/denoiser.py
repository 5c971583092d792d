"""A model as this package sees it: anything that can be denoised."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from pullback.errors import ModelError, NumericalError, OptionError, ShapeError
from pullback.models import ddim, images, predictions
from pullback.models.calls import call_diffusers
from pullback.models.conditions import Condition, Inputs
from pullback.models.digest import weights_digest
from pullback.models.feature_map import Call, NetworkFeatureMap, example_tensor
from pullback.models.predictions import Prediction, known_prediction
from pullback.models.schedule import Schedule, Time
from pullback.types import Pool


@dataclass(eq=False)
class Denoiser:
    """A network with all that gives its output a meaning.

    ``x`` is always in its natural shape (C, H, W); a space-to-depth in front of the network happens
    inside. Of a network that also predicts a variance (twice the channels, as ADM and DiT do) only
    the first half is used.

    Attributes:
        network: The network; it is put in eval mode.
        schedule: Signal and noise levels.
        prediction: What the network returns: "epsilon", "v_prediction", "sample" or "flow".
        x_shape: Shape of one latent, without batch.
        call: ``call(network, x, t, cond)`` -> prediction; what ``cond`` is is between you and it.
        space_to_depth: r, if the network works on ``pixel_unshuffle(x, r)``.
        vae: An autoencoder for latent models; x0 is the picture itself without.
        encode_prompt: prompt -> inputs of the network, for text models.
        no_condition: What ``cond=None`` means: the empty prompt, the null class, or None.
        name: For people.
    """

    network: nn.Module
    schedule: Schedule
    prediction: Prediction
    x_shape: tuple[int, ...]
    call: Call = call_diffusers
    space_to_depth: int = 1
    vae: Any = None
    encode_prompt: Callable[[str], Inputs] | None = None
    no_condition: Condition | None = None
    name: str = ""
    num_calls: int = field(default=0, init=False)  # full network calls so far

    def __post_init__(self) -> None:
        self.prediction = known_prediction(self.prediction)
        self.x_shape = tuple(self.x_shape)
        self.network.eval()
        bad = [
            name for name, value in self.network.named_parameters() if not value.is_meta and not value.isfinite().all()
        ]
        if bad:
            raise ModelError(
                wanted="finite weights",
                got=f"NaN or infinity in {len(bad)} tensors, such as {bad[0]}",
                hint="load the weights again, in float32 if they overflowed in fp16",
            )

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return example_tensor(self.network).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the network, and so of latents."""
        return example_tensor(self.network).dtype

    @property
    def digest(self) -> str:
        """The sha256 of the weights by float32 value."""
        return weights_digest(self.network)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Denoiser":
        """Move the network (and VAE), in place, and return self."""
        for module in (self.network, self.vae):
            if module is not None:
                nn.Module.to(module, device=device, dtype=dtype)  # diffusers' own warns about every cast
        return self

    def predict(self, x: Tensor, t: Time, cond: Any = None) -> Tensor:
        """Return the network's own prediction `(B, *x_shape)` at x `(B, *x_shape)`.

        With a guided condition both passes run as one batch, and the guided prediction returns.

        Raises:
            ShapeError: If x has another shape.
            OptionError: If t is outside the schedule.
        """
        self.check(x)
        t, cond = self.schedule.check(t), self.resolve(cond)
        self.num_calls += 1
        if not (isinstance(cond, Condition) and cond.is_guided):
            return self._run(x, t, cond)
        without, within = self._run(torch.cat([x, x]), t, cond.pair()).chunk(2)
        return without + cond.guidance * (within - without)

    def x0(self, x: Tensor, t: Time, cond: Any = None) -> Tensor:
        """Return the clean sample `(B, *x_shape)` the prediction implies; see ``predictions``."""
        return predictions.clean_sample(self.prediction, self.predict(x, t, cond), x, *self.amounts(t))

    def eps(self, x: Tensor, t: Time, cond: Any = None) -> Tensor:
        """Return the noise `(B, *x_shape)` the prediction implies; see ``predictions``."""
        return predictions.noise(self.prediction, self.predict(x, t, cond), x, *self.amounts(t))

    def x0_and_eps(self, x: Tensor, t: Time, cond: Any = None) -> tuple[Tensor, Tensor]:
        """Return both from one network call."""
        p, amounts = self.predict(x, t, cond), self.amounts(t)
        return (
            predictions.clean_sample(self.prediction, p, x, *amounts),
            predictions.noise(self.prediction, p, x, *amounts),
        )

    def amounts(self, t: Time | None) -> tuple[float, float]:
        """Return (alpha, sigma) of ``x_t = alpha x0 + sigma eps``."""
        return self.schedule.alpha(t), self.schedule.sigma(t)

    def noise(self, x0: Tensor, t: Time, eps: Tensor) -> Tensor:
        """Return ``x_t = alpha x0 + sigma eps``, all `(B, *x_shape)`."""
        alpha, sigma = self.amounts(t)
        return alpha * x0 + sigma * eps

    def feature_map(
        self,
        *,
        t: Time | None = None,
        t_fraction: float | None = None,
        layer: str | None = None,
        pool: Pool = "none",
        cond: Any = None,
    ) -> NetworkFeatureMap:
        """Return x -> h at the given t (or share of T), layer, pooling and condition.

        >>> from pullback.models import toy_denoiser
        >>> f = toy_denoiser().feature_map(t_fraction=0.8)
        >>> f.layer, f.origin["t"]
        ('mid_block', 800)

        Raises:
            OptionError: If not exactly one of ``t`` and ``t_fraction`` is given.
            LayerError: If there is no such layer.
        """
        cond = self.resolve(cond)
        return NetworkFeatureMap(
            self.network,
            call=self._unshuffled,
            t=self.time(t=t, t_fraction=t_fraction),
            layer=layer,
            cond=cond.conditional() if isinstance(cond, Condition) else cond,
            pool=pool,
            x_shape=self.x_shape,
            details={"prediction": self.prediction, "space_to_depth": self.space_to_depth},
        )

    def time(self, *, t: Time | None = None, t_fraction: float | None = None) -> Time:
        """Return the timestep from either way of giving it.

        Raises:
            OptionError: If not exactly one is given, or it is outside the schedule.
        """
        if t is not None and t_fraction is None:
            return self.schedule.check(t)
        if t_fraction is not None and t is None:
            return self.schedule.timestep(t_fraction)
        raise OptionError(
            wanted="either t or t_fraction",
            got=f"t = {t}, t_fraction = {t_fraction}",
            hint="t_fraction=0.8 is the default elsewhere",
        )

    @torch.no_grad()
    def sample_latent(
        self,
        *,
        t: Time | None = None,
        t_fraction: float | None = None,
        seed: int | None = None,
        seeds: Sequence[int] | None = None,
        num_steps: int = 20,
        cond: Any = None,
        chunk: int = 1,
    ) -> Tensor:
        """Return x_t: noise of each seed, DDIM-denoised from T down to t.

        ``num_steps`` counts a whole walk from T to 0; of it the part above t is taken, and at least
        one step (none at ``t_fraction=1``). One CPU generator per seed draws the noise in float32:
        a batch holds what its seeds give one at a time, on any device.

        ``chunk`` latents walk together. One at a time a seed's latent has the same bits whatever its company; of
        several the last bits depend on how many they are, since convolutions choose their algorithm by the batch.

        Returns:
            `(*x_shape)` for ``seed``, `(len(seeds), *x_shape)` for ``seeds``.

        Raises:
            OptionError: If not exactly one of ``seed`` and ``seeds``, and of ``t`` and ``t_fraction``, is given.
        """
        if (seed is None) == (seeds is None):
            raise OptionError(
                wanted="either seed or seeds",
                got=f"seed = {seed}, seeds = {seeds}",
                hint="seeds=range(8) gives a batch",
            )
        top, t = self.schedule.timestep(1.0), self.time(t=t, t_fraction=t_fraction)
        x = self.schedule.sigma(top) * self.draw(seeds if seeds is not None else [seed or 0])  # xT
        if t != top:
            walk = {"num_steps": max(1, round(num_steps * (1 - self.schedule.fraction(t)))), "until": t, "cond": cond}
            x = torch.cat([ddim.denoise(self, part, top, **walk) for part in x.split(chunk)])
        return x if seeds is not None else x[0]

    def draw(self, seeds: Sequence[int]) -> Tensor:
        """Return N(0, I) noise `(len(seeds), *x_shape)`, each row from its own seed."""
        rows = [torch.randn(self.x_shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(rows).to(self.device, self.dtype)

    def cond(
        self,
        *,
        prompt: str | None = None,
        label: int | None = None,
        negative: str | int | None = None,
        guidance: float = 1.0,
    ) -> Condition:
        """Return the condition of a prompt or a class label, with guidance w if not 1.

        ``negative`` is the prompt or label guided away from: the empty prompt or the null class if
        not given. Other inputs: ``Condition({"keyword": tensor of one row, ...})``.

        Raises:
            OptionError: If not exactly one of ``prompt`` and ``label`` is given, or guidance has
                nothing to be guided away from.
            ModelError: If the model takes no prompts.
        """
        inputs = self._inputs(prompt, label)
        without = self.no_condition and self.no_condition.inputs
        if negative is not None:
            without = self._inputs(negative, None) if isinstance(negative, str) else self._inputs(None, negative)
        text = str(label if prompt is None else prompt)
        return Condition(inputs, without if guidance != 1 else None, guidance, text)

    def _inputs(self, prompt: str | None, label: int | None) -> Inputs:
        if prompt is not None and self.encode_prompt is None:
            raise ModelError(
                wanted="a model that takes prompts",
                got=f"{self.name}, which does not",
                hint="use label=, or Condition(inputs) for other text encoders",
            )
        if (prompt is None) == (label is None):
            raise OptionError(
                wanted="either prompt or label",
                got=f"prompt = {prompt!r}, label = {label}",
                hint="cond=None stands for no condition",
            )
        return {"class_labels": torch.tensor([label])} if prompt is None else self.encode_prompt(prompt)  # pyright: ignore[reportOptionalCall]

    def resolve(self, cond: Any) -> Any:
        """Return ``cond``, or what no condition means for this model.

        Raises:
            ShapeError: If a ``Condition`` has more than one row.
        """
        cond = self.no_condition if cond is None else cond
        return cond.check() if isinstance(cond, Condition) else cond

    def encode_image(self, image: Image.Image | NDArray[np.uint8] | Tensor) -> Tensor:
        """Return x0 `(B, *x_shape)` of a picture or a batch; see ``images.pixels_of``."""
        pixels = images.pixels_of(image, images.picture_shape(self.vae, self.x_shape))
        x0 = pixels if self.vae is None else images.vae_encode(self.vae, pixels)
        return self.check(x0.to(self.device, self.dtype))

    def to_image(self, x0: Tensor) -> NDArray[np.uint8]:
        """Return pictures, uint8 `(B, H, W, 3)`, of x0 `(B, *x_shape)`."""
        self.check(x0)
        return images.pictures_of(x0 if self.vae is None else images.vae_decode(self.vae, x0))

    def check(self, x: Tensor) -> Tensor:
        """Return x if it is a batch of this model's latents.

        Raises:
            ShapeError: If it is not.
        """
        if x.ndim != len(self.x_shape) + 1 or tuple(x.shape[1:]) != self.x_shape:
            raise ShapeError(
                wanted=f"x of shape (B, {', '.join(map(str, self.x_shape))})",
                got=f"{tuple(x.shape)}",
                hint="stack latents along the first axis; one alone is x[None]",
            )
        return x

    def check_finite(self, x: Tensor) -> Tensor:
        """Return x if it is a finite batch of latents.

        Raises:
            ShapeError: If its shape is another.
            NumericalError: If it holds NaN or infinity.
        """
        if not self.check(x).isfinite().all():
            raise NumericalError(
                wanted="finite latents",
                got="NaN or infinity in x",
                hint="a smaller scale, or float32 instead of half precision",
            )
        return x

    def _unshuffled(self, network: nn.Module, x: Tensor, t: Any, cond: Any) -> Any:
        return self.call(
            network, functional.pixel_unshuffle(x, self.space_to_depth) if self.space_to_depth > 1 else x, t, cond
        )

    def _run(self, x: Tensor, t: Time, cond: Any) -> Tensor:
        p = self._unshuffled(self.network, x, t, cond)
        p = p[:, : x.shape[1] * self.space_to_depth**2].to(x.dtype)  # a predicted variance follows; autocast rounds
        return functional.pixel_shuffle(p, self.space_to_depth) if self.space_to_depth > 1 else p
