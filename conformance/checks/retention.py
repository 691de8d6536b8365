"""retention: what an earlier call returned is, after the later calls, what it was."""

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
    """Hold what changed since each call returned it against what changed uncompiled; compare what changed in both."""
    if not (pair.actual.complete and pair.expected.complete):
        return Finding(grade=Grade.NOTHING)
    changed, wanted = _changed(pair.actual), _changed(pair.expected)
    both = [path for path in wanted if path in changed]
    late = compare_leaves(
        {path: pair.actual.retained[path] for path in both},
        {path: pair.expected.retained[path] for path in both},
        reference=pair.reference,
        where="retained",
    )
    seen = Comparison(
        differences=tuple(_surprises(changed, wanted, pair)),
        grade=Grade.BITWISE if holds_tensors(pair.expected.retained) else Grade.NOTHING,
    )
    return Finding.of(late + seen)


def _surprises(changed: list[str], wanted: list[str], pair: Pair) -> Iterator[Difference]:
    known = pair.expected.retained
    for path in [path for path in changed if path not in wanted and path in known]:
        yield Difference(path=path, kind="retained", actual="changed by a later call", expected="unchanged")
    for path in [path for path in wanted if path not in changed and path in pair.actual.retained]:
        yield Difference(path=path, kind="retained", actual="unchanged", expected="changed by a later call")


def _changed(observation: RoleObservation) -> list[str]:
    returned: Leaves = {
        f"call[{index}].{path}": leaf
        for index, call in enumerate(observation.calls)
        for path, leaf in call.outputs.items()
    }
    kept = {path: leaf for path, leaf in returned.items() if path in observation.retained}
    return changed(kept, observation.retained)
