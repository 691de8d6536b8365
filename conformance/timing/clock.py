"""The clock: time two callables in alternating blocks, so that other load of the machine affects both alike.

Rounds are uncompiled, candidate, candidate, uncompiled, and then the reverse: a drift of the machine's speed cancels
within a round, and the effect of a block on the next one between two rounds. Each block is one `timeit`, which disables
garbage collection and adds only a loop to the calls.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from itertools import pairwise
from timeit import Timer
from typing import TYPE_CHECKING

from conformance.isolation.garbage import uncollected
from conformance.timing import stats
from conformance.timing.model import Blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.timing.model import Effort, Phase

__all__ = ["Side", "measure", "resolution_ns"]

_READINGS = 1000  # that measure the resolution of the clock; a block takes at least so many times that
_FIRST_TEST = 32  # rounds until precision is first tested; then at each doubling


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two timed programs.

    Args:
        call: the timed function.
        setup: run before each call, untimed; its result is passed to the call. It is for functions that can be called
            only once, such as a backward that frees what forward saved; without it, calls are timed in one loop.
        rewind: run before each block, untimed: it restores the initial state that calls changed.
    """

    call: Callable[..., object]
    setup: Callable[[], object] | None = None
    rewind: Callable[[], object] = lambda: None


def measure(
    phase: Phase, base: Side, candidate: Side, effort: Effort, clock: Callable[[], int] = time.perf_counter_ns
) -> Blocks:
    """Time two sides until the interval of their ratio is narrow enough or the budget is spent; one round at least.

    Args:
        phase: the phase that is timed.
        base: the uncompiled program.
        candidate: the program to compare with it.
        effort: when to stop.
        clock: returns nanoseconds.
    """
    gc.collect()  # existing garbage is not collected during timing
    with uncollected():
        deadline = clock() + effort.budget_s * 1e9
        calls = _calls(base, candidate, effort, clock)
        blocks, next_test = Blocks(phase=phase, calls=calls, ns=()), _FIRST_TEST
        for done in range(effort.rounds):
            if done and (clock() >= deadline or (done == next_test and stats.is_narrow(blocks, effort.precision))):
                break
            next_test = 2 * next_test if done == next_test else next_test
            order = (candidate, base, base, candidate) if done % 2 else (base, candidate, candidate, base)
            blocks = Blocks(phase=phase, calls=calls, ns=(*blocks.ns, *(_block(side, calls, clock) for side in order)))
    return blocks


def resolution_ns(clock: Callable[[], int] = time.perf_counter_ns) -> float:
    """Return the smallest difference of two readings of a clock, in nanoseconds."""
    readings = [clock() for _ in range(_READINGS)]
    return float(min(later - earlier for earlier, later in pairwise(readings) if later > earlier))


def _calls(base: Side, candidate: Side, effort: Effort, clock: Callable[[], int]) -> int:
    """The number of calls that make a block long enough, for the faster side."""
    target_ns = max(effort.budget_s * 1e9 / (4 * effort.rounds), _READINGS * resolution_ns(clock))
    calls = 1
    while (taken := min(_block(side, calls, clock) for side in (base, candidate))) < target_ns:
        # Like timeit's autorange: a short block predicts a long one badly.
        calls = max(calls + 1, min(10 * calls, round(calls * target_ns / max(taken, 1))))
    return calls


def _block(side: Side, calls: int, clock: Callable[[], int]) -> int:
    """Nanoseconds of so many calls, one after the other."""
    side.rewind()
    if side.setup is None:
        return int(Timer(side.call, timer=clock).timeit(calls))
    taken = 0
    for _ in range(calls):
        argument = side.setup()
        start = clock()
        side.call(argument)
        taken += clock() - start
    return taken
