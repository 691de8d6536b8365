"""Symptoms: failures without numbers, names and places, equal for failures with one cause."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from conformance.model.enums import Outcome, Stage
from conformance.verdict.first_seen import broken_in_order
from conformance.verdict.judge import outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.model.result import Attempt, CheckResult, Difference, Raised, Record

__all__ = ["Symptom", "first_stage"]

_NUMBERS = frozenset({"values", "nonfinite", "bytes"})
_MESSAGE = 80  # characters
_STARTS = {
    "grad(": "gradient",
    "output": "output",
    "cotangent(": "cotangent",
    "after_backward.": "argument after backward",
}
_OF_BACKWARD = frozenset({"gradient", "cotangent", "argument after backward"})


@dataclass(frozen=True, kw_only=True, order=True)
class Symptom:
    """A failure, as a smaller program or another backend must show it to count as the same one.

    Args:
        outcome: the outcome of the request.
        check: the MUST that did not hold first; empty where there was none.
        observable: what differs first: `output`, `gradient`, `argument`, `cotangent`, or a name specific to the check.
        kind: the property that differs: values, dtype, requires_grad, ...
        said: actual and expected, if they are not numbers; for an exception, its type and the start of its message.
    """

    outcome: Outcome
    check: str = ""
    observable: str = ""
    kind: str = ""
    said: str = ""

    @classmethod
    def of(cls, attempt: Attempt) -> Symptom:
        """Return the symptom of an attempt; for a pass only the outcome."""
        ended = str(attempt.ended or "")
        return cls._of(outcome(attempt), attempt.checks, attempt.raised, ended)

    @classmethod
    def of_record(cls, record: Record) -> Symptom:
        """Return the symptom of a record; a crash is identified by what killed the child."""
        return cls._of(record.outcome, record.checks, record.raised, str(record.ended or ""))

    @classmethod
    def _of(cls, happened: Outcome, checks: Sequence[CheckResult], raised: Raised | None, ended: str) -> Symptom:
        if happened is Outcome.PASS or happened is Outcome.TIMEOUT:  # regardless of the limit
            return cls(outcome=happened)
        if happened is Outcome.CRASH:
            return cls(outcome=happened, said=ended)
        if happened is Outcome.ERROR and raised is not None:
            # Checks of a sequence that an exception cut short add little to the exception.
            return cls(outcome=happened, observable="exception", said=f"{raised.type}: {_gist(raised.message)}")
        broken = next(iter(broken_in_order(checks)), None)
        if broken is None:
            return cls(outcome=happened)
        if not broken.differences:
            return cls(outcome=happened, check=broken.check)
        first = broken.differences[0]
        return cls(
            outcome=happened, check=broken.check, observable=_observable(first), kind=first.kind, said=_words(first)
        )

    def __str__(self) -> str:
        return " ".join(filter(None, [self.check or self.outcome, self.observable, self.kind, self.said]))


def first_stage(record: Record) -> Stage:
    """Return the stage of the first difference: backward, or forward for all before it."""
    broken = next(iter(broken_in_order(record.checks)), None)
    first = broken.differences[0] if broken and broken.differences else None
    if record.outcome is Outcome.ERROR and record.raised is not None:
        is_late = record.raised.stage is Stage.BACKWARD
    else:
        is_late = first is not None and (first.stage is Stage.BACKWARD or _observable(first) in _OF_BACKWARD)
    return Stage.BACKWARD if is_late else Stage.FORWARD


def _observable(difference: Difference) -> str:
    """`output` of `call[1].output[0]['x']`, `gradient` of `grad(net.weight)`."""
    path = re.sub(r"^call\[\d+\]\.?", "", difference.path)
    if difference.kind in {"state", "evidence", "printed"}:
        return path.rpartition(".")[2]
    name = next((word for start, word in _STARTS.items() if path.startswith(start)), "")
    if name and not difference.twin:
        return name
    return difference.kind if difference.kind in {"exception", "alias", "reach"} else "argument"


def _words(difference: Difference) -> str:
    if difference.kind in _NUMBERS:
        return ""
    actual, expected = difference.actual, difference.expected
    if difference.kind == "dtype":
        return f"{actual.split()[0]}, not {expected.split()[0]}"
    return f"{_gist(actual)}, not {_gist(expected)}"


@lru_cache(maxsize=4096)  # most failures recur with the same text on other backends
def _gist(text: str) -> str:
    """The first line without what differs in a smaller program: numbers, names of nodes and backends."""
    line = re.sub(r"^backend='[^']*' raised:\s*", "", text.strip()).partition("\n")[0]
    line = re.sub(r"torch\.\w+ tensor.*", "tensor", line)
    return re.sub(r"0x[0-9a-f]+|\d+", "#", line)[:_MESSAGE]
