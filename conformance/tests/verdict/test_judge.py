from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from conformance.model.case import Location
from conformance.model.enums import Level, Outcome, Spent, Stage, Verdict
from conformance.model.result import Attempt, CheckResult
from conformance.tests.fakes import a_difference, an_attempt, an_expectation, crashed, failed, raised, vacuous
from conformance.verdict.judge import judge, outcome, where

if TYPE_CHECKING:
    from conformance.model.request import Expectation

RUN = {
    Outcome.PASS: an_attempt(),
    Outcome.VACUOUS: vacuous(),
    Outcome.FAIL: failed("values"),
    Outcome.ERROR: raised(),
    Outcome.CRASH: crashed(),
    Outcome.TIMEOUT: crashed(timed_out=True),
    Outcome.INVALID: Attempt(invalid="the uncompiled program differs from itself"),
}


def message_of(attempt: Attempt, expectation: Expectation | None = None) -> str:
    """The message."""
    return judge(outcome(attempt), attempt, expectation)[1]


@pytest.mark.parametrize(("expected", "attempt"), RUN.items())
def test_an_attempt_has_one_outcome(expected: Outcome, attempt: Attempt) -> None:
    """Each way an attempt can go has its own name."""
    assert outcome(attempt) is expected


def test_our_own_fault_comes_before_everything_else() -> None:
    """A wrong case is no result about the backend, whatever else was observed."""
    assert outcome(replace(failed(), invalid="bad case")) is Outcome.INVALID


def test_a_report_without_checks_is_no_pass() -> None:
    """A child that reports nothing has shown nothing."""
    assert outcome(Attempt()) is Outcome.INVALID
    assert message_of(Attempt()) == "nothing was compared"


def test_an_exception_outweighs_checks_that_did_not_hold() -> None:
    """What raised is an error even where the checks before it found differences."""
    assert outcome(replace(failed(), raised=raised().raised)) is Outcome.ERROR


def test_nothing_compiled_and_a_difference_is_a_failure() -> None:
    """Vacuous means that everything else held."""
    assert outcome(failed("values", "compiled")) is Outcome.FAIL


def test_an_advisory_does_not_decide() -> None:
    """A SHOULD that did not hold leaves a pass a pass, without a message."""
    attempt = failed("graph_count", level=Level.SHOULD)
    assert judge(outcome(attempt), attempt, None) == (Verdict.PASS, "", "")


@pytest.mark.parametrize(("happened", "attempt"), RUN.items())
def test_without_an_expectation_the_verdict_is_the_outcome(happened: Outcome, attempt: Attempt) -> None:
    """The words are the same."""
    assert judge(happened, attempt, None)[0].value == happened.value


def test_a_failure_shows_its_first_difference_in_full() -> None:
    """What, where, how many, first, actual, expected, how far, what is allowed."""
    assert message_of(failed()) == (
        "values differ in output[0]: 3 of 12 elements, first at (1, 0): actual 2.0, expected 1.0"
        " (max abs 1.0; allowed atol 1e-05 + rtol 1.3e-06)."
    )


def test_numbers_are_short_and_name_what_they_are() -> None:
    """The distance in ulp and both errors against fp64 are in the message where they are known."""
    difference = a_difference(max_abs=0.123456, ulp=240.0, error_actual=0.1, error_expected=1e-7, first_index=())
    check = CheckResult(check="gradients", level=Level.MUST, held=False, differences=(difference,))
    assert message_of(an_attempt(checks=(check,))) == (
        "gradients: values differ in output[0]: 3 of 12 elements: actual 2.0, expected 1.0 (max abs 0.1235; 240.0 ulp;"
        " off the fp64 reference by 0.1; uncompiled itself by 1e-07; allowed atol 1e-05 + rtol 1.3e-06)."
    )


def test_a_fact_that_differs_is_reported_without_numbers() -> None:
    """Only what has a meaning is in the message."""
    difference = a_difference(kind="dtype", mismatched=None, max_abs=None, allowed=None, actual="a", expected="b")
    check = CheckResult(check="values", level=Level.MUST, held=False, message="see PR 1", differences=(difference,))
    assert message_of(an_attempt(checks=(check,))) == (
        "values: dtype differs in output[0]: actual a, expected b.\nsee PR 1."
    )


def test_further_differences_and_checks_are_counted() -> None:
    """The first difference is shown in full, the others are counted."""
    three = (a_difference(),) * 3
    checks = (
        CheckResult(check="values", level=Level.MUST, held=False, message="and 4 more", differences=three),
        CheckResult(check="gradients", level=Level.MUST, held=False, differences=three),
        CheckResult(check="layout", level=Level.MUST, held=False, differences=three[:1]),
        CheckResult(check="ambient", level=Level.MUST, held=False),
        CheckResult(check="saved_bytes", level=Level.SHOULD, held=False, differences=three),
    )
    assert message_of(an_attempt(checks=checks)).split("\n")[1:] == [
        "2 further in values, and 4 more.",
        "Also: gradients (3 differences), layout (1 difference), ambient (did not hold).",
    ]


def test_a_check_without_differences_shows_its_message() -> None:
    """There is always something to read."""
    check = CheckResult(check="ambient", level=Level.MUST, held=False, message="autocast stayed on")
    assert message_of(an_attempt(checks=(check,))) == "ambient: autocast stayed on."
    assert message_of(an_attempt(checks=(replace(check, message=""),))) == "ambient: did not hold."


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ({"message": "no graph"}, "nothing was compiled: no graph"),
        ({"differences": (a_difference(actual="2 frames skipped"),)}, "nothing was compiled: 2 frames skipped"),
        ({}, "nothing was compiled"),
    ],
)
def test_a_vacuous_run_names_what_is_missing(check: dict[str, object], expected: str) -> None:
    """The evidence that is lacking is in the message."""
    compiled = CheckResult(check="compiled", level=Level.MUST, held=False, **check)  # type: ignore[arg-type]
    assert message_of(an_attempt(checks=(compiled,))) == expected


@pytest.mark.parametrize(
    ("attempt", "expected"),
    [
        (raised(stage=Stage.BACKWARD), "raised in backward: RuntimeError: bad graph"),
        (crashed(), "killed by SIGSEGV (stage compile)"),
        (crashed(status=0), "exited with status 0 without a result (stage compile)"),
        (
            crashed(timed_out=True, limit_s=120.0),
            (
                "timed out computing, over its limit of 120 s; its process group was killed (stage compile)"
                "; --timeout sets another limit"
            ),
        ),
        (
            replace(crashed(timed_out=True, limit_s=2.5, spent=Spent.SLEEPING), stage=Stage.BACKWARD, call=1),
            (
                "timed out sleeping, over its limit of 2.5 s; its process group was killed (stage backward, call 1)"
                "; --timeout sets another limit"
            ),
        ),
        (
            crashed(timed_out=True, limit_s=9.0, spent=Spent.WAITING),
            (
                "timed out waiting for a processor or a disk, far over its limit of 9 s; its process group was killed"
                " (stage compile); --timeout sets another limit"
            ),
        ),
        (
            replace(crashed(), output="a\n core dumped \n\n"),
            "killed by SIGSEGV (stage compile); last output: core dumped",
        ),
        (RUN[Outcome.INVALID], "the uncompiled program differs from itself"),
    ],
)
def test_an_end_without_checks_names_its_stage(attempt: Attempt, expected: str) -> None:
    """What was raised or killed, and where it was by then."""
    assert message_of(attempt) == expected


@pytest.mark.parametrize(
    ("attempt", "changes"),
    [
        (failed("values"), {}),
        (failed("values", "layout"), {"checks": frozenset({"values", "layout"})}),
        (raised(), {"outcome": Outcome.ERROR, "checks": frozenset(), "raises": "^RuntimeError: bad"}),
        (crashed(), {"outcome": Outcome.CRASH, "checks": frozenset(), "raises": "SIGSEGV"}),
        (crashed(), {"outcome": Outcome.CRASH, "checks": frozenset()}),
        (crashed(timed_out=True), {"outcome": Outcome.TIMEOUT, "checks": frozenset()}),
        (vacuous(), {"outcome": Outcome.VACUOUS, "checks": frozenset()}),
    ],
)
def test_the_failure_that_is_expected_is_an_xfail(attempt: Attempt, changes: dict[str, object]) -> None:
    """Exactly as expected; the message still describes what happened."""
    verdict, message, note = judge(outcome(attempt), attempt, an_expectation(**changes))
    assert verdict is Verdict.XFAIL
    assert (message, note) == (message_of(attempt), "")


@pytest.mark.parametrize(
    ("broken", "verdict"),
    [
        (("values",), Verdict.XFAIL),
        (("values", "calls"), Verdict.XFAIL),
        (("calls",), Verdict.FAIL),
        (("values", "layout"), Verdict.FAIL),
    ],
)
def test_some_checks_may_fail_beside_those_that_must(broken: tuple[str, ...], verdict: Verdict) -> None:
    """An entry for many cases names what fails in each of them and what in some; nothing else may."""
    attempt = failed(*broken)
    assert judge(outcome(attempt), attempt, an_expectation(also=frozenset({"calls"})))[0] is verdict


@pytest.mark.parametrize(
    ("attempt", "changes", "verdict"),
    [
        (failed("gradients"), {}, Verdict.FAIL),
        (failed("values", "gradients"), {}, Verdict.FAIL),
        (raised(), {}, Verdict.ERROR),
        (raised(), {"outcome": Outcome.ERROR, "raises": "TypeError"}, Verdict.ERROR),
        (crashed(), {"outcome": Outcome.CRASH, "raises": "SIGABRT"}, Verdict.CRASH),
        (vacuous(), {"outcome": Outcome.TIMEOUT}, Verdict.VACUOUS),
    ],
)
def test_another_failure_than_expected_keeps_its_verdict(
    attempt: Attempt, changes: dict[str, object], verdict: Verdict
) -> None:
    """A known failure does not hide a new one; a note has the expectation."""
    seen, message, note = judge(outcome(attempt), attempt, an_expectation(**changes))
    assert (seen, message) == (verdict, message_of(attempt))
    assert note.startswith("Expected to ")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "fail (values)"),
        ({"outcome": Outcome.ERROR, "checks": frozenset(), "raises": "TypeError"}, "raise (TypeError)"),
        ({"outcome": Outcome.TIMEOUT, "checks": frozenset()}, "timeout"),
        ({"outcome": Outcome.VACUOUS, "checks": frozenset()}, "compile nothing"),
    ],
)
def test_an_unexpected_pass_names_the_entry_to_delete(changes: dict[str, object], expected: str) -> None:
    """Expectations cannot rot: a pass where a failure was expected is red."""
    verdict, _, note = judge(Outcome.PASS, an_attempt(), an_expectation(**changes))
    assert verdict is Verdict.XPASS
    assert note == f"passed, but was expected to {expected}; delete fake.expected.yaml:1:3"


@pytest.mark.parametrize("happened", [Outcome.SKIP, Outcome.UNSUPPORTED, Outcome.INVALID])
def test_expectations_do_not_apply_to_what_was_not_run(happened: Outcome) -> None:
    """Only a failure or a pass is compared with an expectation."""
    reason = "needs autocast"
    assert judge(happened, Attempt(invalid=reason), an_expectation()) == (Verdict(happened.value), reason, "")


def test_the_place_of_an_expectation_leaves_out_the_folder() -> None:
    """Where the package is installed is nobody's business in a published table."""
    entry = an_expectation(location=Location(file="/opt/site/backends/mine.expected.yaml", line=4, column=3))
    assert where(entry) == "mine.expected.yaml:4:3"
