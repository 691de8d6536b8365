"""The wall time of a fuzzing run, divided: drawing and running, looking into failures, and confirming what is new."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.isolation.deadline import Deadline

__all__ = ["Budget"]

_LOOKED_INTO_S = 10.0  # what finding the first rung of a failure and shrinking it is likely to take
_AFTER_DRAWING = 0.5  # of the budget, at most
_CONFIRMING = 0.35  # of the budget, at most


class Budget:
    """The rest of a budget, from now on.

    Args:
        seconds: wall time; None is no limit.
        spent_s: what earlier runs of the same command took of it.
        script_s: what running the script of a finding is likely to take.
        jobs: how many things run at a time.
        deadline: moved to when whatever runs must end, so that what is new can be confirmed in time.
        clock: gives seconds.
    """

    def __init__(
        self,
        *,
        seconds: float | None,
        spent_s: float,
        script_s: float,
        jobs: int,
        deadline: Deadline,
        clock: Callable[[], float],
    ) -> None:
        self._seconds = math.inf if seconds is None else max(0.0, seconds - spent_s)
        self._end = clock() + self._seconds
        self._script_s, self._jobs, self._deadline, self._clock = script_s, jobs, deadline, clock
        self.reserve(new=0)

    def is_left(self, *, waiting: int, new: int) -> bool:
        """Whether to draw more, with so many failures to be looked into and so many findings to be confirmed."""
        after = waiting * _LOOKED_INTO_S / self._jobs + self._confirming_s(waiting + new)
        return self._clock() + min(after, _AFTER_DRAWING * self._seconds) < self._end

    def reserve(self, *, new: int) -> None:
        """Move the deadline so that so many findings can be confirmed behind it."""
        self._deadline.moment = self._end - min(self._confirming_s(new), _CONFIRMING * self._seconds)

    def _confirming_s(self, findings: int) -> float:
        return math.ceil(findings / self._jobs) * self._script_s

    def release(self) -> None:
        """Move the deadline to the end of the budget."""
        self._deadline.moment = self._end

    def rest_s(self) -> float:
        """Seconds until the end; 0 where there is no limit."""
        return max(0.0, self._end - self._clock()) if math.isfinite(self._end) else 0.0
