"""Attribute a failure to its cause by what controls show: pure functions.

Everything is decided on typed fields: outcomes, names of checks, kinds and paths of differences, types of exceptions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from conformance.model.attribution import Attribution, Cause, Control, Showing
from conformance.model.enums import Outcome
from conformance.model.result import Record
from conformance.verdict.first_seen import broken_in_order
from conformance.verdict.judge import outcome
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from conformance.model.result import Attempt, CheckResult, Difference

__all__ = ["COMPILED", "Failure", "attribute", "beyond", "is_of_reuse", "own_symptom", "set_aside", "without_harness"]

COMPILED = "compiled"
"""The check of who did the work."""
_RETENTION = "retention"
_UNRELATED = "unrelated"
_CALL = re.compile(r"call\[(\d+)\]")
_NO_RESULT = frozenset({Outcome.ERROR, Outcome.CRASH, Outcome.TIMEOUT})


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What a control has to show to show the same failure.

    `check` and `kind` are of the first difference that is not the harness's, if there is one, else of the first;
    `exception` is the type that was raised. `is_vacuous`: nothing was compiled, or by something else.
    """

    outcome: Outcome
    check: str = ""
    kind: str = ""
    exception: str = ""
    is_vacuous: bool = False
    is_harness: bool = False

    @classmethod
    def of(cls, record: Record) -> Failure:
        """Return what identifies the failure of a record."""
        own = broken_in_order(without_harness(record.checks))
        first = next(iter(own or broken_in_order(record.checks)), None)
        raised = record.raised.type if record.raised and record.outcome is Outcome.ERROR else ""
        return cls(
            outcome=record.outcome,
            check=first.check if first else "",
            kind=first.differences[0].kind if first and first.differences else "",
            exception=raised,
            is_vacuous=any(check.check == COMPILED and check.breaks for check in record.checks),
            is_harness=record.outcome not in _NO_RESULT and not own,
        )

    def shown_by(self, control: Attempt) -> Showing:
        """Whether a control shows it."""
        happened = outcome(control)
        if happened is Outcome.INVALID:
            return Showing.UNCLEAR
        if self.outcome in _NO_RESULT:
            return self._end_shown_by(happened, control)
        if happened in _NO_RESULT or (happened is Outcome.VACUOUS and not self.is_vacuous):
            return Showing.UNCLEAR
        made = [check for check in control.checks if check.check == self.check]
        if not made:
            return Showing.UNCLEAR  # such as a move, which is not made where the plain calls differ
        return Showing.SAME if any(map(self._is_same, made)) else Showing.GONE

    def _end_shown_by(self, happened: Outcome, control: Attempt) -> Showing:
        """Whether the control ended in the same way: by the same type of exception, in a crash, or over its limit."""
        if happened is self.outcome:
            raised = control.raised.type if control.raised else ""
            return Showing.SAME if raised == self.exception else Showing.UNCLEAR
        return Showing.UNCLEAR if happened in _NO_RESULT else Showing.GONE

    def _is_same(self, check: CheckResult) -> bool:
        kinds = {difference.kind for difference in check.differences}
        return check.breaks and (self.kind in kinds or not self.kind)


def attribute(failure: Failure, ask: Callable[[Control], Showing | None], rung: str = "") -> Attribution:
    """Attribute a failure, with no more controls than decide.

    Args:
        failure: of a request.
        ask: runs a control, and returns whether it shows the failure; None where it would be the request itself.
        rung: the lowest of the consecutive rungs that show it, where it is inherited.
    """
    seen: dict[Control, Showing] = {}

    def shows(control: Control) -> Showing | None:
        answer = ask(control)
        if answer is not None:
            seen[control] = answer
        return answer

    cause = _cause(failure, shows)
    return Attribution(cause=cause, controls=seen, rung=rung if cause is Cause.INHERITED else "")


def _cause(failure: Failure, shows: Callable[[Control], Showing | None]) -> Cause:
    if shows(Control.AGAIN) in {Showing.GONE, Showing.UNCLEAR}:
        return Cause.UNDECIDED
    if shows(Control.RUNG) is Showing.SAME:
        return Cause.INHERITED
    if failure.is_harness:
        return Cause.HARNESS
    for control, cause in ((Control.MODES, Cause.MODE), (Control.BACKWARD, Cause.BACKWARD)):
        shown = shows(control)
        if shown is Showing.GONE:
            return cause
        if shown is Showing.UNCLEAR:
            return Cause.UNDECIDED
    shows(Control.OPERATIONS)
    return Cause.BASE


def own_symptom(of: Attempt | Record) -> Symptom:
    """Return the symptom of what is not the harness's, if anything is not."""
    left = without_harness(of.checks)
    reduced = replace(of, checks=left) if any(check.breaks for check in left) else of
    return Symptom.of_record(reduced) if isinstance(reduced, Record) else Symptom.of(reduced)


def beyond(record: Record, shown: Iterable[CheckResult]) -> Record | None:
    """Return a record without what another backend shows too, by check and kind; None where nothing is left.

    Args:
        record: of a failure.
        shown: the checks of the other backend, whose symptom is the same.
    """
    if record.outcome in _NO_RESULT:
        return None  # they end in the same way
    theirs = {(check.check, each.kind) for check in shown if check.breaks for each in check.differences}
    left = set_aside(record.checks, lambda check, each: each is not None and (check, each.kind) in theirs)
    return replace(record, checks=left) if any(check.breaks for check in left) else None


def without_harness(checks: Iterable[CheckResult]) -> tuple[CheckResult, ...]:
    """Return checks without what is the harness's: memory that is used again, and who did the work.

    Of a check with more differences than were kept, the kept ones count.
    """
    return set_aside(checks, lambda check, difference: check == COMPILED or is_of_reuse(check, difference))


def set_aside(
    checks: Iterable[CheckResult], is_aside: Callable[[str, Difference | None], bool]
) -> tuple[CheckResult, ...]:
    """Return checks without some differences, by name of check; one that broke by these alone is left out.

    Of a check that broke without a difference, the name alone is asked about.
    """
    left = []
    for check in checks:
        if not check.breaks:
            left.append(check)
        elif kept := [each for each in check.differences or (None,) if not is_aside(check.check, each)]:
            left.append(replace(check, differences=tuple(each for each in kept if each)))
    return tuple(left)


def is_of_reuse(check: str, difference: Difference | None) -> bool:
    """Whether a difference shows that results lie in memory that a later call uses again."""
    if check == _RETENTION or difference is None:
        return check == _RETENTION
    if difference.kind == "alias":
        return difference.expected == _UNRELATED and _CALL.match(difference.path.partition(" ~ ")[2]) is not None
    return difference.kind == "reach" and _reaches_earlier_calls_alone(difference)


def _reaches_earlier_calls_alone(difference: Difference) -> bool:
    """Whether writing into a result of the last call changes more than uncompiled: results of earlier calls alone."""
    actual, expected = (
        [_CALL.match(path) for path in side.split(", ")] for side in (difference.actual, difference.expected)
    )
    last = max((int(match[1]) for match in (*actual, *expected) if match), default=0)
    more = set(difference.actual.split(", ")) - set(difference.expected.split(", "))
    less = set(difference.expected.split(", ")) - set(difference.actual.split(", "))
    return bool(more) and not less and all((match := _CALL.match(path)) and int(match[1]) < last for path in more)
