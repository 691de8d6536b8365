"""Changes of requests between two runs, in groups that look like one cause.

Outcomes are compared, whatever the expectations are.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from conformance.model.enums import Outcome, Verdict
from conformance.model.ladder import by_ladder
from conformance.model.result import Record
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Change", "Group", "Timed", "Transition", "changes", "grouped", "how", "transition"]

Key = tuple[str, ...]


class Timed(Protocol):
    """The part of a timing that shows whether a request was timed."""

    @property
    def verdict(self) -> Verdict:
        """The verdict of its record; if it was not timed, the reason."""

    @property
    def blocks(self) -> Sequence[object]:
        """Blocks of its paired measurements; empty if it was not timed."""


R = TypeVar("R", bound=Record | Timed)

_NOT_RUN = frozenset({Verdict.UNSUPPORTED, Verdict.SKIP})


class Transition(StrEnum):
    """How a request changed between two runs, in the order in which changes are listed.

    A request that is not run is unsupported or skipped; one that is not judged is invalid.
    """

    REGRESSED = "regressed"
    NOW_VACUOUS = "now vacuous"
    FIXED = "fixed"
    FAILS_OTHERWISE = "fails otherwise"
    NO_LONGER_RUN = "no longer run"
    NEWLY_RUN = "newly run"
    NO_LONGER_JUDGED = "no longer judged"
    NEWLY_JUDGED = "newly judged"


@dataclass(frozen=True, kw_only=True)
class Change(Generic[R]):
    """A request that ended differently in the second of two runs."""

    key: Key
    transition: Transition
    before: R
    after: R

    @property
    def failing(self) -> R | None:
        """The run that fails: the later one if both fail, None if none does."""
        sides = (self.before, self.after) if self.transition is Transition.FIXED else (self.after, self.before)
        return next((side for side in sides if _fails(side)), None)

    @property
    def passes(self) -> bool:
        """Whether one of the runs passes: if it was not run, or fails otherwise, it may show the failure as well."""
        return _passes(self.before) or _passes(self.after)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Changes that look like one: the same transition and symptoms, each in the same set of backends."""

    transition: Transition
    symptoms: tuple[Symptom, Symptom]
    backends: tuple[str, ...]
    changes: Sequence[Change[Record]]

    @property
    def example(self) -> Change[Record]:
        """The change to show: that of the first backend along the ladder."""
        return next(each for name in self.backends for each in self.changes if each.before.backend == name)


def changes(before: Mapping[Key, R], after: Mapping[Key, R]) -> list[Change[R]]:
    """Return every request of both runs that ended differently, sorted by key."""
    return [
        Change(key=key, transition=found, before=before[key], after=after[key])
        for key in sorted(before.keys() & after.keys())
        if (found := transition(before[key], after[key]))
    ]


def transition(before: Record | Timed, after: Record | Timed) -> Transition | None:
    """Return how a request changed, or None if it did not."""
    if _runs(before) != _runs(after):
        return Transition.NO_LONGER_RUN if _runs(before) else Transition.NEWLY_RUN
    if _judged(before) != _judged(after):
        return Transition.NO_LONGER_JUDGED if _judged(before) else Transition.NEWLY_JUDGED
    if _passes(before) and _fails(after):
        return Transition.NOW_VACUOUS if how(after) == Outcome.VACUOUS else Transition.REGRESSED
    if _fails(before) and _passes(after):
        return Transition.FIXED
    return Transition.FAILS_OTHERWISE if _fails(after) and not _same_failure(before, after) else None


def how(result: Record | Timed) -> str:
    """Return the outcome and the checks that decide it; for a timing, its verdict or whether it was timed."""
    if not isinstance(result, Record):
        return result.verdict.value if not _runs(result) else "timed" if result.blocks else "not timed"
    checks = ", ".join(sorted(check.check for check in result.checks if check.breaks))
    raised = result.raised.type if result.raised and result.outcome is Outcome.ERROR else ""
    return ": ".join(filter(None, [result.outcome.value, checks if result.outcome is Outcome.FAIL else raised]))


def grouped(found: Iterable[Change[Record]]) -> list[Group]:
    """Group changes that look alike, in the order of transitions, the largest groups first."""
    by_case: defaultdict[tuple[Transition, tuple[Symptom, Symptom], str, str], list[Change[Record]]] = defaultdict(list)
    for change in found:
        symptoms = (Symptom.of_record(change.before), Symptom.of_record(change.after))
        by_case[change.transition, symptoms, change.before.case_id, change.before.variant].append(change)
    groups: defaultdict[tuple[Transition, tuple[Symptom, Symptom], tuple[str, ...]], list[Change[Record]]]
    groups = defaultdict(list)
    for (kind, symptoms, *_), each in by_case.items():
        groups[kind, symptoms, tuple(by_ladder(change.before.backend for change in each))] += each
    made = [
        Group(transition=kind, symptoms=symptoms, backends=backends, changes=each)
        for (kind, symptoms, backends), each in groups.items()
    ]
    order = list(Transition)
    return sorted(made, key=lambda it: (order.index(it.transition), -len(it.changes), it.symptoms, it.backends))


def _passes(result: Record | Timed) -> bool:
    return result.outcome is Outcome.PASS if isinstance(result, Record) else bool(result.blocks)


def _fails(result: Record | Timed) -> bool:
    return result.outcome.is_failure if isinstance(result, Record) else _runs(result) and not result.blocks


def _runs(result: Record | Timed) -> bool:
    if isinstance(result, Record):
        return result.outcome not in {Outcome.UNSUPPORTED, Outcome.SKIP}
    return result.verdict not in _NOT_RUN


def _judged(result: Record | Timed) -> bool:
    """Whether it is a result about the backend: an invalid request is not."""
    return _passes(result) or _fails(result)


def _same_failure(before: Record | Timed, after: Record | Timed) -> bool:
    """Whether two failures of one request are the same: in the same checks, with the same symptom."""
    alike = how(before) == how(after)
    if isinstance(before, Record) and isinstance(after, Record):
        return alike and Symptom.of_record(before) == Symptom.of_record(after)
    return alike
