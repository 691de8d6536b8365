"""The root causes of a failure: what it shows first, and apart from it what the backend's harness does.

Two failures with one root cause are taken for one defect; what a request shows later is taken for its consequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from conformance.model.enums import Outcome
from conformance.verdict.attribution import COMPILED, is_of_reuse, own_symptom, without_harness

if TYPE_CHECKING:
    from conformance.model.result import CheckResult, Record

__all__ = ["REUSE", "RootCauses", "root_causes"]

REUSE = "results lie in memory that a later call uses again"
_UNCOMPILED = {
    "engaged": "something else did the work, as the backend reports",
    "returned_unchanged": "every graph was returned as it came, for PyTorch to run it",
    "graphs": "no graph was captured",
    "backend_calls": "what the backend compiled was never called",
}
"""What a difference of the check `compiled` says, by its path."""
_NOTHING_COMPILED = "nothing was compiled"
_COMPARED = frozenset({Outcome.FAIL, Outcome.VACUOUS})
_ENDS = {Outcome.TIMEOUT: "over its time limit", Outcome.CRASH: "its process died"}


@dataclass(frozen=True, kw_only=True)
class RootCauses:
    """The root causes of a failure as text, those of the harness last.

    `is_alone`: without its one cause, with the check set aside that shows it, the request would conform.
    """

    names: tuple[str, ...] = ()
    is_alone: bool = False


def root_causes(record: Record, *, makes_moves: bool) -> RootCauses:
    """Return the root causes of a record; none of what is no failure.

    Args:
        record: of a request.
        makes_moves: whether the caller makes moves: these are not made where the plain calls differ, so that it is
            unknown what they would show.
    """
    if not record.outcome.is_failure:
        return RootCauses()
    if record.outcome not in _COMPARED:
        return RootCauses(names=(_end(record),))  # of a sequence that was cut short, checks mean little
    broken = [check for check in record.checks if check.breaks]
    own = [check for check in without_harness(broken) if check.breaks]
    names = [*([_first(record)] if own else []), *_of_harness(broken)]
    is_plain = not makes_moves or (bool(own) and own[0].check.startswith("move."))
    return RootCauses(names=tuple(names), is_alone=len(names) == 1 and len(own) <= 1 and is_plain)


def _end(record: Record) -> str:
    if record.outcome is Outcome.ERROR:
        return f"raises {own_symptom(record).said}"
    signal = record.ended.signal if record.ended and record.outcome is Outcome.CRASH else None
    return f"{_ENDS[record.outcome]}{f': {signal}' if signal else ''}"


def _first(record: Record) -> str:
    symptom = own_symptom(record)
    of = f"of {symptom.observable}" if symptom.observable not in {"", symptom.kind} else ""
    return f"{symptom.check}: {' '.join(filter(None, [symptom.kind, of]))}"


def _of_harness(broken: list[CheckResult]) -> list[str]:
    reuses = any(is_of_reuse(check.check, each) for check in broken for each in check.differences or (None,))
    idle = next((check for check in broken if check.check == COMPILED), None)
    names = [REUSE] if reuses else []
    if idle:
        path = idle.differences[0].path if idle.differences else ""
        names.append(_UNCOMPILED.get(path, _NOTHING_COMPILED))
    return names
