"""retention: whether later calls change what an earlier call returned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.checks.finding import Finding, holds_tensors
from conformance.model.enums import Grade
from conformance.model.result import Difference
from conformance.observation.compare import Comparison, compare_leaves
from conformance.observation.snapshot import changed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.checks.finding import Pair
    from conformance.observation.driver import RoleObservation
    from conformance.observation.snapshot import Leaves

__all__ = ["check"]


def check(pair: Pair) -> Finding:
    """Compare which results changed after they were returned, and the numbers of those that changed on both sides."""
    if not (pair.actual.complete and pair.expected.complete):
        return Finding(grade=Grade.NOTHING)
    actual, expected = _changed(pair.actual), _changed(pair.expected)
    both = [path for path in expected if path in actual]
    numbers = compare_leaves(
        {path: pair.actual.retained[path] for path in both},
        {path: pair.expected.retained[path] for path in both},
        reference=pair.reference,
        where="retained",
    )
    paths = Comparison(
        differences=tuple(_unexpected(actual, expected, pair)),
        grade=Grade.BITWISE if holds_tensors(pair.expected.retained) else Grade.NOTHING,
    )
    return Finding.of(numbers + paths)


def _unexpected(actual: list[str], expected: list[str], pair: Pair) -> Iterator[Difference]:
    known = pair.expected.retained
    for path in [path for path in actual if path not in expected and path in known]:
        yield Difference(path=path, kind="retained", actual="changed by a later call", expected="unchanged")
    for path in [path for path in expected if path not in actual and path in pair.actual.retained]:
        yield Difference(path=path, kind="retained", actual="unchanged", expected="changed by a later call")


def _changed(observation: RoleObservation) -> list[str]:
    returned: Leaves = {
        f"call[{index}].{path}": leaf
        for index, call in enumerate(observation.calls)
        for path, leaf in call.outputs.items()
    }
    kept = {path: leaf for path, leaf in returned.items() if path in observation.retained}
    return changed(kept, observation.retained)
