"""The clock: two callables in alternating blocks, so that what else the machine does meets both alike.

Rounds are uncompiled, candidate, candidate, uncompiled, and then the other way round: a drift of the machine's speed
cancels within a round, and what a block costs the one after it between a round and the next. Each block is one
`timeit`, which collects no garbage and adds nothing to a call but a loop.
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

_BLOCK_OF_READINGS = 1000  # a block takes as long as so many readings of the clock at least
_FIRST_LOOK = 32  # rounds; then at each doubling


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two that are timed.

    Args:
        call: what is timed.
        setup: run before each call, untimed; the call gets what it returns. It is for what can be called only once,
            such as a backward that frees what forward saved; without it, calls follow each other in one loop.
        rewind: run before each block, untimed: it undoes what calls did to the state they start from.
    """

    call: Callable[..., object]
    setup: Callable[[], object] | None = None
    rewind: Callable[[], object] = lambda: None


def measure(
    phase: Phase, base: Side, candidate: Side, effort: Effort, clock: Callable[[], int] = time.perf_counter_ns
) -> Blocks:
    """Time two sides until the interval of their ratio is narrow enough or the budget is spent; one round at least.

    Args:
        phase: of what they are.
        base: the uncompiled program.
        candidate: what is compared with it.
        effort: when to stop.
        clock: in nanoseconds.
    """
    gc.collect()  # what is garbage now is not collected within
    with uncollected():
        deadline = clock() + effort.budget_s * 1e9
        calls = _calls(base, candidate, effort, clock)
        blocks, look = Blocks(phase=phase, calls=calls, ns=()), _FIRST_LOOK
        for done in range(effort.rounds):
            if done and (clock() >= deadline or (done == look and stats.is_narrow(blocks, effort.precision))):
                break
            look = 2 * look if done == look else look
            order = (candidate, base, base, candidate) if done % 2 else (base, candidate, candidate, base)
            blocks = Blocks(phase=phase, calls=calls, ns=(*blocks.ns, *(_block(side, calls, clock) for side in order)))
    return blocks


def resolution_ns(clock: Callable[[], int] = time.perf_counter_ns) -> float:
    """How far apart two readings of a clock are at least, in nanoseconds."""
    readings = [clock() for _ in range(_BLOCK_OF_READINGS)]
    return float(min(later - earlier for earlier, later in pairwise(readings) if later > earlier))


def _calls(base: Side, candidate: Side, effort: Effort, clock: Callable[[], int]) -> int:
    """How many calls make a block that is long enough, of whichever side is the faster one."""
    wanted = max(effort.budget_s * 1e9 / (4 * effort.rounds), _BLOCK_OF_READINGS * resolution_ns(clock))
    calls = 1
    while (taken := min(_block(side, calls, clock) for side in (base, candidate))) < wanted:
        # As timeit's autorange: a short block says little of how long a long one takes.
        calls = max(calls + 1, min(10 * calls, round(calls * wanted / max(taken, 1))))
    return calls


def _block(side: Side, calls: int, clock: Callable[[], int]) -> int:
    """Nanoseconds of so many calls, one after the other."""
    side.rewind()
    if side.setup is None:
        return int(Timer(side.call, timer=clock).timeit(calls))
    taken = 0
    for _ in range(calls):
        given = side.setup()
        start = clock()
        side.call(given)
        taken += clock() - start
    return taken
