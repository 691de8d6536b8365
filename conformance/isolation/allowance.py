"""The time that a child may take: what it computes and sleeps counts, what it waits for a processor or a disk does not.

So its limit means the same on a loaded machine as on an idle one. A child that sleeps for ever ends at its limit, one
that waits for ever at a far bound on the clock.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from conformance.isolation import process
from conformance.model.enums import Spent

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.isolation.process import Usage

__all__ = ["CLOCK_FACTOR", "Allowance"]

CLOCK_FACTOR = 10  # the bound on the clock, in limits
_LOOKS = 10  # how often a child is looked at within its limit
_LEAST_LOOK = 10  # how much oftener at most, near its end
_ASLEEP = 0.1  # a child that computes less than this share, and is not seen to compute or wait, sleeps


class Allowance:
    """What is left of the limit of a child, which begins now.

    Args:
        limit_s: seconds that it may compute or sleep.
        usage: what it and its descendants do, by its process id; None where that is not known.
        clock: seconds on the clock.
    """

    def __init__(
        self,
        limit_s: float,
        usage: Callable[[int], Usage | None] = process.usage,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit_s = limit_s
        self._usage, self._clock = usage, clock
        self._start = self._seen = clock()
        self._next = self._start + limit_s / _LOOKS
        self._total_s = self._computed_s = self._slept_s = 0.0

    @property
    def unseen_s(self) -> float:
        """Seconds until it must be looked at again."""
        return max(0.0, self._next - self._clock())

    def exceeded(self, pid: int | None) -> Spent | None:
        """How a child spent most of its limit, once it is over it; it is looked at only when that is due."""
        if self.unseen_s:
            return None
        now = self._clock()
        self._charge(pid, now - self._seen)
        self._seen = now
        left = self.limit_s - self._computed_s - self._slept_s
        if left <= 0:
            return Spent.COMPUTING if self._computed_s >= self._slept_s else Spent.SLEEPING
        if now - self._start >= CLOCK_FACTOR * self.limit_s:
            return Spent.WAITING
        look = self.limit_s / _LOOKS
        self._next = now + min(look, max(left, look / _LEAST_LOOK))
        return None

    def _charge(self, pid: int | None, passed_s: float) -> None:
        usage = None if pid is None else self._usage(pid)
        if usage is None:  # the clock is all there is
            self._computed_s += passed_s
            return
        computed_s = max(0.0, usage.computed_s - self._total_s)
        self._total_s = usage.computed_s
        if usage.is_busy or computed_s >= _ASLEEP * passed_s:
            self._computed_s += computed_s
        else:
            self._slept_s += passed_s
