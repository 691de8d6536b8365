from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.model.attribution import Attribution, Cause, Control, Showing
from conformance.model.enums import Outcome
from conformance.tests.failures import differing, recorded, retained, shared
from conformance.tests.fakes import a_difference, an_attempt, crashed, failed, raised, vacuous
from conformance.verdict.attribution import Failure, attribute, beyond, own_symptom, without_harness
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from conformance.model.result import Attempt, Difference

SAME, GONE, UNCLEAR = Showing


def reaching(actual: str, expected: str = "call[1].output") -> Difference:
    """What changes when a result is written into."""
    return a_difference(path="writing into output", kind="reach", actual=actual, expected=expected)


def caused(failure: Attempt, **answers: Showing) -> Attribution:
    """The attribution of a failure by what the controls show; those that are not named do not apply."""
    return attribute(Failure.of(recorded(failure)), lambda control: answers.get(control.value), rung="eager")


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        ({"rung": SAME}, Cause.INHERITED),
        ({"rung": GONE, "modes": GONE}, Cause.MODE),
        ({"rung": GONE, "modes": SAME, "backward": GONE}, Cause.BACKWARD),
        ({"rung": GONE, "backward": GONE}, Cause.BACKWARD),
        ({"rung": GONE, "modes": SAME, "backward": SAME, "operations": GONE}, Cause.BASE),
        ({"operations": SAME}, Cause.BASE),
        ({"rung": UNCLEAR, "modes": GONE}, Cause.MODE),
        ({"modes": UNCLEAR, "backward": GONE}, Cause.UNDECIDED),
        ({"modes": SAME, "backward": UNCLEAR}, Cause.UNDECIDED),
        ({"again": GONE, "modes": GONE}, Cause.UNDECIDED),
        ({"again": UNCLEAR}, Cause.UNDECIDED),
        ({"again": SAME, "modes": GONE}, Cause.MODE),
        ({}, Cause.BASE),
    ],
)
def test_the_first_control_that_decides_gives_the_cause(answers: dict[str, Showing], cause: Cause) -> None:
    """The rung first, then modes, then backward; what cannot be judged decides nothing."""
    assert caused(failed("values"), **answers).cause is cause


def test_no_control_is_run_that_does_not_decide() -> None:
    """What the rung below shows is not looked at any further."""
    found = caused(failed("values"), rung=SAME, modes=GONE, backward=GONE)
    assert found == Attribution(cause=Cause.INHERITED, controls={Control.RUNG: SAME}, rung="eager")
    assert caused(failed("values"), rung=GONE, modes=GONE, backward=SAME).controls.keys() == {
        Control.RUNG,
        Control.MODES,
    }


@pytest.mark.parametrize(
    "failure",
    [
        vacuous(),
        differing(retention=retained()),
        differing(retention=retained(), aliasing=shared("call[1].output ~ call[0].output")),
        differing(aliasing=reaching("call[0].output, call[1].output")),
        differing(retention=retained(), compiled=a_difference(kind="evidence", path="engaged")),
    ],
)
def test_reused_memory_and_fallbacks_are_the_harness(failure: Attempt) -> None:
    """Whatever the program is; unless the rung below does the same."""
    assert caused(failure, rung=GONE, modes=GONE).cause is Cause.HARNESS
    assert caused(failure, rung=SAME).cause is Cause.INHERITED


@pytest.mark.parametrize(
    "difference",
    [
        shared("call[1].output ~ a"),
        shared("call[1].output[1] ~ output[0]"),
        shared("call[1].output ~ call[0].output", expected="same object"),
        reaching("call[1].output, a"),
        reaching("call[1].output, call[1].output[1]"),
        reaching("nothing"),
        reaching("call[0].output", expected="call[1].output"),
    ],
)
def test_other_sharing_is_not_the_harness(difference: Difference) -> None:
    """With an input, within one call, and where it is missing."""
    assert caused(differing(aliasing=difference, retention=retained())).cause is Cause.BASE


def test_what_is_not_the_harness_decides() -> None:
    """A request that fails for another reason too is not set apart with it."""
    failure = differing(autograd_flags=a_difference(kind="is_inference"), retention=retained(), compiled=retained())
    assert caused(failure, modes=GONE).cause is Cause.MODE
    assert {check.check for check in without_harness(failure.checks) if check.breaks} == {"autograd_flags"}
    assert (
        own_symptom(failure)
        == own_symptom(recorded(failure))
        == Symptom.of(differing(autograd_flags=a_difference(kind="is_inference")))
    )
    assert own_symptom(vacuous()) == Symptom.of(vacuous())


def test_what_the_rung_shows_too_is_no_part_of_what_is_left() -> None:
    """By check and kind; of a request that ends in the same way nothing is left."""
    record = recorded(failed("values", "mutation"))
    left = beyond(record, failed("values").checks)
    assert left is not None
    assert {check.check for check in left.checks if check.breaks} == {"mutation"}
    assert beyond(record, failed("values", "mutation", "gradients").checks) is None
    assert beyond(record, differing(values=a_difference(kind="dtype")).checks) == record
    assert beyond(recorded(raised()), ()) is None


NUMBERS = failed("values")


@pytest.mark.parametrize(
    ("failure", "control", "shown"),
    [
        (NUMBERS, NUMBERS, SAME),
        (NUMBERS, failed("values", "gradients"), SAME),
        (NUMBERS, failed("gradients"), GONE),
        (NUMBERS, differing(values=a_difference(kind="dtype")), GONE),
        (NUMBERS, an_attempt(), GONE),
        (NUMBERS, vacuous(), UNCLEAR),
        (NUMBERS, raised(), UNCLEAR),
        (NUMBERS, crashed(), UNCLEAR),
        (NUMBERS, an_attempt(invalid="it differs from itself"), UNCLEAR),
        (differing(values=a_difference(), compiled=a_difference()), vacuous(), GONE),
        (failed("move.each_result"), an_attempt(), UNCLEAR),
        (failed("move.each_result"), failed("move.each_result"), SAME),
        (vacuous(), vacuous(), SAME),
        (vacuous(), an_attempt(), GONE),
        (raised(), raised(), SAME),
        (raised(), raised(type="ValueError"), UNCLEAR),
        (raised(), NUMBERS, GONE),
        (raised(), crashed(), UNCLEAR),
        (crashed(), crashed(), SAME),
        (crashed(), crashed(timed_out=True), UNCLEAR),
        (crashed(), an_attempt(), GONE),
        (crashed(timed_out=True), crashed(timed_out=True), SAME),
    ],
)
def test_a_control_shows_a_failure_in_the_same_check_and_kind(
    failure: Attempt, control: Attempt, shown: Showing
) -> None:
    """Or by the same end; where it did not get as far, it shows nothing."""
    assert Failure.of(recorded(failure)).shown_by(control) is shown


@pytest.mark.parametrize(
    ("attribution", "is_elsewhere"),
    [
        (Attribution(cause=Cause.INHERITED), True),
        (Attribution(cause=Cause.HARNESS), True),
        (Attribution(cause=Cause.MODE, controls={Control.MODES: GONE}), False),
        (Attribution(cause=Cause.BASE, controls={Control.MODES: SAME}), True),
        (Attribution(cause=Cause.BACKWARD, controls={Control.MODES: SAME}), True),
        (Attribution(cause=Cause.BASE), False),
        (Attribution(cause=Cause.BACKWARD), False),
        (Attribution(cause=Cause.UNDECIDED, controls={Control.MODES: UNCLEAR}), False),
    ],
)
def test_a_request_with_modes_is_about_its_modes(attribution: Attribution, is_elsewhere: bool) -> None:
    """One without is about all that it does; what is undecided is never set apart."""
    assert attribution.is_elsewhere is is_elsewhere


def test_a_failure_is_known_by_fields() -> None:
    """The type of an exception, and the first check and kind."""
    assert Failure.of(recorded(raised())) == Failure(outcome=Outcome.ERROR, exception="RuntimeError")
    assert Failure.of(recorded(NUMBERS)) == Failure(outcome=Outcome.FAIL, check="values", kind="values")
