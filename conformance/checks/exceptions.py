"""exceptions: what was raised, at the call or in backward; the exact type is an advisory."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from conformance.checks.finding import Finding
from conformance.model.enums import Stage
from conformance.model.result import NO_EXCEPTION, Difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.checks.finding import Pair
    from conformance.model.result import Raised

__all__ = ["check", "coarse"]


def check(pair: Pair) -> Finding:
    """Compare stage (call or backward) and kind (nearest built-in class); an exception on only one side breaks it."""
    must = tuple(_stage_and_kind(pair))
    return Finding(must=must, should=tuple(_exact_type(pair)), message="" if must else _undeclared(pair))


def _stage_and_kind(pair: Pair) -> Iterator[Difference]:
    for index, actual, expected in pair.calls():
        left, right = coarse(actual.raised), coarse(expected.raised)
        if left != right:
            in_backward = any(each and each.stage is Stage.BACKWARD for each in (actual.raised, expected.raised))
            yield Difference(
                path=f"call[{index}]",
                kind="exception",
                actual=left,
                expected=right,
                stage=Stage.BACKWARD if in_backward else Stage.FORWARD,
            )


def _exact_type(pair: Pair) -> Iterator[Difference]:
    for index, actual, expected in pair.calls():
        if actual.raised and expected.raised and actual.raised.type != expected.raised.type:
            yield Difference(
                path=f"call[{index}]",
                kind="exception type",
                actual=actual.raised.type,
                expected=expected.raised.type,
            )


def _undeclared(pair: Pair) -> str:
    """The first uncompiled exception if the case declares none: it may be unintended."""
    raised = next((call.raised for call in pair.expected.calls if call.raised), None)
    if raised is None or not pair.case.may_raise:
        return ""
    return f"the uncompiled function raises {raised.type} {_where(raised)}: {raised.message.partition(chr(10))[0]}"


def coarse(raised: Raised | None) -> str:
    """Return the nearest built-in class of an exception, and where it was raised."""
    if raised is None:
        return NO_EXCEPTION
    kind = next((name for name in raised.kinds if hasattr(builtins, name)), raised.type)
    return f"{kind} {_where(raised)}"


def _where(raised: Raised) -> str:
    return "in backward" if raised.stage is Stage.BACKWARD else "at the call"
