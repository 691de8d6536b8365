"""Meaning of the verdicts, for the help of `conformance run` and the pages of `conformance report`."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from conformance.model.enums import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MEANING", "counting", "gate"]

MEANING: Mapping[Verdict, str] = MappingProxyType(
    {
        Verdict.PASS: "every MUST check held and the backend compiled at least one graph",
        Verdict.VACUOUS: "every check held but nothing was compiled",
        Verdict.FAIL: "it ran and a MUST check did not hold",
        Verdict.ERROR: "the backend raised where the uncompiled program did not",
        Verdict.CRASH: "the process died; the signal or exit status is named",
        Verdict.TIMEOUT: "over the time limit; the whole process group was killed",
        Verdict.XFAIL: "a known failure, exactly as in the backend's expectations",
        Verdict.XPASS: "expected to fail, passed: delete the expectation",
        Verdict.UNSUPPORTED: "needs a capability that the backend does not claim",
        Verdict.SKIP: "impossible on this machine; the reason is given",
        Verdict.INVALID: "fault of the suite: case, uncompiled reference or harness",
    }
)


def counting(verdict: Verdict) -> str:
    """Return how a verdict counts in the score: yes, no, or left out."""
    if not verdict.scored:
        return "left out"
    return "yes" if verdict.conforms else "no"


def gate(verdict: Verdict) -> str:
    """Return the result of the gate for a verdict: ok or red."""
    return "ok" if verdict.is_green else "red"
