"""The command that rewrites a backend's file of expectations: from one run, or from runs on several releases."""

from __future__ import annotations

from itertools import compress
from operator import not_
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.backend import discovery
from conformance.catalogue.sources import collect
from conformance.catalogue.yaml_source import compose
from conformance.execution import attempts
from conformance.isolation import tasks
from conformance.maintenance.ranged_renewal import renew_ranged
from conformance.maintenance.renewal import Renewal, blocks_of, observed_run, renew
from conformance.model.check_catalogue import CATALOGUE
from conformance.model.errors import UsageError
from conformance.records.find import find_kinds
from conformance.records.record_file import read
from conformance.verdict.expectations import Host, areas_of, entries, is_aside, load_expectations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.model.case import Case
    from conformance.model.request import BackendInfo
    from conformance.model.result import Record
    from conformance.records.record_file import RunFile

__all__ = ["update"]


def update(
    places: Sequence[Path], *, backend: str | None, like: str | None, output: Path | None
) -> tuple[Path, Renewal]:
    """Rewrite the file of expectations of a backend.

    Args:
        places: record files, or folders of them, of complete runs. From runs on several releases the file
            becomes one that is green on all of them.
        backend: the name of one of their backends; None where they have only one.
        like: spec of the backend whose reasons apply to what fails in the same way.
        output: the file; default: the backend's own, else `<name>.expected.yaml` in the working directory.

    Raises:
        ConformanceError: the records or the file cannot be read, there is no such backend, or builds of one release
            disagree.
    """
    if like is not None:
        discovery.refuse_unknown(like)
    runs = _runs(places, backend)
    (name,) = {info.name for _, info in runs}
    own_cases = [case for run, _ in runs for case in run.header.cases]
    cases = (*collect(list({Path(folder): None for run, _ in runs for folder in run.header.folders})), *own_cases)
    try:
        # The backend's own file may only name cases that everybody has.
        own_file = None if own_cases else attempts.describe(runs[0][1].ref).expectations
        path = output or own_file or Path(f"{name}.expected.yaml")
        model = attempts.describe(like).expectations if like else None
    finally:
        tasks.shutdown()
    text, aside = _apart(path, cases)
    renewal = _renewed(text, str(path), runs, cases, model)
    path.write_text("\n".join(filter(None, (renewal.text, aside))), encoding="utf-8")
    return path, renewal


def _apart(path: Path, cases: Sequence[Case]) -> tuple[str, str]:
    """The text of a file without the entries about cases of which the runs have none, and these; empty if it is new."""
    if not path.is_file():
        return "", ""
    document = compose(path.read_text(encoding="utf-8"), str(path))
    head, blocks = blocks_of(document)
    areas = areas_of(case.id for case in cases)
    aside = [all(is_aside(each.cases, areas) for each in entry) for entry in entries(document)]
    return head + "".join(compress(blocks, map(not_, aside))), "".join(compress(blocks, aside))


def _renewed(
    text: str, file: str, runs: Sequence[tuple[RunFile, BackendInfo]], cases: Sequence[Case], model: Path | None
) -> Renewal:
    ids = {case.id for case in cases}
    facts = []
    for run, info in runs:
        host = Host.of(run.header.environment, info)
        like = load_expectations(model, case_ids=ids, checks=CATALOGUE.keys(), host=host) if model else ()
        facts.append((_records(run, info), host, like))
    if len(facts) == 1:
        ((records, host, like),) = facts
        return renew(text, file, records, cases, host=host, like=like)
    return renew_ranged(text, file, [observed_run(records, cases, host, like) for records, host, like in facts])


def _records(run: RunFile, info: BackendInfo) -> list[Record]:
    return [record for record in run.records if record.backend == info.name]


def _runs(places: Sequence[Path], name: str | None) -> list[tuple[RunFile, BackendInfo]]:
    """The runs at some places, each with its backend; of a folder those that have it."""
    found = []
    for place in places:
        runs = [read(path) for path in find_kinds(place)[0]]
        having = [run for run in runs if any(name in (None, info.name) for info in run.header.backends)]
        found += [(run, _backend(run, name)) for run in having or runs]
    if len(names := {info.name for _, info in found}) > 1:
        message = f"the runs are of {', '.join(sorted(names))}; choose one with --backend"
        raise UsageError(message)
    return found


def _backend(run: RunFile, name: str | None) -> BackendInfo:
    """The backend of a run; an incomplete run proves nothing about what it lacks."""
    if run.footer is None:
        message = "the run did not come to its end: continue it with `conformance run --resume`"
        raise UsageError(message)
    named = [info for info in run.header.backends if name in (None, info.name)]
    if len(named) != 1:
        names = ", ".join(info.name for info in run.header.backends)
        message = f"the run is of {names}" + (f", not of {name!r}" if name else "; choose one with --backend")
        raise UsageError(message)
    return named[0]
