"""Combine the cases of several folders: return all of them, or raise every problem of any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.model.case import Case
from conformance.model.errors import CaseError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from conformance.model.case import Location

__all__ = ["OPERATIONS_DATA", "files_of", "whole"]

OPERATIONS_DATA = "operations.json"
"""The file beside the packaged cases from which families of operations are made."""


def files_of(folder: Traversable | Path) -> list[Traversable | Path]:
    """Return the case files of a folder, by name; none if there is no folder."""
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name) if folder.is_dir() else []
    return [entry for entry in entries if entry.name.endswith(".yaml")]


def whole(found: Iterable[Case | Problem]) -> tuple[Case, ...]:
    """Return the cases if nothing is wrong with any and no two have the same id.

    Raises:
        CaseError: with every problem.
    """
    found = list(found)
    cases = [each for each in found if isinstance(each, Case)]
    problems = [each for each in found if isinstance(each, Problem)]
    problems += _duplicates(cases)
    if problems:
        raise CaseError(problems)
    return tuple(cases)


def _duplicates(cases: Sequence[Case]) -> Iterator[Problem]:
    first: dict[str, Location] = {}
    for case in cases:
        if case.id in first:
            yield Problem(case.location, f"duplicate case {case.id!r}", f"The first one is at {first[case.id]}.")
        first.setdefault(case.id, case.location)
