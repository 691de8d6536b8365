"""mutation: what the caller passed in, after each call and each backward; version counters are advisory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.checks.finding import Finding
from conformance.model.result import Difference
from conformance.observation.compare import Comparison, compare_facts, compare_leaves
from conformance.observation.snapshot import changed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.checks.finding import Pair
    from conformance.observation.driver import CallObservation

__all__ = ["check"]


def check(pair: Pair) -> Finding:
    """Compare the numbers, dtype, shape and strides of everything that a call or its backward could change."""
    total = Comparison()
    for index, actual, expected in pair.calls():
        found = compare_leaves(
            actual.tracked, expected.tracked, reference=pair.reference, where=f"call[{index}].tracked"
        )
        found += Comparison(differences=compare_facts(actual.tracked, expected.tracked, ("stride",)))
        found += _by_backward(pair, index, actual, expected)
        total += found.within(f"call[{index}]")
    return replace(Finding.of(total), should=tuple(_versions(pair)))


def _by_backward(pair: Pair, index: int, actual: CallObservation, expected: CallObservation) -> Comparison:
    """Compare what backward changed on either side, and the gradients that were passed to it."""
    both = [path for path in expected.handed if path in actual.handed]
    unchanged = _unchanged(actual) & _unchanged(expected)
    compared = [path for path in both if path not in unchanged]
    return compare_leaves(
        {path: actual.handed[path] for path in compared},
        {path: expected.handed[path] for path in compared},
        reference=pair.reference,
        where=f"call[{index}].handed",
    )


def _unchanged(call: CallObservation) -> set[str]:
    """Paths that backward left unchanged: state that has been compared already, and cotangents as drawn."""
    before = {f"after_backward.{name}": leaf for name, leaf in call.tracked.items()} | call.cotangents
    kept = {path: leaf for path, leaf in before.items() if path in call.handed}
    return kept.keys() - set(changed(kept, call.handed))


def _versions(pair: Pair) -> Iterator[Difference]:
    for index, actual, expected in pair.calls():
        for name, right in expected.versions.items():
            left = actual.versions.get(name, 0)
            if left != right:
                path = f"call[{index}].{name}"
                yield Difference(path=path, kind="version", actual=f"+{left}", expected=f"+{right}")
