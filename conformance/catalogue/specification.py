"""The clauses of `cases/SPEC.md`, and whether the cases of the suite cover them."""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files
from typing import TYPE_CHECKING

from conformance.model.case import Location
from conformance.model.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conformance.model.case import Case

__all__ = ["chapter_titles", "clause_texts", "clauses", "uncovered"]

_CLAUSE = re.compile(r"^- \*\*([A-Z]{2}-[0-9]+)\*\* ", re.MULTILINE)
_WHOLE = re.compile(_CLAUSE.pattern + r"((?:.+\n?)(?:  .+\n?)*)", re.MULTILINE)
_CHAPTER = re.compile(r"^## ([A-Z]{2}): (.+)$", re.MULTILINE)
_ENOUGH = 2  # cases of a clause


def clauses(text: str | None = None) -> dict[str, Location]:
    """Return each clause and its place; `text` is the specification to read in place of the packaged one."""
    text = _packaged() if text is None else text
    found = ((match[1], text.count("\n", 0, match.start()) + 1) for match in _CLAUSE.finditer(text))
    return {clause: Location(file="cases/SPEC.md", line=line, column=5) for clause, line in found}


def clause_texts() -> dict[str, str]:
    """Return each clause of the packaged specification in one line, with its reason and links."""
    text = _packaged()
    return {found[1]: " ".join(found[2].split()) for found in _WHOLE.finditer(text)}


def chapter_titles() -> dict[str, str]:
    """Return the title of each chapter of the packaged specification."""
    return dict(_CHAPTER.findall(_packaged()))


def _packaged() -> str:
    return (files("conformance.cases") / "SPEC.md").read_text(encoding="utf-8")


def uncovered(cases: Iterable[Case], known: dict[str, Location]) -> list[Problem]:
    """Report clauses that fewer than two cases test, and clauses of cases that the specification does not have."""
    cases = list(cases)
    tested = Counter(clause for case in cases for clause in case.clauses)
    problems = [
        Problem(place, f"the clause {clause} is tested by {tested[clause]} cases", f"Each needs {_ENOUGH} or more.")
        for clause, place in known.items()
        if tested[clause] < _ENOUGH
    ]
    return problems + [
        Problem(case.location, f"unknown clause {clause!r} in case {case.id!r}", "The clauses are in cases/SPEC.md.")
        for case in cases
        for clause in case.clauses
        if clause not in known
    ]
