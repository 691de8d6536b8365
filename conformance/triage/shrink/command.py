"""One `conformance shrink`: from a record, or a case and a backend, to the smallest case and its script."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from conformance.backend import discovery
from conformance.catalogue import writer
from conformance.catalogue.selection import select
from conformance.catalogue.sources import case_called
from conformance.execution import attempts
from conformance.model.errors import UsageError
from conformance.model.moves import move_of
from conformance.records.jsonl import as_record_error
from conformance.triage import lookup
from conformance.triage.case_file import written_out
from conformance.triage.repro import script
from conformance.triage.repro.running import unshown
from conformance.triage.shrink.search import shrink
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from conformance.model.request import Request
    from conformance.triage.lookup import Found
    from conformance.triage.shrink.search import Shrunk

__all__ = ["Small", "fresh", "recorded", "shrunk", "text", "write"]


@dataclass(frozen=True, kw_only=True)
class Small:
    """What a failure was shrunk to: the search, the case as YAML, and its script (or why they are missing).

    `unshown` is why the script does not show the failure; empty where it was run and does.
    """

    search: Shrunk
    yaml: str
    script: str
    no_yaml: str = ""
    no_script: str = ""
    unshown: str = ""


def recorded(name: str, places: Sequence[Path] = (), folders: Sequence[Path] = ()) -> Found:
    """Return the recorded failure to shrink; the arguments are those of `conformance.triage.lookup.find`.

    Raises:
        UsageError: there is no such record, or it is of no failure.
        ConformanceError: records, cases or the backend cannot be read.
    """
    found = lookup.find(name, places, folders)
    return _failing(replace(found, request=lookup.with_installed_backend(found.request)))


def fresh(case_id: str, backend: str, variant: str = "", folders: Sequence[Path] = ()) -> Found:
    """Run a case on a backend, and return the failure to shrink.

    Args:
        case_id: of the case.
        backend: its spec.
        variant: of the case; empty: the first.
        folders: of cases, beyond the packaged ones.

    Raises:
        UsageError: there is no such case, or it does not fail.
        ConformanceError: cases or the backend cannot be read.
    """
    cases, variants = [case_called(case_id, folders)], [variant] if variant else []
    select(cases, (), variants=variants)  # a wrong variant is refused before torch starts
    infos = discovery.find([backend], attempts.describe)
    plan = select(cases, infos, case_globs=[case_id], variants=variants)
    return _failing(lookup.rerun(plan.requests[0]))


def _failing(found: Found) -> Found:
    if not found.record.outcome.is_failure:
        message = f"{'/'.join(found.record.key)}: {found.record.outcome}; there is no failure to shrink"
        raise UsageError(message)
    return found


def shrunk(of: Found, *, budget: int, jobs: int, advance: Callable[[str], None]) -> Small:
    """Shrink a failure, write its script, and run it.

    Raises:
        UsageError: it no longer shows.
        HarnessError: the fork server does not start, or died twice.
    """
    symptom = Symptom.of_record(of.record)
    # A function of a user is shrunk as a case, if it is one and fails alike as such; else all but its text is.
    as_case = (request for request in written_out(of.request) if Symptom.of(attempts.run(request)) == symptom)
    start = _of_one_move(next(as_case, of.request), symptom)
    search = shrink(start, symptom, attempts.run, advance, budget, jobs=jobs)
    small = lookup.rerun(search.request)
    yaml, no_yaml = _or_why(lambda: writer.dump(search.request.case))
    text, no_text = _or_why(lambda: script.render_script(small, script.compiler(small.request.backend)))
    why = unshown(text, small.record.outcome, small.request.timeout_s) if text else ""
    return Small(search=search, yaml=yaml, no_yaml=no_yaml, script=text, no_script=no_text, unshown=why)


def _of_one_move(request: Request, symptom: Symptom) -> Request:
    """The request with no move but the one that shows the symptom, if that one shows it without the others."""
    move = move_of(symptom.check)
    if move is None:
        return request
    variant = replace(request.variant, moves=move.name)
    alone = replace(request, variant=variant, case=replace(request.case, variants=(variant,)))
    return alone if Symptom.of(attempts.run(alone)) == symptom else request


def _or_why(make: Callable[[], str]) -> tuple[str, str]:
    """The result and '', or '' and why there is none."""
    try:
        return make(), ""
    except UsageError as error:
        return "", str(error)


def text(of: Small) -> str:
    """The case and the script for a terminal, and how many attempts it took."""
    yaml, script = of.yaml or f"# no case: {of.no_yaml}", of.script or f"# no script: {of.no_script}"
    return "\n".join([f"# {_taken(of)}", yaml, script])


def write(of: Small, folder: Path) -> str:
    """Write the case and the script into a folder; return their names.

    Raises:
        RecordError: it cannot be written to.
    """
    case = folder / writer.filename(of.search.request.case)
    files = {path: text for path, text in ((case, of.yaml), (case.with_suffix(".py"), of.script)) if text}
    with as_record_error(f"cannot write into {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
    return "\n".join([_taken(of), *(f"{path}: written" for path in files), *filter(None, [of.no_yaml, of.no_script])])


def _taken(of: Small) -> str:
    ended = "; the budget ended the search" if of.search.exhausted else ""
    lines = len(of.search.request.case.program.strip().splitlines())
    return f"{lines} lines after {of.search.tried} attempts, {of.search.accepted} of them smaller{ended}"
