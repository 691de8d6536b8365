"""gradients: gradients of every input and parameter after the first backward, for random cotangents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.checks.finding import Finding
from conformance.model.enums import Grade
from conformance.observation.compare import compare_leaves

if TYPE_CHECKING:
    from conformance.checks.finding import Pair

__all__ = ["check"]


def check(pair: Pair) -> Finding:
    """Compare None or not, shape, dtype and numbers of every gradient."""
    for index, actual, expected in pair.quiet_calls():
        if index == 0:
            where = "call[0].gradients"
            return Finding.of(
                compare_leaves(actual.gradients, expected.gradients, reference=pair.reference, where=where)
            )
    return Finding(grade=Grade.NOTHING)
