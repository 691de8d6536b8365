"""A moment at which work ends, however far it has come."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Deadline", "StoppedError"]


class StoppedError(Exception):
    """Work was given up because its deadline has passed; its result is unknown."""


class Deadline:
    """A moment that may be moved while threads check it.

    Args:
        clock: returns seconds.

    Attributes:
        moment: when it passes, in seconds of the clock; infinite until it is set.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.moment = math.inf
        self._clock = clock

    @property
    def left_s(self) -> float:
        """Seconds until it passes; 0 when it has."""
        return max(0.0, self.moment - self._clock())

    @property
    def has_passed(self) -> bool:
        """Whether nothing more is to be done."""
        return not self.left_s

    def within(self, seconds: float) -> Deadline:
        """Return a deadline `seconds` from now, or at this one if that is sooner; it does not move with this one."""
        sooner = Deadline(self._clock)
        sooner.moment = min(self.moment, self._clock() + seconds)
        return sooner
