"""Findings of fuzzing: distinguished by symptom, first rung that shows it and shape of the nest; known or new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from conformance.catalogue.writer import filename
from conformance.records.jsonl import as_record_error
from conformance.verdict.symptom import Symptom  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from conformance.model.case import Case

__all__ = [
    "FuzzFinding",
    "code",
    "merged",
    "write",
]


@dataclass(frozen=True, kw_only=True)
class FuzzFinding:
    """One way in which a backend differs from the uncompiled program.

    Args:
        symptom: what goes wrong.
        rung: the first of PyTorch's own backends that shows it, else the backend itself; empty where none does alone.
        nest: how the modes of the shrunk program are nested; empty where the finding is known.
        case_id: of the program that shows it.
        program: its text.
        known: the case of the suite that shows it too; empty where it is new.
        file: the name of the case's file; empty where the finding is known.
    """

    symptom: Symptom
    rung: str
    nest: str
    case_id: str
    program: str
    known: str = ""
    file: str = ""

    @property
    def key(self) -> tuple[Symptom, str, str]:
        """Deduplication key."""
        return (self.symptom, self.rung, self.nest)


def merged(findings: Iterable[FuzzFinding]) -> list[FuzzFinding]:
    """The first finding of each key, in their order."""
    found: dict[tuple[Symptom, str, str], FuzzFinding] = {}
    for finding in findings:
        found.setdefault(finding.key, finding)
    return list(found.values())


def code(case: Case) -> tuple[str, ...]:
    """The parts of a case that make its program, whatever its id."""
    return (case.program, case.setup, repr(case.inputs), repr(case.calls), repr(case.variants))


def write(folder: Path, case: Case, dump: Callable[[Case], str]) -> str:
    """Write a case into a file of its own, which `conformance run --cases` takes with its folder; return its name.

    Raises:
        RecordError: it cannot be written.
    """
    path = folder / filename(case)
    with as_record_error(f"cannot write {path}"):
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(dump(case), encoding="utf-8")
    return path.name
