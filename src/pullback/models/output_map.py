"""Other maps of the same network: from x to what it predicts, and from h to what it predicts."""

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from pullback.errors import MismatchError, OptionError, PullbackError, ShapeError
from pullback.models.conditions import Condition
from pullback.models.denoiser import Denoiser
from pullback.models.feature_map import NetworkFeatureMap
from pullback.models.layers import pool_of, read_output
from pullback.models.schedule import Time
from pullback.models.scope import borrowed, contiguous_group_norms

Kind = Literal["eps", "x0"]


class _OfNetwork:
    """What both maps have in common with the feature map of the same network at the same t."""

    _base: NetworkFeatureMap

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the network."""
        return self._base.dtype

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self._base.device

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield the weights."""
        return self._base.parameters()

    def forward_mode(self) -> AbstractContextManager[object]:
        """Scope in which forward derivatives exist."""
        return self._base.forward_mode()

    def _mended(self, x: Tensor) -> AbstractContextManager[object]:
        """Scope of a call: autograd that follows x stumbles on some GroupNorms."""
        is_traced = torch.is_grad_enabled() and x.requires_grad
        return contiguous_group_norms(tuple(self._base.network.modules())) if is_traced else nullcontext()


class OutputMap(_OfNetwork):
    """``x -> eps(x)``, or ``x -> x0(x)``, at fixed t and condition, as a feature map.

    Its J is d eps/dx or d x0/dx, the posterior mean's; a call costs the whole network. Of a guided condition the
    conditional pass alone is used, as for h.

    Attributes:
        den: The model.
        t: Timestep.
        kind: ``"eps"`` or ``"x0"``, which is also the name of the layer in ``origin``.

    >>> from pullback.models import toy_denoiser
    >>> f = OutputMap(toy_denoiser(), t=600, kind="x0")
    >>> f(torch.zeros(2, 3, 8, 8)).shape, f.origin["layer"]
    (torch.Size([2, 3, 8, 8]), 'x0')

    Raises:
        OptionError: If the kind is unknown, or t is outside the schedule.
    """

    def __init__(self, den: Denoiser, *, t: Time, kind: Kind = "eps", cond: Any = None) -> None:
        self.den, self.kind, self.t = den, _known(kind), den.schedule.check(t)
        self._base = den.feature_map(t=t, cond=cond)
        self._modules = tuple(den.network.modules())
        cond = den.resolve(cond)
        self._cond = cond.conditional() if isinstance(cond, Condition) else cond
        self.x_shape: tuple[int, ...] = den.x_shape
        self.h_shape: tuple[int, ...] = den.x_shape

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return the prediction `(B, *x_shape)` of x `(B, *x_shape)`."""
        self.den.check(x)
        with borrowed(self.den.network, self._modules), self._mended(x):
            return getattr(self.den, self.kind)(x, self.t, self._cond)

    @property
    def origin(self) -> Mapping[str, str | int | float]:
        """As for the feature map at this t, with the output as layer."""
        return {**self._base.origin, "layer": self.kind, "pool": "none"}


ModelMap = NetworkFeatureMap | OutputMap
"""A map that directions are found with and applied by: of a layer, or to eps or x0."""


def map_of(den: Denoiser, origin: Mapping[str, Any], *, cond: Any = None) -> ModelMap:
    """Return the map on this model that an origin tells of, by its t, layer and pooling: of a layer, or to eps or x0.

    >>> from pullback.models import toy_denoiser
    >>> den = toy_denoiser()
    >>> f = OutputMap(den, t=600, kind="x0")
    >>> map_of(den, f.origin).origin == f.origin
    True

    Raises:
        MismatchError: If the model has no such layer or t.
        KeyError, ValueError, TypeError: If the origin says no t, or one that is no number.
    """
    t, layer = origin["t"], origin.get("layer")
    t = t if isinstance(t, float) else int(t)
    try:
        if layer in get_args(Kind) and layer not in dict(den.network.named_modules()):
            return OutputMap(den, t=t, kind=cast(Kind, layer), cond=cond)
        pool = pool_of(str(origin.get("pool", "none")))
        return den.feature_map(t=t, layer=None if layer is None else str(layer), pool=pool, cond=cond)
    except PullbackError as error:
        raise MismatchError(
            wanted=f"a model with layer {layer} at t = {t}", got=str(error), hint="use the model that it was made with"
        ) from error


class DecoderMap(_OfNetwork):
    """``h -> eps`` (or x0) with x and all skips held fixed: what the decoder alone makes of the feature  (2303.11073).

    Its "x" is h, and so the right vectors of its J live in H. The encoder runs at the fixed latent, for the skips; a
    hook then puts the given h in the place of the layer's output. A call costs the whole network.

    Attributes:
        den: The model.
        latent: The fixed x, shape `x_shape` of the model.
        layer: Path of the feature layer.
        start: h at the latent, where J is taken: `x_shape` of this map.

    >>> from pullback.models import toy_denoiser
    >>> den = toy_denoiser()
    >>> f = DecoderMap(den, den.sample_latent(t=600, seed=0), t=600)
    >>> f.x_shape, f.h_shape
    ((16, 4, 4), (3, 8, 8))

    Raises:
        OptionError: If the kind is unknown.
        ShapeError: If the latent has another shape.
        LayerError: If there is no such layer.
    """

    def __init__(
        self, den: Denoiser, latent: Tensor, *, t: Time, kind: Kind = "eps", layer: str | None = None, cond: Any = None
    ) -> None:
        if tuple(latent.shape) != den.x_shape:
            raise ShapeError(
                wanted=f"one latent of shape {den.x_shape}", got=str(tuple(latent.shape)), hint="make a map a sample"
            )
        self.den, self.latent = den, latent.detach().clone().to(den.device, den.dtype)
        self._out = OutputMap(den, t=t, kind=kind, cond=cond)
        self._base = den.feature_map(t=t, layer=layer, cond=cond)
        self.layer = self._base.layer
        self._layer = dict(den.network.named_modules())[self.layer]
        with torch.no_grad():
            self.start = self._base(self.latent[None])[0]
        self.x_shape: tuple[int, ...] = tuple(self.start.shape)
        self.h_shape: tuple[int, ...] = den.x_shape

    def __call__(self, h: Tensor, /) -> Tensor:
        """Return the prediction `(B, *h_shape)` made of features `(B, *x_shape)`."""
        if tuple(h.shape[1:]) != self.x_shape:
            raise ShapeError(
                wanted=f"features of shape (B, {str(self.x_shape)[1:]}",
                got=str(tuple(h.shape)),
                hint="start from .start",
            )
        with self._mended(h), rewritten(self._layer, lambda _: h):
            return self._out(self.latent.expand(len(h), *self.latent.shape))

    @property
    def origin(self) -> Mapping[str, str | int | float]:
        """As for the feature map, with the output that is differentiated."""
        return {**self._base.origin, "output": self._out.kind}


@contextmanager
def rewritten(layer: nn.Module, change: Callable[[Tensor], Tensor]) -> Generator[None]:
    """Scope in which ``layer`` outputs ``change(h)`` for h, on this thread; the hook is gone afterwards, come what may.

    Args:
        layer: Its feature tensor is h, see ``read_output``; what else it returns stays.
        change: h to what takes its place.
    """
    thread = threading.get_ident()

    def put(module: nn.Module, args: object, output: object) -> object:
        return write_output(output, module, change) if threading.get_ident() == thread else output

    handle = layer.register_forward_hook(put)
    try:
        yield
    finally:
        handle.remove()


def write_output(output: object, layer: nn.Module, change: Callable[[Tensor], Tensor]) -> object:
    """Return what a layer returned with ``change(h)`` in the place of its feature tensor h; see ``read_output``.

    >>> write_output((torch.zeros(1, 2), "skips"), nn.Identity(), lambda h: h + 1)
    (tensor([[1., 1.]]), 'skips')
    """
    feature = read_output(output, layer)
    if output is feature:
        return change(feature)
    to_tuple = getattr(output, "to_tuple", None)
    parts: Any = output if to_tuple is None else to_tuple()
    return tuple(change(part) if part is feature else part for part in parts)


def _known(kind: str) -> str:
    if kind not in get_args(Kind):
        raise OptionError(wanted="kind eps or x0", got=repr(kind), hint="eps is the noise that the prediction implies")
    return kind
