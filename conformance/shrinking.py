"""One `conformance shrink`: from a record, or a case and a backend, to the smallest case and its script."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from conformance import case_text, found, isolate, script
from conformance.errors import SelectionError, UsageError
from conformance.homes import collect
from conformance.selection import select
from conformance.shrink import shrink
from conformance.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from conformance.found import Found
    from conformance.shrink import Shrunk

__all__ = ["Small", "fresh", "recorded", "shrunk", "text", "write"]


@dataclass(frozen=True, kw_only=True)
class Small:
    """What a failure was shrunk to: the search, the case as YAML, and its script (or why there is none)."""

    search: Shrunk
    yaml: str
    script: str
    no_script: str = ""


def recorded(name: str, places: Sequence[Path] = (), folders: Sequence[Path] = ()) -> Found:
    """A failure of a record that is to be shrunk; the arguments are those of `conformance.found.find`.

    Raises:
        UsageError: there is no such record, or it is of no failure.
        ConformanceError: records, cases or the backend cannot be read.
    """
    one = found.find(name, places, folders)
    return _failing(replace(one, request=found.live(one.request)))


def fresh(case_id: str, backend: str, variant: str = "", folders: Sequence[Path] = ()) -> Found:
    """A failure that is to be shrunk, of a case that is run on a backend now.

    Args:
        case_id: of the case.
        backend: as `--backend` takes it.
        variant: which one of the case; empty: the first.
        folders: of cases, beyond the packaged ones.

    Raises:
        UsageError: there is no such case, or it does not fail.
        ConformanceError: cases or the backend cannot be read.
    """
    cases = [case for case in collect(folders) if case.id == case_id]
    if not cases:
        message = f"no case {case_id!r}.\n  `conformance list` shows what there is."
        raise SelectionError(message)
    plan = select(cases, [isolate.describe(backend)], case_globs=[case_id], variants=[variant] if variant else [])
    return _failing(found.now(plan.requests[0]))


def _failing(one: Found) -> Found:
    if not one.record.outcome.is_failure:
        message = f"{'/'.join(one.record.key)}: {one.record.outcome}; there is no failure to shrink"
        raise UsageError(message)
    return one


def shrunk(of: Found, *, budget: int, jobs: int, advance: Callable[[str], None]) -> Small:
    """Shrink a failure, and write its script.

    Raises:
        UsageError: it does not show any more.
        HarnessError: the fork server does not start, or died twice.
    """
    search = shrink(of.request, Symptom.of_record(of.record), isolate.run, advance, budget, jobs=jobs)
    small = found.now(search.request)
    yaml = case_text.dump(search.request.case)
    try:
        return Small(search=search, yaml=yaml, script=script.of(small, script.compiler(small.request.backend)))
    except UsageError as error:
        return Small(search=search, yaml=yaml, script="", no_script=str(error))


def text(of: Small) -> str:
    """Both for a terminal, and what it took."""
    return "\n".join([f"# {_taken(of)}", of.yaml, of.script or f"# no script: {of.no_script}"])


def write(of: Small, folder: Path) -> str:
    """Write both into a folder; tells their names."""
    folder.mkdir(parents=True, exist_ok=True)
    case = folder / case_text.filename(of.search.request.case)
    case.write_text(of.yaml, encoding="utf-8")
    written = [str(case)]
    if of.script:
        path = folder / f"{of.search.request.case.id.rpartition('.')[2]}.py"
        path.write_text(of.script, encoding="utf-8")
        written.append(str(path))
    return "\n".join([_taken(of), *(f"{path}: written" for path in written), *filter(None, [of.no_script])])


def _taken(of: Small) -> str:
    ended = "; the budget ended the search" if of.search.exhausted else ""
    lines = len(of.search.request.case.program.strip().splitlines())
    return f"{lines} lines after {of.search.tried} attempts, {of.search.accepted} of them smaller{ended}"
