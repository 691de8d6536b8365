"""Finds the record of a name, `BACKEND/CASE/VARIANT`, and the request that it came from."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.backend.discovery import usable
from conformance.catalogue import sources
from conformance.catalogue.selection import plan_of, time_limit
from conformance.execution import attempts
from conformance.execution.runner import records
from conformance.model.errors import RecordError, SelectionError, UsageError
from conformance.model.request import Request
from conformance.model.suggestions import nearest
from conformance.records import environment, kept, record_file
from conformance.records.find import find_kinds
from conformance.records.kept import PUBLISHED, Kind
from conformance.records.record_file import RunFile
from conformance.records.releases import refuse_mixed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conformance.model.case import Case
    from conformance.model.request import BackendInfo
    from conformance.model.result import Record

__all__ = ["Found", "cases_of", "find", "request", "request_of_case", "rerun", "with_installed_backend"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """A record, the run that it is of, and the request that was run; `path` is of its file, if it is of one."""

    record: Record
    run: RunFile
    request: Request
    path: Path | None = None


@dataclass(frozen=True, kw_only=True)
class _Name:
    """A name as typed; `variant` is empty where none is given."""

    text: str
    backend: str
    case: str
    variant: str

    def has_case_of(self, record: Record) -> bool:
        """Whether a record is of this backend and case."""
        return (record.backend, record.case_id) == (self.backend, self.case)

    def may_mean(self, record: Record) -> bool:
        """Whether the name may mean this record."""
        return self.has_case_of(record) and self.variant in {"", record.variant}


def find(name: str, places: Sequence[Path] = (), folders: Sequence[Path] = ()) -> Found:
    """Return the record that a name means.

    Args:
        name: `BACKEND/CASE`, or `BACKEND/CASE/VARIANT` where the case has several variants with a record.
        places: record files, or folders of them, of whose release folders the newest counts; default: the runs and
            checks of this folder, the last one that has the name, and then the published ones.
        folders: of cases, beyond the packaged ones and those that the run had.

    Raises:
        UsageError: there are no records, or none or several that the name may mean.
        RecordError: the records of a backend are of two releases of torch.
        ConformanceError: records or cases cannot be read.
    """
    parsed = _parts(name)
    groups, candidates = ([places], _candidates) if places else (_defaults(), _readable_candidates)
    of_case: list[_Placed] = []
    for group in groups:
        here = [each for each in candidates(parsed, group) if parsed.has_case_of(each.record)]
        if any(parsed.may_mean(each.record) for each in here):
            of_case = here
            break
        of_case = of_case or here
    if not of_case:
        raise SelectionError(_unknown(name, [place for group in groups for place in group]))
    chosen = _chosen(parsed, of_case)
    return Found(
        record=chosen.record, run=chosen.run, request=request(chosen.record, chosen.run, folders), path=chosen.path
    )


@dataclass(frozen=True, kw_only=True)
class _Placed:
    record: Record
    run: RunFile
    path: Path


def _chosen(name: _Name, of_case: Sequence[_Placed]) -> _Placed:
    """The record that is meant; of several variants the one that fails, if only one does, and makes no moves."""
    fitting = [each for each in of_case if name.may_mean(each.record)]
    red = [each for each in fitting if each.record.outcome.is_failure]
    plain = [each for each in red if "moves=" not in each.record.variant]
    for chosen in (fitting, red, plain):
        if len(chosen) == 1:
            return chosen[0]
    raise SelectionError(_several(name.text, [each.record for each in fitting or of_case]))


def _defaults() -> list[Sequence[Path]]:
    """The places that are searched by default, one after the other."""
    groups: list[Sequence[Path]] = [[path] for path in kept.earlier(Kind.RUN, Kind.CHECK)]
    groups += [[PUBLISHED]] if PUBLISHED.exists() else []
    if not groups:
        message = f"no records: no run below {kept.FOLDER} here, and no {PUBLISHED}; see --records"
        raise UsageError(message)
    return groups


def _candidates(name: _Name, places: Sequence[Path]) -> Iterator[_Placed]:
    """The records of runs that may have the case of a name; files without its id are skipped."""
    files, _ = find_kinds(*places)
    mark = json.dumps(name.case).encode()
    runs = [(path, record_file.read(path)) for path in files if mark in path.read_bytes()]
    refuse_mixed(runs)
    yield from (_Placed(record=record, run=run, path=path) for path, run in runs for record in run.records)


def request(of: Record, run: RunFile, folders: Sequence[Path] = ()) -> Request:
    """Return the request that a record came from.

    Raises:
        SelectionError: there is no such case, or no such variant of it, any more.
    """
    return request_of_case(of, run, next((each for each in cases_of(run, folders) if each.id == of.case_id), None))


def request_of_case(of: Record, run: RunFile, case: Case | None) -> Request:
    """Return the request that a record of a case came from; raises as `request`."""
    variant = next((each for each in case.variants if each.id == of.variant), None) if case else None
    if case is None or variant is None:
        message = f"no case {of.case_id} with a variant {of.variant} any more; is its folder missing (--cases)?"
        raise SelectionError(message)
    info = _backend(of, run)
    limit = time_limit(case, info, run.header.selection.timeout_s)
    return Request(case=case, backend=info, variant=variant, seed=of.seed, timeout_s=limit)


def cases_of(run: RunFile, folders: Sequence[Path] = ()) -> Iterator[Case]:
    """Yield the cases of a run that are in no file, then those that are."""
    yield from run.header.cases
    recorded = [folder for folder in map(Path, run.header.folders) if folder.is_dir()]
    yield from sources.collect(list({folder.resolve(): folder for folder in (*recorded, *folders)}.values()))


def rerun(request: Request) -> Found:
    """Run a request, with its backend as installed here, and return what a run of it alone would record.

    Raises:
        HarnessError: the fork server does not start, or died twice.
    """
    plan = plan_of([request])
    machine = environment.capture()
    (made,) = records(plan, machine)
    return Found(record=made, run=RunFile(header=record_file.make_header(plan, machine, "")), request=request)


def with_installed_backend(request: Request) -> Request:
    """The request with its backend as it is installed here: records keep no environment variables and no paths.

    Raises:
        BackendError: nothing has that name here, or it cannot be used.
        HarnessError: the fork server does not start, or died twice.
    """
    return replace(request, backend=usable(attempts.describe(request.backend.ref)))


def _readable_candidates(name: _Name, places: Sequence[Path]) -> Iterator[_Placed]:
    """The same for default places: a run by an earlier version of this package is skipped."""
    with suppress(RecordError):
        yield from _candidates(name, places)


def _parts(name: str) -> _Name:
    """Parse words separated by `/`, with blanks around it or not; a backend may contain a `/` itself."""
    words = [word.strip() for word in name.split("/")]
    variant = words.pop() if "=" in words[-1] else ""
    if len(words) < 2 or not all(words):  # noqa: PLR2004 - backend and case
        message = f"{name!r} is not of the form BACKEND/CASE or BACKEND/CASE/VARIANT"
        raise UsageError(message)
    return _Name(text=name, backend="/".join(words[:-1]), case=words[-1], variant=variant)


def _backend(of: Record, run: RunFile) -> BackendInfo:
    return next(info for info in run.header.backends if info.name == of.backend)


def _unknown(name: str, places: Sequence[Path]) -> str:
    files, _ = find_kinds(*places)
    known = {f"{record.backend}/{record.case_id}" for path in files for record in _records_of(path)}
    hint = nearest(name, sorted(known)) or "`conformance run` prints the names of what is red."
    return f"no record of {name} in {_listed(places)}.\n  {hint}"


def _records_of(path: Path) -> Sequence[Record]:
    """The records of a file; none of one that another process has just begun."""
    try:
        return record_file.read(path).records
    except RecordError:
        return ()


def _listed(places: Sequence[Path]) -> str:
    most = 3
    more = f" and {len(places) - most} earlier runs" if len(places) > most + 1 else ""
    return ", ".join(map(str, places if not more else [*places[: most - 1], places[-1]])) + more


def _several(name: str, records: Sequence[Record]) -> str:
    has_variant = "=" in name.rpartition("/")[2]
    head = f"no record of {name}; there are" if has_variant else f"{name} may be any of these; name one"
    listed = "\n".join(f"  {'/'.join(record.key)}  {record.outcome}" for record in records)
    return f"{head}:\n{listed}"
