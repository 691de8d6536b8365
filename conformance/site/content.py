"""What the site shows, as plain JSON values: rows of each release, details of what is no plain pass, cases, clauses."""

from __future__ import annotations

import hashlib
import shlex
from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from conformance.catalogue import sources, writer
from conformance.catalogue.specification import clause_texts
from conformance.model.enums import Capability, Verdict
from conformance.model.errors import UsageError
from conformance.model.ladder import by_ladder
from conformance.program import build
from conformance.records.frame import area_of
from conformance.site.columns import Table
from conformance.verdict.ladder import first_in_records
from conformance.verdict.legend import MEANING
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from conformance.model.case import Case
    from conformance.model.request import BackendInfo
    from conformance.model.result import CheckResult, Difference, Record
    from conformance.records.record_file import RunFile

__all__ = ["COLUMNS", "cases", "cause_of", "clauses", "details", "legend", "rows", "run_facts"]

COLUMNS = (
    "backend",
    "case",
    "variant",
    "area",
    "verdict",
    "check",
    "cause",
    "first",
    "attribution",
    "advisory",
    "clauses",
    "message",
)
_FIRST = 240  # characters of a message in a table
_DIFFERENCES = 6  # of a check, that are shown
_MESSAGE = 20_000  # characters of a whole message, or of a traceback
_VALUE = 1_000  # characters of a value in a difference
_ENVIRONMENT = ("python", "platform", "cpu", "threads", "compiler", "suite_hash", "started")


def rows(runs: Iterable[RunFile]) -> dict[str, Any]:
    """The rows of one release, one for each record, as columns."""
    table = Table(COLUMNS)
    runs = list(runs)
    rungs = first_in_records(record for run in runs for record in run.records)
    for run in runs:
        for record in run.records:
            symptom = Symptom.of_record(record)
            table.put(
                backend=record.backend,
                case=record.case_id,
                variant=record.variant,
                area=area_of(record),
                verdict=record.verdict.value,
                check=symptom.check,
                cause=cause_of(record)[0],
                first=rungs.get(record.key, ""),
                attribution=record.attribution.cause.value if record.attribution else "",
                advisory=" ".join(dict.fromkeys(check.check for check in _advisories(record))),
                clauses=" ".join(record.clauses),
                message=record.message.partition("\n")[0][:_FIRST],
            )
    return {"columns": table.columns()}


def cause_of(record: Record) -> tuple[str, str, str]:
    """The root cause of a record: a short digest of it, its words, and the issue; empty for what conforms.

    That is the reason of the known failure that applied or, without one, the symptom.
    """
    if record.verdict.conforms or not record.verdict.scored:
        return "", "", ""
    known = record.expectation if record.verdict is Verdict.XFAIL else None
    words = known.reason if known else str(Symptom.of_record(record))
    issue = known.issue or "" if known else ""
    return hashlib.sha256(words.encode()).hexdigest()[:10], words, issue


def details(runs: Iterable[RunFile]) -> dict[str, dict[str, dict[str, Any]]]:
    """Of each backend, what there is to say of each request that is no plain pass, by `case variant`."""
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for run in runs:
        for record in run.records:
            if record.verdict is not Verdict.PASS or _advisories(record):
                found[record.backend][f"{record.case_id} {record.variant}"] = _detail(record)
    return found


def run_facts(runs: Sequence[RunFile]) -> dict[str, Any]:
    """Where and with what the runs of a release were made, and what each root cause says."""
    backends = {
        info.name: _backend(info) | {"environment": _environment(run)} for run in runs for info in run.header.backends
    }
    causes = {cause[0]: cause[1:] for run in runs for record in run.records if (cause := cause_of(record))[0]}
    return {
        "backends": {name: backends[name] for name in by_ladder(backends)},
        "causes": {digest: {"words": words, "issue": issue} for digest, (words, issue) in sorted(causes.items())},
    }


def cases(names: Iterable[str], folders: Sequence[Path] = ()) -> dict[str, dict[str, dict[str, Any]]]:
    """Title, clauses, YAML and generated Python of cases that the catalogue or these folders have, by area."""
    known = {case.id: case for case in sources.collect(folders)}
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for name in sorted(set(names) & known.keys()):
        found[known[name].area][name] = _case(known[name])
    return found


def clauses() -> dict[str, str]:
    """The text of each clause of the specification."""
    return clause_texts()


def legend() -> dict[str, dict[str, Any]]:
    """What each verdict means, and how it counts."""
    return {
        verdict.value: {"mark": verdict.mark, "means": meaning, "conforms": verdict.conforms, "scored": verdict.scored}
        for verdict, meaning in MEANING.items()
    }


def _backend(info: BackendInfo) -> dict[str, Any]:
    return {
        "capabilities": sorted(map(str, info.capabilities)),
        "not_claimed": sorted(map(str, Capability.all() - info.capabilities)),
        "packages": dict(info.packages),
        "description": info.description,
        "tags": sorted(info.tags),
        "unavailable": info.unavailable or info.broken or "",
    }


def _environment(run: RunFile) -> dict[str, str]:
    return {name: str(getattr(run.header.environment, name)) for name in _ENVIRONMENT}


def _advisories(record: Record) -> list[CheckResult]:
    return [check for check in record.checks if not check.held and not check.breaks]


def _detail(record: Record) -> dict[str, Any]:
    return {
        "message": _clipped(record.full_message, _MESSAGE),
        "broken": [_check(check) for check in record.checks if check.breaks],
        "advisories": [_check(check) for check in _advisories(record)],
        "evidence": asdict(record.evidence) if record.evidence else {},
        "raised": _clipped("\n".join(record.raised.traceback), _MESSAGE) if record.raised else "",
        "reproduce": record.reproduce,
        "script": f"conformance repro {shlex.quote('/'.join(record.key))} > repro.py",
    }


def _check(result: CheckResult) -> dict[str, Any]:
    shown = [_difference(each) for each in result.differences[:_DIFFERENCES]]
    return {"check": result.check, "differences": shown, "more": len(result.differences) - len(shown)}


def _difference(each: Difference) -> dict[str, Any]:
    numbers = {"max_abs": each.max_abs, "ulp": each.ulp, "mismatched": each.mismatched, "total": each.total}
    sides = {"actual": _clipped(each.actual, _VALUE), "expected": _clipped(each.expected, _VALUE)}
    return (
        {"place": each.place, "kind": each.kind}
        | sides
        | {name: value for name, value in numbers.items() if value is not None}
    )


def _clipped(text: str, most: int) -> str:
    """Text that a page can show: a backend may print megabytes."""
    return text if len(text) <= most else f"{text[:most]} ... ({len(text) - most:,} more characters)"


def _case(case: Case) -> dict[str, Any]:
    try:
        text = writer.dump(case)
    except UsageError:  # what a family generated, no file can say
        text = ""
    return {
        "title": case.title,
        "clauses": list(case.clauses),
        "source": case.source or "",
        "yaml": text,
        "python": build.generate(case, case.variants[0]).source,
    }
