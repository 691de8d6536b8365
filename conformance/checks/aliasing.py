"""aliasing: which results are, or share memory with, which inputs, weights and other results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.checks.finding import Finding, holds_tensors
from conformance.model.result import Difference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from conformance.checks.finding import Pair

__all__ = ["check"]


def check(pair: Pair) -> Finding:
    """Compare relations in every call, and what changes when the caller writes into a result of the last call."""
    compared = any(holds_tensors(actual.outputs) for _, actual, _ in pair.returned_calls())
    return Finding(must=(*_relations(pair), *_reaches(pair))).if_any(compared=compared)


def _relations(pair: Pair) -> Iterator[Difference]:
    for index, actual, expected in pair.returned_calls():
        yield from _unequal(actual.relations, expected.relations, f"call[{index}].", "alias", "unrelated")


def _reaches(pair: Pair) -> Iterator[Difference]:
    last = len(pair.case.calls) - 1
    # A side that raised has no results to write into; the check of exceptions reports it.
    if pair.actual.complete and any(index == last for index, _, _ in pair.returned_calls()):
        yield from _unequal(pair.actual.reaches, pair.expected.reaches, "writing into ", "reach", "nothing")


def _unequal(
    actual: Mapping[str, str], expected: Mapping[str, str], prefix: str, kind: str, absent: str
) -> Iterator[Difference]:
    for path in dict.fromkeys([*expected, *actual]):
        left, right = actual.get(path, absent), expected.get(path, absent)
        if left != right:
            yield Difference(path=prefix + path, kind=kind, actual=left, expected=right)
