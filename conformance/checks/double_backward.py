"""double_backward: gradients of gradients, where a case asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.checks.finding import Finding
from conformance.observation.compare import Comparison, compare_leaves

if TYPE_CHECKING:
    from conformance.checks.finding import Pair

__all__ = ["check"]


def check(pair: Pair) -> Finding:
    """Differentiate the gradients of every call again, for random cotangents, and compare."""
    total = Comparison()
    for index, actual, expected in pair.quiet_calls():
        where = f"call[{index}].second_gradients"
        found = compare_leaves(
            actual.second_gradients, expected.second_gradients, reference=pair.reference, where=where
        )
        total += found.within(f"call[{index}]")
    return Finding.of(total)
