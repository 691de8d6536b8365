"""Every problem of case files and expectations files at once, for `conformance validate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.backend import declarations, discovery
from conformance.catalogue.loader import load_cases
from conformance.catalogue.sources import collect
from conformance.catalogue.specification import clauses, uncovered
from conformance.execution import attempts
from conformance.isolation import tasks
from conformance.model.check_catalogue import CATALOGUE
from conformance.model.errors import CaseError, ExpectationError, TorchError
from conformance.verdict.expectations import Host, load_expectations

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from conformance.model.case import Case

__all__ = ["proofread"]

_SUFFIX = ".expected.yaml"
_ANY = Host({})  # entries are checked whatever host they are for


def proofread(paths: Sequence[Path]) -> list[str]:
    """Return every problem, as text.

    Args:
        paths: folders of case files, case files, and files of expectations, which may name cases among the paths and
            installed ones. None means the installed cases, compared with the clauses of the specification, and the
            expectations of every installed backend.
    """
    places = [path for path in paths if not path.name.endswith(_SUFFIX)]
    files = [path for path in paths if path.name.endswith(_SUFFIX)]
    try:
        known = [*(load_cases(places) if places else ()), *_installed(paths, files)]
    except CaseError as error:
        unread = "expectations were not checked: the cases that they name cannot be read"
        return [*map(str, error.problems), *([unread] if files or not paths else [])]
    broken: list[str] = []
    if not paths:
        files, broken = _installed_expectations()
        broken += map(str, uncovered(known, clauses()))
    return broken + _of_expectations(files, known)


def _installed(paths: Sequence[Path], files: Sequence[Path]) -> Sequence[Case]:
    """The installed cases, where they are validated or expectations may name them.

    The cache may give them: it remembers only files without a problem, by their content.
    """
    return collect() if files or not paths else ()


def _installed_expectations() -> tuple[list[Path], list[str]]:
    """The expectations files of installed backends, and why some backends cannot be used at all.

    torch is started only for a backend whose declaration cannot be imported, to report why.
    """
    names = discovery.names()
    declared = declarations.expectations(names)
    files, others = list(declared.values()), [name for name in names if name not in declared]
    broken: list[str] = []
    try:
        for info in map(attempts.describe, others):
            files.append(info.expectations)
            broken += [f"backend {info.ref!r} cannot be used: {info.broken}"] if info.broken else []
    except TorchError as error:
        broken.append(f"the expectations of {', '.join(others)} were not checked: {error}")
    finally:
        tasks.shutdown()
    return [file for file in files if file], broken


def _of_expectations(files: Sequence[Path], known: Sequence[Case]) -> list[str]:
    ids = {case.id for case in known}
    problems: list[str] = []
    for path in files:
        try:
            load_expectations(path, case_ids=ids, checks=CATALOGUE.keys(), host=_ANY)
        except ExpectationError as error:
            problems += map(str, error.problems)
    return problems
