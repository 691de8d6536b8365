"""Order broken checks by when their first difference occurred: the earliest may be the cause of the rest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from conformance.model.moves import move_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conformance.model.result import CheckResult, Difference

__all__ = ["broken_in_order"]

_CALL = re.compile(r"call\[(\d+)\]\.?")
_CALLED, _BACKWARD, _AFTER_ALL = range(3)
_OF_BACKWARD = ("grad(", "cotangent(", "after_backward.")
_LATE_KINDS = frozenset({"retained", "reach", "evidence", "count", "bytes"})
"""Kinds of differences that are observed after the last call."""


def broken_in_order(checks: Iterable[CheckResult]) -> list[CheckResult]:
    """Return the checks that broke a MUST, ordered by when their first difference occurred, else as given."""
    return sorted((check for check in checks if check.breaks), key=_moment)


def _moment(check: CheckResult) -> tuple[bool, int, int]:
    """Sort key: whether it is observed after all calls, the call, and the stage within the call."""
    if not check.differences or move_of(check.check):
        return True, 0, _AFTER_ALL
    first = check.differences[0]
    if first.twin:
        return True, 0, _AFTER_ALL
    index, path = _place(first)
    if first.kind in _LATE_KINDS:
        return True, index, _AFTER_ALL
    return False, index, _BACKWARD if path.startswith(_OF_BACKWARD) else _CALLED


def _place(difference: Difference) -> tuple[int, str]:
    """The call, and the path in it; checks of the first call alone leave the call out."""
    match = _CALL.match(difference.path)
    return (int(match[1]), difference.path[match.end() :]) if match else (0, difference.path)
