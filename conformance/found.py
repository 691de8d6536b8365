"""From what a reader of tables types, `BACKEND/CASE/VARIANT`, to the record and the request that it came from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from conformance import environment, homes, isolate, record
from conformance.discover import usable
from conformance.errors import SelectionError, UsageError
from conformance.frame import find_kinds
from conformance.model import Request
from conformance.record import RunFile
from conformance.releases import refuse_mixed
from conformance.runner import records
from conformance.selection import plan_of, time_limit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from conformance.model import BackendInfo, Case, Record

__all__ = ["CHECKED", "DEFAULT", "Found", "find", "live", "now", "request"]

CHECKED = Path("conformance-check.jsonl")
"""The records of the last check here."""

DEFAULT = (Path("conformance-records.jsonl"), Path("results", "records"))
"""Where records are looked for unless it is said: those of the last run here, else the published ones.

Those of the last check go before them, where they have what is asked for.
"""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A record, the run that it is of, and the request that was run."""

    record: Record
    run: RunFile
    request: Request


def find(name: str, places: Sequence[Path] = (), folders: Sequence[Path] = ()) -> Found:
    """The record that a name means.

    Args:
        name: `BACKEND/CASE`, or `BACKEND/CASE/VARIANT` where the case has several variants with a record.
        places: record files, or folders of them, of whose release folders the newest counts; default: the first of
            `DEFAULT` that exists.
        folders: of cases, beyond the packaged ones and those that the run had.

    Raises:
        UsageError: there are no records, or none or several that the name may mean.
        RecordError: the records of a backend are of two releases of torch.
        ConformanceError: records or cases cannot be read.
    """
    backend, case, variant = _parts(name)
    runs = _runs(places or _checked(backend, case))
    every = [(one, run) for run in runs for one in run.records]
    of_case = [(one, run) for one, run in every if (one.backend, one.case_id) == (backend, case)]
    if not of_case:
        raise SelectionError(_unknown(name, {f"{one.backend}/{one.case_id}" for one, _ in every}))
    fitting = [(one, run) for one, run in of_case if variant in {"", one.variant}]
    red = [(one, run) for one, run in fitting if one.outcome.is_failure]
    # Of several variants the one is meant that fails, if it is one.
    chosen = red if len(fitting) > 1 and len(red) == 1 else fitting
    if len(chosen) != 1:
        raise SelectionError(_several(name, of_case if not fitting else chosen))
    found, run = chosen[0]
    return Found(record=found, run=run, request=request(found, run, folders))


def request(of: Record, run: RunFile, folders: Sequence[Path] = ()) -> Request:
    """The request that a record came from.

    Raises:
        SelectionError: there is no such case, or no such variant of it, any more.
    """
    case = next((each for each in _cases(run, folders) if each.id == of.case_id), None)
    variant = next((each for each in case.variants if each.id == of.variant), None) if case else None
    if case is None or variant is None:
        message = f"no case {of.case_id} with a variant {of.variant} any more; is its folder missing (--cases)?"
        raise SelectionError(message)
    info = _backend(of, run)
    limit = time_limit(case, info, run.header.selection.get("timeout_s"))
    return Request(case=case, backend=info, variant=variant, seed=of.seed, timeout_s=limit)


def _cases(run: RunFile, folders: Sequence[Path]) -> Iterator[Case]:
    """The cases of a run that are in no file, then those that are."""
    yield from run.header.cases
    told = [folder for folder in map(Path, run.header.folders) if folder.is_dir()]
    yield from homes.collect(list({folder.resolve(): folder for folder in (*told, *folders)}.values()))


def now(request: Request) -> Found:
    """Run a request, with its backend as it is here, and give what a run of it alone would have recorded.

    Raises:
        HarnessError: the fork server does not start, or died twice.
    """
    plan = plan_of([request])
    machine = environment.capture()
    (made,) = records(plan, machine)
    return Found(record=made, run=RunFile(header=record.make_header(plan, machine, "")), request=request)


def live(request: Request) -> Request:
    """The request with its backend as it is installed here: records keep no environment variables and no paths.

    Raises:
        BackendError: nothing has that name here, or it cannot be used.
        HarnessError: the fork server does not start, or died twice.
    """
    return replace(request, backend=usable(isolate.describe(request.backend.ref)))


def _parts(name: str) -> tuple[str, str, str]:
    """Words apart by `/`, with blanks around it or not, as summaries print them; a backend may have a `/` itself."""
    words = [word.strip() for word in name.split("/")]
    variant = words.pop() if "=" in words[-1] else ""
    if len(words) < 2 or not all(words):  # noqa: PLR2004 - backend and case
        message = f"{name!r} is not of the form BACKEND/CASE or BACKEND/CASE/VARIANT"
        raise UsageError(message)
    return "/".join(words[:-1]), words[-1], variant


def _checked(backend: str, case: str) -> list[Path]:
    """The records of the last check, if they have this backend and case, or there are no others."""
    if not CHECKED.exists():
        return []
    known = {(one.backend, one.case_id) for one in record.read(CHECKED).records}
    return [CHECKED] if (backend, case) in known or not any(place.exists() for place in DEFAULT) else []


def _runs(places: Sequence[Path]) -> list[RunFile]:
    chosen = list(places) or [place for place in DEFAULT if place.exists()][:1]
    if not chosen:
        message = f"no records: none of {', '.join(map(str, (CHECKED, *DEFAULT)))} is here; see --records"
        raise UsageError(message)
    files, _ = find_kinds(*chosen)
    runs = [(path, record.read(path)) for path in files]
    refuse_mixed(runs)
    return [run for _, run in runs]


def _backend(of: Record, run: RunFile) -> BackendInfo:
    return next(info for info in run.header.backends if info.name == of.backend)


def _unknown(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, known, n=3)
    hint = f"Did you mean {' or '.join(close)}?" if close else "`conformance run` prints the names of what is red."
    return f"no record of {name}.\n  {hint}"


def _several(name: str, records: Sequence[tuple[Record, RunFile]]) -> str:
    named = "=" in name.rpartition("/")[2]
    said = f"no record of {name}; there are" if named else f"{name} may be any of these; name one"
    listed = "\n".join(f"  {'/'.join(one.key)}  {one.outcome}" for one, _ in records)
    return f"{said}:\n{listed}"
