"""When everything fails, nothing is wrong with the units: a device in error, a lost mount, a broken model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pullback.errors import ModelError

MAX_FAILURES = 20
"""Units that may fail one after another before a run is stopped."""


@dataclass
class Breaker:
    """Counts the units that failed since one was computed.

    Example:
        >>> breaker = Breaker()
        >>> breaker.count(0, ["a", "b"]), breaker.num_failed
        (False, 2)
        >>> breaker.count(1, ["c"]), breaker.num_failed
        (False, 0)
    """

    num_failed: int = 0
    last: str = ""

    def count(self, num_computed: int, failed: Sequence[str]) -> bool:
        """Takes in what became of a group, by keys of those that failed; returns whether it is time to stop."""
        self.num_failed = 0 if num_computed else self.num_failed + len(failed)
        self.last = failed[-1] if failed else self.last
        return self.num_failed >= MAX_FAILURES

    def error(self) -> ModelError:
        """What to raise when it is."""
        return ModelError(
            wanted="units that can be computed",
            got=f"{self.num_failed} in a row that could not, the last of them {self.last[:12]}",
            hint=f"`pullback bank show DIR {self.last[:12]}` says why: look at device, memory and files, then go on "
            "with --retry-failed",
        )
