"""Results of stand-alone scripts on releases of torch, stored beside the records that they were made from.

The file is not a record file: it is JSON with one line for each script, without paths of a machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations at run time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from conformance.model import codec
from conformance.model.enums import Outcome
from conformance.records.jsonl import as_record_error, reading
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from conformance.model.result import Record

__all__ = ["NAME", "RAISED", "ScriptResult", "ScriptRun", "key_of", "read", "write"]

NAME = "confirmations.json"

RAISED = 70
"""The exit status of a script whose program raises, as `triage.repro.running` runs it; 1 is a difference."""


@dataclass(frozen=True, kw_only=True)
class ScriptResult:
    """Result of the script of one failing record.

    Args:
        backend: backend of the record.
        case: id of the case.
        variant: id of the variant.
        release: release of torch that the record was made on.
        symptom: symptom of the record, so that a script of an earlier record does not count.
        statuses: exit status of the script, by release: below 0 the signal that ended it, None if it does not end.
        refused: why there is no script.
    """

    backend: str
    case: str
    variant: str
    release: str
    symptom: str
    statuses: Mapping[str, int | None] = field(default_factory=dict)
    refused: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """The key of the record, including release and symptom."""
        return (self.backend, self.case, self.variant, self.release, self.symptom)


def key_of(record: Record, release: str) -> tuple[str, ...]:
    """Return the key of the result for a record that was made on a release."""
    return (record.backend, record.case_id, record.variant, release, str(Symptom.of_record(record)))


def read(path: Path) -> tuple[ScriptResult, ...]:
    """Return the results in a file; none if there is no file.

    Raises:
        RecordError: it cannot be read, or contains something else.
    """
    if not path.exists():
        return ()
    with reading(f"cannot read {path}"):
        return codec.from_plain(tuple[ScriptResult, ...], json.loads(path.read_text(encoding="utf-8")))


def write(path: Path, results: Iterable[ScriptResult]) -> None:
    """Write results, sorted, one on each line.

    Raises:
        RecordError: the file cannot be written.
    """
    lines = [codec.encode(codec.to_plain(each)) for each in sorted(results, key=lambda each: each.key)]
    with as_record_error(f"cannot write {path}"):
        path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class ScriptRun:
    """How a script ended: its exit status, below 0 the signal that ended it; None if it did not end in time."""

    status: int | None

    def shows(self, outcome: Outcome) -> bool:
        """Whether it ended as the script of a record with this outcome must."""
        if outcome is Outcome.TIMEOUT:
            return self.status is None
        if outcome is Outcome.CRASH:
            return self.status not in {None, 0, 1, RAISED}
        return self.status == 1

    def __str__(self) -> str:
        if self.status is None:
            return "it does not end"
        return "it raises" if self.status == RAISED else f"it exits with {self.status}"
