"""Input and result of a check."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from conformance.model.enums import Capability, Grade, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.model.case import Case
    from conformance.model.result import Difference, Evidence
    from conformance.observation.compare import Comparison, NoReference
    from conformance.observation.driver import CallObservation, RoleObservation
    from conformance.observation.fp64 import Reference
    from conformance.observation.snapshot import Leaves

__all__ = ["Finding", "Pair", "holds_tensors"]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A role to compare with the uncompiled program.

    `reference` None compares bits alone (uncompiled with itself). `fallback` is the backend's report that something
    else did the work; `is_idle` is whether it has no such report and returned every graph unchanged. `breaks` are the
    places where graphs break, with reasons. The byte counts are None where they could not be measured. `twin` is the
    compiled role of the case's second program, if it has one. `lacking` are capabilities that are not claimed.
    """

    case: Case
    actual: RoleObservation
    expected: RoleObservation
    reference: Reference | NoReference | None = None
    evidence: Evidence | None = None
    breaks: tuple[str, ...] = ()
    fallback: str | None = None
    is_idle: bool = False
    actual_bytes: int | None = None
    expected_bytes: int | None = None
    twin: RoleObservation | None = None
    lacking: frozenset[Capability] = frozenset()

    @property
    def claims_rng(self) -> bool:
        """Whether random numbers must be the same."""
        return Capability.RNG not in self.lacking

    def calls(self) -> Iterator[tuple[int, CallObservation, CallObservation]]:
        """Yield index, actual and expected of every call that both sides made."""
        for index, (actual, expected) in enumerate(zip(self.actual.calls, self.expected.calls, strict=False)):
            yield index, actual, expected

    def returned_calls(self) -> Iterator[tuple[int, CallObservation, CallObservation]]:
        """Yield the calls that returned a result on both sides, even if backward raised."""
        return (item for item in self.calls() if _returned(item[1]) and _returned(item[2]))

    def quiet_calls(self) -> Iterator[tuple[int, CallObservation, CallObservation]]:
        """Yield the calls in which neither side raised."""
        return (item for item in self.calls() if item[1].raised is None and item[2].raised is None)


def holds_tensors(*leaves: Leaves) -> bool:
    """Whether any leaf is a tensor, so that there are facts to compare."""
    return any("dtype" in leaf.facts for each in leaves for leaf in each.values())


def _returned(call: CallObservation) -> bool:
    return call.raised is None or call.raised.stage is Stage.BACKWARD


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Result of a check: differences that break a MUST, differences that break a SHOULD, and the worst grade."""

    must: tuple[Difference, ...] = ()
    should: tuple[Difference, ...] = ()
    grade: Grade | None = None
    message: str = ""

    @classmethod
    def of(cls, comparison: Comparison) -> Finding:
        """Return the finding of a comparison of numbers, whose differences break a MUST."""
        return cls(must=comparison.differences, grade=comparison.grade, message=comparison.message)

    def if_any(self, *, compared: bool) -> Finding:
        """Return the same finding, with the grade `nothing` if nothing was compared."""
        return self if compared or self.must or self.should else replace(self, grade=Grade.NOTHING)
