"""Builders of failures for tests of what is decided on them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from conformance.model.enums import Verdict
from conformance.tests.fakes import a_difference, a_record, failed
from conformance.verdict.judge import outcome

if TYPE_CHECKING:
    from conformance.model.result import Attempt, Difference, Record

__all__ = ["differing", "recorded", "retained", "shared"]


def recorded(attempt: Attempt) -> Record:
    """The record of an attempt."""
    happened = outcome(attempt)
    facts: dict[str, Any] = {"checks": attempt.checks, "raised": attempt.raised, "ended": attempt.ended}
    return a_record(outcome=happened, verdict=Verdict(happened.value), **facts)


def differing(**checks: Difference) -> Attempt:
    """An attempt in which checks did not hold, in one difference each."""
    broken = failed(*checks)
    return replace(
        broken,
        checks=tuple(
            replace(each, differences=(checks[each.check],)) if each.check in checks else each for each in broken.checks
        ),
    )


def retained(path: str = "call[0].output") -> Difference:
    """What a result was changed by that was returned before."""
    return a_difference(path=path, kind="retained", actual="changed by a later call", expected="unchanged")


def shared(path: str, expected: str = "unrelated") -> Difference:
    """A result that lies in the memory of something."""
    return a_difference(path=path, kind="alias", actual="same storage", expected=expected)
