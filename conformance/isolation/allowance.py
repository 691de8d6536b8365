"""The time limit of a child: computing and sleeping count, waiting for a processor or a disk does not.

So its limit means the same on a loaded machine as on an idle one. A child that sleeps for ever ends at its limit, one
that waits for ever at a much larger bound on wall-clock time.
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

CLOCK_FACTOR = 10  # the bound on wall-clock time, in limits
_POLLS = 10  # how often a child is polled within its limit
_FASTER = 10  # how much more often at most, near its end
_ASLEEP = 0.1  # a child that computes less than this share, and is not observed to compute or wait, sleeps


class Allowance:
    """The remaining time limit of a child that begins now.

    Args:
        limit_s: seconds that it may compute or sleep.
        usage: returns the usage of it and its descendants by its process id; None where that is not known.
        clock: returns seconds.
    """

    def __init__(
        self,
        limit_s: float,
        usage: Callable[[int], Usage | None] = process.usage,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit_s = limit_s
        self._usage, self._clock = usage, clock
        self._start = self._last = clock()
        self._next = self._start + limit_s / _POLLS
        self._total_s = self._computed_s = self._slept_s = 0.0

    @property
    def next_poll_s(self) -> float:
        """Seconds until it must be polled again."""
        return max(0.0, self._next - self._clock())

    def exceeded(self, pid: int | None) -> Spent | None:
        """Return how a child spent most of its limit once it exceeds it, else None; poll only when that is due."""
        if self.next_poll_s:
            return None
        now = self._clock()
        self._charge(pid, now - self._last)
        self._last = now
        left = self.limit_s - self._computed_s - self._slept_s
        if left <= 0:
            return Spent.COMPUTING if self._computed_s >= self._slept_s else Spent.SLEEPING
        if now - self._start >= CLOCK_FACTOR * self.limit_s:
            return Spent.WAITING
        interval = self.limit_s / _POLLS
        self._next = now + min(interval, max(left, interval / _FASTER))
        return None

    def _charge(self, pid: int | None, passed_s: float) -> None:
        usage = None if pid is None else self._usage(pid)
        if usage is None:  # only the clock is left
            self._computed_s += passed_s
            return
        computed_s = max(0.0, usage.computed_s - self._total_s)
        self._total_s = usage.computed_s
        if usage.is_busy or computed_s >= _ASLEEP * passed_s:
            self._computed_s += computed_s
        else:
            self._slept_s += passed_s
