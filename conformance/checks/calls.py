"""calls: outputs and gradients of the later calls, where a stale or baked-in result shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.checks.finding import Finding
from conformance.compare import Comparison, compare_leaves

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conformance.checks.finding import Pair
    from conformance.role import CallObservation

__all__ = ["check"]


def check(pair: Pair) -> Finding:
    """Compare every call after the first, made on new values, changed weights, or as the case's sequence says."""
    return Finding.of(_later(pair, pair.returned_calls(), "outputs") + _later(pair, pair.quiet_calls(), "gradients"))


def _later(pair: Pair, calls: Iterable[tuple[int, CallObservation, CallObservation]], name: str) -> Comparison:
    total = Comparison()
    for index, actual, expected in calls:
        if index > 0:
            where = f"call[{index}].{name}"
            ours, eagers = getattr(actual, name), getattr(expected, name)
            total += compare_leaves(ours, eagers, reference=pair.reference, where=where).within(f"call[{index}]")
    return total
