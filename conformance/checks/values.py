"""values: results of the first call. A compile step that runs on the real inputs shows here and only here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.checks.finding import Finding
from conformance.model.enums import Grade
from conformance.observation.compare import compare_leaves, zero_signs

if TYPE_CHECKING:
    from conformance.checks.finding import Pair

__all__ = ["check"]


def check(pair: Pair) -> Finding:
    """Compare structure, shape, dtype, NaN and infinity positions, then numbers; signs of zero are advisory."""
    for index, actual, expected in pair.returned_calls():
        if index == 0:
            where = "call[0].outputs"
            found = compare_leaves(actual.outputs, expected.outputs, reference=pair.reference, where=where)
            return replace(Finding.of(found), should=tuple(zero_signs(actual.outputs, expected.outputs)))
    return Finding(grade=Grade.NOTHING)
