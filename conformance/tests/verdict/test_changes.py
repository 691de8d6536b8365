from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from conformance.model.enums import Outcome, Stage, Verdict
from conformance.model.result import Raised
from conformance.tests.fakes import a_difference, a_record, failed, raised, vacuous
from conformance.tests.runs import an_unsupported, red
from conformance.verdict.changes import Transition, changes, grouped, transition
from conformance.verdict.judge import judge, outcome

if TYPE_CHECKING:
    from conformance.model.result import Attempt, Record

PASS = a_record()
UNSUPPORTED = an_unsupported()
SKIP = a_record(outcome=Outcome.SKIP, verdict=Verdict.SKIP, checks=())
INVALID = a_record(outcome=Outcome.INVALID, verdict=Verdict.INVALID, checks=())


def after(attempt: Attempt, case_id: str = "demo.first.one", backend: str = "fake") -> Record:
    """The record of an attempt."""
    happened = outcome(attempt)
    verdict, message, _ = judge(happened, attempt, None)
    return a_record(
        case_id,
        backend,
        outcome=happened,
        verdict=verdict,
        message=message,
        checks=attempt.checks,
        raised=attempt.raised,
    )


FAIL, ERROR, VACUOUS = after(failed("values")), after(raised()), after(vacuous())


@pytest.mark.parametrize(
    ("before", "now", "became"),
    [
        (PASS, FAIL, Transition.REGRESSED),
        (PASS, ERROR, Transition.REGRESSED),
        (PASS, VACUOUS, Transition.NOW_VACUOUS),
        (VACUOUS, PASS, Transition.FIXED),
        (FAIL, ERROR, Transition.FAILS_OTHERWISE),
        (FAIL, VACUOUS, Transition.FAILS_OTHERWISE),
        (FAIL, after(failed("values", "gradients")), Transition.FAILS_OTHERWISE),
        (ERROR, after(raised(message="another graph")), Transition.FAILS_OTHERWISE),
        (FAIL, UNSUPPORTED, Transition.NO_LONGER_RUN),
        (SKIP, PASS, Transition.NEWLY_RUN),
        (INVALID, SKIP, Transition.NO_LONGER_RUN),
        (PASS, INVALID, Transition.NO_LONGER_JUDGED),
        (INVALID, FAIL, Transition.NEWLY_JUDGED),
        (PASS, PASS, None),
        (FAIL, FAIL, None),
        (INVALID, INVALID, None),
        (SKIP, UNSUPPORTED, None),
    ],
)
def test_what_becomes_of_a_request(before: Record, now: Record, became: Transition | None) -> None:
    """A failure differs from a vacuous pass, from not being run, and from an invalid request."""
    assert transition(before, now) is became


def test_numbers_and_expectations_are_no_change() -> None:
    """The same check that is off by more, or is expected now, is the same failure."""
    worse = replace(failed("values").checks[0], differences=(a_difference(max_abs=9.0, mismatched=12),))
    other = replace(FAIL, checks=tuple(worse if one.check == "values" else one for one in FAIL.checks))
    assert transition(FAIL, replace(other, verdict=Verdict.XFAIL)) is None


def test_the_failing_side_is_the_later_one_unless_it_was_fixed() -> None:
    """From its record the script is made; where nothing fails there is none."""
    sides = [(PASS, FAIL), (FAIL, PASS), (FAIL, ERROR), (PASS, UNSUPPORTED)]
    found = [changes({("x",): one}, {("x",): other})[0] for one, other in sides]
    assert [one.failing for one in found] == [FAIL, FAIL, ERROR, None]


def test_requests_with_one_symptom_on_the_same_backends_are_one_group() -> None:
    """What fails on one of them only, or in another way, is another; the example is on the lowest rung."""
    said = Raised(stage=Stage.BACKWARD, type="RuntimeError", message="modified by an inplace operation")
    both = [(name, case) for name in ("inductor", "aot_eager") for case in ("demo.first.one", "demo.first.two")]
    broken: dict[tuple[str, ...], Record] = {key: replace(after(raised(), key[1], key[0]), raised=said) for key in both}
    broken["inductor", "demo.first.three"] = replace(after(raised(), "demo.first.three", "inductor"), raised=said)
    broken["eager", "demo.first.one"] = red("demo.first.one", "eager")
    old = {key: a_record(one.case_id, one.backend) for key, one in broken.items()}
    groups = grouped(changes(old, broken))
    assert [(group.backends, len(group.changes)) for group in groups] == [
        (("aot_eager", "inductor"), 4),
        (("inductor",), 1),
        (("eager",), 1),
    ]
    assert groups[0].example.key == ("aot_eager", "demo.first.one")
