"""The stand-alone scripts of the site: one for each case and symptom of a backend, which its requests share."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from conformance.catalogue import sources
from conformance.model.errors import UsageError
from conformance.triage import lookup
from conformance.triage.lookup import Found
from conformance.triage.repro import script
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from conformance.model.case import Case
    from conformance.model.result import Record
    from conformance.records.record_file import RunFile
    from conformance.triage.repro.script import Compiler

__all__ = ["compilers", "scripts"]


def compilers(runs: Iterable[RunFile]) -> dict[str, Compiler]:
    """Ask how a script names each backend; one that cannot be named here, or is not installed, is left out.

    Raises:
        HarnessError: the fork server does not start, or died twice.
    """
    found = {}
    for info in {info.name: info for run in runs for info in run.header.backends}.values():
        with suppress(UsageError):
            found[info.name] = script.compiler(info)
    return found


def scripts(runs: Iterable[RunFile], known: Mapping[str, Compiler]) -> dict[str, dict[str, Any]]:
    """Return, of each backend, the texts of its scripts and which of them shows a request, by `case variant`."""
    cases = {case.id: case for case in sources.collect()}
    return {
        backend: found
        for run in runs
        for backend, how in known.items()
        if (found := _scripts([one for one in run.records if one.backend == backend], run, how, cases))["of"]
    }


def _scripts(records: Sequence[Record], run: RunFile, how: Compiler, cases: Mapping[str, Case]) -> dict[str, Any]:
    texts: list[str] = []
    places: dict[tuple[str, str], int | None] = {}
    of: dict[str, int] = {}
    every = {**cases, **{case.id: case for case in run.header.cases}}
    for record in records:
        if record.verdict.conforms or not record.verdict.scored or record.case_id not in every:
            continue
        key = (record.case_id, str(Symptom.of_record(record)))
        if key not in places:
            text = _text(record, run, every[record.case_id], how)
            places[key] = len(texts) if text else None
            texts += [text] if text else []
        if (place := places[key]) is not None:
            of[f"{record.case_id} {record.variant}"] = place
    return {"texts": texts, "of": of}


def _text(record: Record, run: RunFile, case: Case, how: Compiler) -> str:
    """The script of a record; empty where there is none."""
    with suppress(UsageError):  # one that the case has no variant for any more, too
        request = lookup.request_of_case(record, run, case)
        return script.render_script(Found(record=record, run=run, request=request), how)
    return ""
