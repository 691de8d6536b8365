"""Judge the outcome of a request against its expectation, with messages: pure functions."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

from conformance.isolation.crash import last_words
from conformance.model.enums import Outcome, Verdict
from conformance.verdict.first_seen import broken_in_order

if TYPE_CHECKING:
    from conformance.model.request import Expectation
    from conformance.model.result import Attempt, CheckResult, Difference

__all__ = ["Judgement", "describe_check", "held_against", "judge", "outcome", "where"]

_COMPILED = "compiled"


def outcome(attempt: Attempt) -> Outcome:
    """Return the outcome of an attempt, before any expectation is applied."""
    if attempt.invalid is not None:
        return Outcome.INVALID
    if attempt.ended is not None:
        return Outcome.TIMEOUT if attempt.ended.timed_out else Outcome.CRASH
    if attempt.raised is not None:
        return Outcome.ERROR
    if not attempt.checks:
        return Outcome.INVALID  # nothing was checked, which is not a pass
    broken = _broken(attempt)
    if not broken:
        return Outcome.PASS
    return Outcome.VACUOUS if broken.keys() == {_COMPILED} else Outcome.FAIL


class Judgement(NamedTuple):
    """A verdict, a message on the outcome, and a note on an expectation that is not met or can be deleted."""

    verdict: Verdict
    message: str
    note: str


def judge(happened: Outcome, attempt: Attempt, expectation: Expectation | None) -> Judgement:
    """Return the verdict on an attempt, with messages for the reader.

    Args:
        happened: the outcome of the attempt.
        attempt: the attempt.
        expectation: the entry of the backend's known failures for this case and variant, if there is one.
    """
    verdict, note = held_against(expectation, happened, attempt)
    return Judgement(verdict, _describe(happened, attempt), note)


def held_against(expectation: Expectation | None, happened: Outcome, attempt: Attempt) -> tuple[Verdict, str]:
    """Return the verdict on an attempt, and a note if an expectation is not met or can be deleted."""
    if expectation is None or not (happened.is_failure or happened is Outcome.PASS):
        return Verdict(happened.value), ""
    if happened is Outcome.PASS:
        return (
            Verdict.XPASS,
            f"passed, but was expected to {_describe_expectation(expectation)}; delete {where(expectation)}",
        )
    if _is_as_expected(happened, attempt, expectation):
        return Verdict.XFAIL, ""
    return Verdict(happened.value), f"Expected to {_describe_expectation(expectation)} instead: {where(expectation)}"


def where(expectation: Expectation) -> str:
    """Return the location of an expectation: file name, line and column, without the folder of this machine."""
    place = expectation.location
    return f"{PurePath(place.file).name}:{place.line}:{place.column}"


def _broken(attempt: Attempt) -> dict[str, CheckResult]:
    return {check.check: check for check in broken_in_order(attempt.checks)}


def _is_as_expected(happened: Outcome, attempt: Attempt, expectation: Expectation) -> bool:
    if happened is not expectation.outcome:
        return False
    if happened is Outcome.FAIL:
        return expectation.checks <= _broken(attempt).keys() <= expectation.checks | expectation.also
    text = ""
    if attempt.raised is not None:
        text = f"{attempt.raised.type}: {attempt.raised.message}"
    elif attempt.ended is not None:
        text = str(attempt.ended)
    return expectation.raises is None or re.search(expectation.raises, text) is not None


def _describe_expectation(expectation: Expectation) -> str:
    words = {Outcome.FAIL: "fail", Outcome.ERROR: "raise", Outcome.VACUOUS: "compile nothing"}
    text = words.get(expectation.outcome, expectation.outcome.value)
    detail = ", ".join(sorted(expectation.checks)) or expectation.raises
    return f"{text} ({detail})" if detail else text


def _describe(happened: Outcome, attempt: Attempt) -> str:
    match happened:
        case Outcome.PASS:
            return ""
        case Outcome.FAIL:
            return _describe_failure(_broken(attempt))
        case Outcome.VACUOUS:
            return _describe_vacuous(_broken(attempt)[_COMPILED])
        case Outcome.ERROR if attempt.raised is not None:
            return f"raised in {attempt.raised.stage}: {attempt.raised.type}: {attempt.raised.message}"
        case Outcome.CRASH | Outcome.TIMEOUT:
            return _describe_end(happened, attempt)
        case _:
            return attempt.invalid or "nothing was compared"


def _describe_end(happened: Outcome, attempt: Attempt) -> str:
    place = f"stage {attempt.stage}" if attempt.call is None else f"stage {attempt.stage}, call {attempt.call}"
    text = f"{attempt.ended} ({place})"
    if happened is Outcome.TIMEOUT:
        text += "; --timeout sets another limit"
    return "; ".join(filter(None, [text, last_words(attempt.output)]))


def _describe_failure(broken: dict[str, CheckResult]) -> str:
    """The first difference in full, the others counted."""
    (name, check), *others = broken.items()
    parts = [describe_check(check)]
    if (further := len(check.differences) - 1) > 0:
        parts.append(f"{', '.join(filter(None, [f'{further} further in {name}', check.message]))}.")
    elif check.differences and check.message:
        parts.append(f"{check.message}.")
    if others:
        parts.append(f"Also: {', '.join(f'{also} ({_count(result)})' for also, result in others)}.")
    return "\n".join(parts)


def describe_check(check: CheckResult) -> str:
    """Describe a broken check: its first difference in full."""
    if not check.differences:
        return f"{check.check}: {check.message or 'did not hold'}."
    text = _describe_difference(check.differences[0])
    return text if check.check == check.differences[0].kind else f"{check.check}: {text}"


def _describe_difference(difference: Difference) -> str:
    verb = "differ" if difference.kind == "values" else "differs"
    text = f"{difference.kind} {verb} in {difference.place}"
    text += "".join(f" under {name}={value}" for name, value in difference.under.items()) + ": "
    if difference.mismatched is not None:
        text += f"{difference.mismatched} of {difference.total} elements"
        text += f", first at {difference.first_index}: " if difference.first_index else ": "
    text += f"actual {difference.actual}, expected {difference.expected}"
    numbers = "; ".join(_numbers(difference))
    return f"{text} ({numbers})." if numbers else f"{text}."


def _numbers(difference: Difference) -> list[str]:
    texts = {
        "max abs {}": difference.max_abs,
        "{} ulp": difference.ulp,
        "off the fp64 reference by {}": difference.error_actual,
        "uncompiled itself by {}": difference.error_expected,
    }
    numbers = [text.format(_short(value)) for text, value in texts.items() if value is not None]
    return [*numbers, f"allowed {difference.allowed}"] if difference.allowed else numbers


def _short(value: float) -> str:
    return repr(float(f"{value:.4g}"))


def _count(check: CheckResult) -> str:
    number = len(check.differences)
    return f"{number} difference{'s' if number > 1 else ''}" if number else (check.message or "did not hold")


def _describe_vacuous(check: CheckResult) -> str:
    reason = next((difference.actual for difference in check.differences), check.message)
    return f"nothing was compiled: {reason}" if reason else "nothing was compiled"
