"""mutation: inputs, parameters and buffers after each call; their version counters as advisory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.checks.finding import Finding
from conformance.compare import Comparison, compare_facts, compare_leaves
from conformance.model import Difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.checks.finding import Pair

__all__ = ["check"]


def check(pair: Pair) -> Finding:
    """Compare the numbers, dtype, shape and strides of everything a call could change."""
    total = Comparison()
    for index, actual, expected in pair.calls():
        found = compare_leaves(
            actual.tracked, expected.tracked, reference=pair.reference, where=f"call[{index}].tracked"
        )
        found += Comparison(differences=compare_facts(actual.tracked, expected.tracked, ("stride",)))
        total += found.within(f"call[{index}]")
    return replace(Finding.of(total), should=tuple(_versions(pair)))


def _versions(pair: Pair) -> Iterator[Difference]:
    for index, actual, expected in pair.calls():
        for name, wanted in expected.versions.items():
            seen = actual.versions.get(name, 0)
            if seen != wanted:
                path = f"call[{index}].{name}"
                yield Difference(path=path, kind="version", actual=f"+{seen}", expected=f"+{wanted}")
