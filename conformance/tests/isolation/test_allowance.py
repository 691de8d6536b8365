"""How the time that a child may take is counted, on a clock and processes that are made up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.isolation.allowance import CLOCK_FACTOR, Allowance
from conformance.isolation.process import Usage
from conformance.model.enums import Spent

if TYPE_CHECKING:
    from collections.abc import Callable


class Machine:
    """A clock, and one child whose processor time grows with it.

    Args:
        share: how much of a second the child computes in each second, by how late it is.
        is_busy: whether it computes or waits, by how late it is; None where that is unknown.
    """

    def __init__(self, share: Callable[[float], float], is_busy: Callable[[float], bool | None]) -> None:
        self.now = self.computed_s = 0.0
        self.polls = 0
        self._share, self._is_busy = share, is_busy

    def clock(self) -> float:
        """Seconds since the child began."""
        return self.now

    def usage(self, _: int) -> Usage | None:
        """The usage of the child now."""
        self.polls += 1
        is_busy = self._is_busy(self.now)
        return None if is_busy is None else Usage(computed_s=self.computed_s, is_busy=is_busy)

    def end(self, limit_s: float, pid: int | None = 1) -> tuple[Spent, float]:
        """Return how the child spent its time until it is killed, and when that is."""
        allowance = Allowance(limit_s, self.usage, self.clock)
        while (spent := allowance.exceeded(pid)) is None:
            step = max(allowance.next_poll_s, 1e-6)
            self.computed_s += step * self._share(self.now)
            self.now += step
        return spent, self.now


@pytest.mark.parametrize(
    ("share", "is_busy", "spent", "end_s"),
    [
        (lambda _: 1.0, lambda _: True, Spent.COMPUTING, 100),
        (lambda _: 0.25, lambda _: True, Spent.COMPUTING, 400),
        (lambda _: 0.25, lambda _: False, Spent.COMPUTING, 400),
        (lambda _: 2.0, lambda _: True, Spent.COMPUTING, 50),
        (lambda _: 0.0, lambda _: False, Spent.SLEEPING, 100),
        (lambda _: 0.01, lambda _: False, Spent.SLEEPING, 100),
        (lambda now: float(now < 20), lambda now: now < 20, Spent.SLEEPING, 100),
        (lambda _: 0.0, lambda _: True, Spent.WAITING, 100 * CLOCK_FACTOR),
        (lambda _: 0.0, lambda _: None, Spent.COMPUTING, 100),
    ],
    ids=[
        "computes",
        "computes on a loaded machine",
        "is between two computations when it is polled",
        "computes in two processes",
        "sleeps",
        "polls",
        "computes, then sleeps",
        "gets no processor",
        "cannot be observed",
    ],
)
def test_a_child_is_charged_what_it_computes_and_sleeps(
    share: Callable[[float], float], is_busy: Callable[[float], bool | None], spent: Spent, end_s: float
) -> None:
    """What it waits for a processor or a disk is not its own, up to a bound on the clock."""
    machine = Machine(share, is_busy)
    actual, end = machine.end(100.0)
    assert actual is spent
    assert end_s <= end + 1e-3 <= end_s + 10 + 1e-2


@pytest.mark.parametrize("limit_s", [0.5, 120.0])
def test_a_child_is_polled_seldom(limit_s: float) -> None:
    """Ten times within its limit, somewhat more often near its end, whatever the limit is."""
    machine = Machine(lambda _: 0.5, lambda _: True)
    machine.end(limit_s)
    assert 15 <= machine.polls <= 45


def test_a_child_without_an_id_is_held_to_the_clock() -> None:
    """Until the fork server sends its process id, nothing else is known."""
    machine = Machine(lambda _: 0.1, lambda _: True)
    _, end = machine.end(100.0, pid=None)
    assert (machine.polls, round(end)) == (0, 100)
