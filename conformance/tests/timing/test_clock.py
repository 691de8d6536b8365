from __future__ import annotations

import gc
from dataclasses import dataclass, field

import pytest

from conformance.timing import stats
from conformance.timing.clock import Side, measure, resolution_ns
from conformance.timing.model import Effort, Phase


@dataclass
class Machine:
    """A clock that moves by what is done: each call takes its time, longer where the machine drifts."""

    now: int = 0
    drift: float = 0.0
    log: list[str] = field(default_factory=list)

    def clock(self) -> int:
        """Read the time, which takes 10 ns."""
        self.now += 10
        return self.now

    def side(self, name: str, ns: int, **changes: object) -> Side:
        """What takes so long at the beginning."""

        def call(*_: object) -> None:
            self.log.append(name)
            self.now += round(ns * (1 + self.drift * self.now / 1e9))

        return Side(call=call, **changes)  # type: ignore[arg-type]


def test_sides_alternate_so_that_load_affects_both_alike() -> None:
    """A round is baseline, candidate, candidate, baseline, and the next the other way round."""
    machine = Machine()
    found = measure(
        Phase.STEP,
        machine.side("e", 3 * 10**8),
        machine.side("c", 3 * 10**8),
        Effort(budget_s=2.0, rounds=2),
        machine.clock,
    )
    assert "".join(machine.log)[-8:] == "ecceceec"
    assert (found.calls, len(found.ns)) == (1, 8)


def test_a_drift_of_the_machine_is_not_taken_for_the_candidate() -> None:
    """On a machine whose speed doubles within a second, 10 % are 10 %."""
    machine = Machine(drift=1.0)
    found = measure(
        Phase.STEP, machine.side("e", 100_000), machine.side("c", 110_000), Effort(budget_s=1.0), machine.clock
    )
    assert stats.ratio(found).value == pytest.approx(1.1, rel=1e-3)


def test_blocks_are_long_beside_the_clock() -> None:
    """Short calls are made many times in a block, so that reading the clock is less than a hundredth of it."""
    machine = Machine()
    found = measure(Phase.STEP, machine.side("e", 50), machine.side("c", 70), Effort(budget_s=0.1), machine.clock)
    assert min(found.ns) > 100 * 10
    assert stats.ratio(found).value == pytest.approx(1.4, rel=0.01)


def test_it_stops_when_the_interval_is_narrow() -> None:
    """A quiet machine needs no whole budget."""
    machine = Machine()
    measure(Phase.STEP, machine.side("e", 10**5), machine.side("c", 10**5), Effort(budget_s=2.0), machine.clock)
    assert machine.now < 1e9


def test_it_stops_when_the_budget_is_spent() -> None:
    """What is never narrow enough ends in time, and one call that is over it is still measured."""
    machine = Machine()
    effort = Effort(budget_s=1.0, precision=-1.0, rounds=10**6)
    measure(Phase.STEP, machine.side("e", 10**6), machine.side("c", 10**6), effort, machine.clock)
    assert 0.9e9 < machine.now < 1.1e9
    slow = measure(Phase.STEP, machine.side("e", 10**10), machine.side("c", 10**10), effort, machine.clock)
    assert len(slow.ns) == 4


def test_what_is_set_up_is_not_timed() -> None:
    """A backward is timed without the forward before it, and gets what that gave."""
    machine, given = Machine(), list[object]()

    def setup() -> str:
        machine.now += 10**6
        return "graph"

    def call(graph: object) -> None:
        given.append(graph)
        machine.now += 1000

    side = Side(call=call, setup=setup)
    found = measure(Phase.BACKWARD, side, side, Effort(budget_s=0.1), machine.clock)
    assert stats.seconds(found) == pytest.approx((1.01e-6, 1.01e-6))
    assert set(given) == {"graph"}


def test_each_block_starts_from_the_same_state() -> None:
    """What calls changed is put back before each block, untimed."""
    machine, states = Machine(), list[int]()
    state = 0

    def rewind() -> None:
        nonlocal state
        states.append(state)
        state, machine.now = 0, machine.now + 10**6

    def call() -> None:
        nonlocal state
        state, machine.now = state + 1, machine.now + 10**6

    side = Side(call=call, rewind=rewind)
    found = measure(Phase.STEP, side, side, Effort(budget_s=1.0, rounds=8), machine.clock)
    assert set(found.ns) == {found.calls * 10**6 + 10}
    assert set(states[-16:]) == {found.calls}


def test_no_garbage_is_collected_while_the_clock_runs() -> None:
    """Collecting is off in both sides, and on again after."""
    machine, seen = Machine(), set[bool]()

    def call() -> None:
        seen.add(gc.isenabled())
        machine.now += 10**6

    side = Side(call=call)
    measure(Phase.STEP, side, side, Effort(budget_s=0.1), machine.clock)
    assert seen == {False}
    assert gc.isenabled()


def test_the_clock_is_known() -> None:
    """The real clock resolves less than a microsecond."""
    assert 0 < resolution_ns() < 10_000
