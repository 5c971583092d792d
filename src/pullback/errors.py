"""Errors in three parts: what was wanted, what came, what to do about it."""

from __future__ import annotations


class PullbackError(Exception):
    """Base of every error this library raises on purpose.

    Args:
        wanted: What the call needed.
        got: What it received.
        hint: What to do now.

    Example:
        >>> print(ShapeError(wanted="v must have shape (k, 3, 8, 8)", got="(4, 8, 8)", hint="stack directions first"))
        v must have shape (k, 3, 8, 8); got (4, 8, 8); stack directions first
    """

    def __init__(self, *, wanted: str, got: str, hint: str) -> None:
        super().__init__(f"{wanted}; got {got}; {hint}")
        self.wanted = wanted
        self.got = got
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.wanted, self.got, self.hint), self.__dict__)


def _rebuild(kind: type[PullbackError], wanted: str, got: str, hint: str) -> PullbackError:
    return kind(wanted=wanted, got=got, hint=hint)


class ShapeError(PullbackError):
    """A tensor does not live in the space that the call works in."""


class LayerError(PullbackError):
    """The feature layer does not exist, or was not reached in a forward pass."""


class ModelError(PullbackError):
    """A model cannot be loaded, or does not behave as a feature map must."""


class NumericalError(PullbackError):
    """NaN or infinity where a finite number is needed."""


class RankError(PullbackError):
    """A rank is negative, too large for the space, or differs between two bases."""


class FileFormatError(PullbackError):
    """A file is not what it claims to be; nothing of it was used."""


class MismatchError(PullbackError):
    """Results of another model, layer, timestep, pooling or condition."""


class OptionError(PullbackError):
    """An option has a value that is not on the list."""


class NoMemoryError(OptionError):
    """Memory ran out, and the work cannot be split any further by who noticed; with fewer samples it may fit."""


class NotConvergedError(PullbackError):
    """The residual is above the tolerance, and ``strict=True`` asked for an error."""


class NotConvergedWarning(UserWarning):
    """The residual is above the tolerance; the result carries it."""


class TransportWarning(UserWarning):
    """A transported direction kept no more of itself than a random one would."""


class NormalisationWarning(RuntimeWarning):
    """A normalised edit stands on a prediction from hardly any signal, and its colours may drift."""


class MemoryWarning(UserWarning):
    """Memory ran out, and the same work goes on in smaller pieces."""
