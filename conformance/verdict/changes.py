"""What became of each request between two runs, and which of these changes have one cause.

What is compared is what happened, whatever the expectations say of it.
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
    """A timing of a request, as far as what became of it goes."""

    @property
    def verdict(self) -> Verdict:
        """Why it was not timed, where it was not."""

    @property
    def blocks(self) -> Sequence[object]:
        """Of its paired measurements; empty where it was not timed."""


R = TypeVar("R", bound=Record | Timed)

_NOT_RUN = frozenset({Verdict.UNSUPPORTED, Verdict.SKIP})


class Transition(StrEnum):
    """How a request ended in two runs, in the order in which changes are listed.

    What is not run is unsupported or skipped; what is not judged is invalid: that says nothing of the backend.
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
    """A request of which something else came in the second of two runs."""

    key: Key
    transition: Transition
    before: R
    after: R

    @property
    def failing(self) -> R | None:
        """The side on which the failure shows: the later one where both fail; None where none does."""
        sides = (self.before, self.after) if self.transition is Transition.FIXED else (self.after, self.before)
        return next((side for side in sides if _fails(side)), None)

    @property
    def passes(self) -> bool:
        """Whether the other side passes: where it was not run, or fails otherwise, it may show the failure as well."""
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
        """The one that stands for all: of the first of PyTorch's own backends that has it."""
        return next(one for name in self.backends for one in self.changes if one.before.backend == name)


def changes(before: Mapping[Key, R], after: Mapping[Key, R]) -> list[Change[R]]:
    """Every request that both have and of which something else came, sorted by key."""
    return [
        Change(key=key, transition=found, before=before[key], after=after[key])
        for key in sorted(before.keys() & after.keys())
        if (found := transition(before[key], after[key]))
    ]


def transition(before: Record | Timed, after: Record | Timed) -> Transition | None:
    """What became of a request, or None where it is the same."""
    if _runs(before) != _runs(after):
        return Transition.NO_LONGER_RUN if _runs(before) else Transition.NEWLY_RUN
    if _judged(before) != _judged(after):
        return Transition.NO_LONGER_JUDGED if _judged(before) else Transition.NEWLY_JUDGED
    if _passes(before) and _fails(after):
        return Transition.NOW_VACUOUS if how(after) == Outcome.VACUOUS else Transition.REGRESSED
    if _fails(before) and _passes(after):
        return Transition.FIXED
    return Transition.FAILS_OTHERWISE if _fails(after) and not _same_failure(before, after) else None


def how(one: Record | Timed) -> str:
    """The outcome and the checks that decide it; a timing knows neither of a failure."""
    if not isinstance(one, Record):
        return one.verdict.value if not _runs(one) else "timed" if one.blocks else "not timed"
    checks = ", ".join(sorted(check.check for check in one.checks if check.breaks))
    raised = one.raised.type if one.raised and one.outcome is Outcome.ERROR else ""
    return ": ".join(filter(None, [one.outcome.value, checks if one.outcome is Outcome.FAIL else raised]))


def grouped(found: Iterable[Change[Record]]) -> list[Group]:
    """Put changes together that look like one, in the order of transitions, the largest groups first."""
    by_case: defaultdict[tuple[Transition, tuple[Symptom, Symptom], str, str], list[Change[Record]]] = defaultdict(list)
    for one in found:
        symptoms = (Symptom.of_record(one.before), Symptom.of_record(one.after))
        by_case[one.transition, symptoms, one.before.case_id, one.before.variant].append(one)
    groups: defaultdict[tuple[Transition, tuple[Symptom, Symptom], tuple[str, ...]], list[Change[Record]]]
    groups = defaultdict(list)
    for (became, symptoms, *_), each in by_case.items():
        groups[became, symptoms, tuple(by_ladder(one.before.backend for one in each))] += each
    made = [
        Group(transition=became, symptoms=symptoms, backends=backends, changes=each)
        for (became, symptoms, backends), each in groups.items()
    ]
    order = list(Transition)
    return sorted(made, key=lambda one: (order.index(one.transition), -len(one.changes), one.symptoms, one.backends))


def _passes(one: Record | Timed) -> bool:
    return one.outcome is Outcome.PASS if isinstance(one, Record) else bool(one.blocks)


def _fails(one: Record | Timed) -> bool:
    return one.outcome.is_failure if isinstance(one, Record) else _runs(one) and not one.blocks


def _runs(one: Record | Timed) -> bool:
    if isinstance(one, Record):
        return one.outcome not in {Outcome.UNSUPPORTED, Outcome.SKIP}
    return one.verdict not in _NOT_RUN


def _judged(one: Record | Timed) -> bool:
    """Whether it says something of the backend: an invalid request does not."""
    return _passes(one) or _fails(one)


def _same_failure(before: Record | Timed, after: Record | Timed) -> bool:
    """Whether two failures of one request are the same: in the same checks, with the same symptom."""
    alike = how(before) == how(after)
    if isinstance(before, Record) and isinstance(after, Record):
        return alike and Symptom.of_record(before) == Symptom.of_record(after)
    return alike
