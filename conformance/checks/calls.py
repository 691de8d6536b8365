"""calls: outputs and gradients of the later calls, where a stale or baked-in result shows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.checks.finding import Finding
from conformance.observation.compare import Comparison, compare_leaves, zero_signs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from conformance.checks.finding import Pair
    from conformance.model.result import Difference
    from conformance.observation.driver import CallObservation

__all__ = ["check"]


def check(pair: Pair) -> Finding:
    """Compare every call after the first: new values, changed weights, the case's sequence; zero signs are advisory."""
    found = _later(pair, pair.returned_calls(), "outputs") + _later(pair, pair.quiet_calls(), "gradients")
    return replace(Finding.of(found), should=tuple(_zero_signs(pair)))


def _zero_signs(pair: Pair) -> Iterator[Difference]:
    for index, actual, expected in pair.returned_calls():
        if index > 0:
            found = zero_signs(actual.outputs, expected.outputs)
            yield from (replace(each, path=f"call[{index}].{each.path}") for each in found)


def _later(pair: Pair, calls: Iterable[tuple[int, CallObservation, CallObservation]], name: str) -> Comparison:
    total = Comparison()
    for index, actual, expected in calls:
        if index > 0:
            where = f"call[{index}].{name}"
            left, right = getattr(actual, name), getattr(expected, name)
            total += compare_leaves(left, right, reference=pair.reference, where=where).within(f"call[{index}]")
    return total
