from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from conformance.model.enums import Outcome
from conformance.tests.failures import differing, recorded, retained, shared
from conformance.tests.fakes import a_difference, an_attempt, crashed, failed, raised, vacuous
from conformance.verdict.root_causes import REUSE, RootCauses, root_causes

if TYPE_CHECKING:
    from conformance.model.result import Attempt

FLAG, FLAGGED = a_difference(kind="is_inference"), "autograd_flags: is_inference of output"
RAISED = a_difference(path="call[0]", kind="exception")
FALLBACK = a_difference(kind="evidence", path="engaged")
REPORTED = "something else did the work, as the backend reports"


@pytest.mark.parametrize(
    ("attempt", "names", "is_alone"),
    [
        (an_attempt(), (), False),
        (failed("values"), ("values: values of output",), True),
        (failed("values", "gradients"), ("values: values of output",), False),
        (differing(retention=retained(), aliasing=shared("call[1].output ~ call[0].output")), (REUSE,), True),
        (
            differing(autograd_flags=FLAG, retention=retained()),
            ("autograd_flags: is_inference of output", REUSE),
            False,
        ),
        (differing(compiled=FALLBACK), (REPORTED,), True),
        (differing(compiled=FALLBACK, retention=retained()), (REUSE, REPORTED), False),
        (vacuous(), ("nothing was compiled",), True),
        (differing(exceptions=RAISED), ("exceptions: exception",), True),
        (raised(), ("raises RuntimeError: bad graph",), False),
        (crashed(), ("its process died: SIGSEGV",), False),
        (crashed(status=1), ("its process died",), False),
        (crashed(timed_out=True), ("over its time limit",), False),
    ],
)
def test_a_failure_has_what_it_shows_first_and_what_the_harness_does(
    attempt: Attempt, names: tuple[str, ...], is_alone: bool
) -> None:
    """A cause is alone where the request would conform without the check that shows it."""
    assert root_causes(recorded(attempt), makes_moves=False) == RootCauses(names=names, is_alone=is_alone)


def test_moves_that_were_not_made_might_show_more() -> None:
    """Only where a move itself differs, the others were made."""
    assert not root_causes(recorded(failed("values")), makes_moves=True).is_alone
    assert root_causes(recorded(failed("move.each_result")), makes_moves=True).is_alone


def test_an_exception_hides_what_else_is_wrong() -> None:
    """Nobody can say what is left without it, and that nothing ran to its end is its consequence."""
    broken = replace(raised(), checks=differing(compiled=FALLBACK).checks)
    record = replace(recorded(broken), outcome=Outcome.ERROR)
    assert root_causes(record, makes_moves=False) == RootCauses(names=("raises RuntimeError: bad graph",))
