"""calls: outputs and gradients of the later calls, where a stale or baked-in result shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.checks.finding import Finding
from conformance.compare import Comparison, compare_leaves

if TYPE_CHECKING:
    from conformance.checks.finding import Pair
    from conformance.role import CallObservation

__all__ = ["check"]


def check(pair: Pair) -> Finding:
    """Compare every call after the first, made on new values, changed weights, or as the case's sequence says."""
    total = Comparison()
    for index, actual, expected in pair.quiet_calls():
        if index > 0:
            total += _compare_call(pair, index, actual, expected)
    return Finding.of(total)


def _compare_call(pair: Pair, index: int, actual: CallObservation, expected: CallObservation) -> Comparison:
    total = Comparison()
    for name in ("outputs", "gradients"):
        where = f"call[{index}].{name}"
        found = compare_leaves(getattr(actual, name), getattr(expected, name), reference=pair.reference, where=where)
        total += found.within(f"call[{index}]")
    return total
