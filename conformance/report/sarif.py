"""Results in SARIF 2.1.0, which code scanning of GitHub and other viewers of findings read.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import Verdict
from conformance.verdict.legend import MEANING
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from conformance.model.case import Location
    from conformance.model.result import Record

__all__ = ["sarif"]

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_NAME = "torch-compile-conformance"
_NOWHERE = "cases"  # of a case that is not installed; GitHub refuses a log with a result that has no location


def sarif(records: Iterable[Record], places: Mapping[str, Location], version: str) -> str:
    """Return what does not conform as a SARIF log: a rule a check or end, a result a request.

    What is known to fail is there as suppressed, with its reason.

    Args:
        records: of a run.
        places: of the cases, by id.
        version: of the suite.
    """
    found = [record for record in records if not record.verdict.is_green or record.verdict is Verdict.XFAIL]
    rules = {rule: place for place, rule in enumerate(dict.fromkeys(map(_rule, found)))}
    driver = {"name": _NAME, "version": version, "rules": [_described(rule) for rule in rules]}
    results = [_result(record, places.get(record.case_id), rules) for record in found]
    return json.dumps(
        {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}, indent=1
    )


def _rule(record: Record) -> str:
    """The check that did not hold first; without one, how the request ended."""
    end = record.verdict if record.verdict is Verdict.XPASS else record.outcome
    return Symptom.of_record(record).check or end.value


def _described(rule: str) -> dict[str, Any]:
    spec = CATALOGUE.get(rule)
    return {"id": rule, "shortDescription": {"text": spec.sees if spec else MEANING[Verdict(rule)]}}


def _result(record: Record, place: Location | None, rules: Mapping[str, int]) -> dict[str, Any]:
    rule, known = _rule(record), record.expectation
    name = "/".join(record.key)
    made: dict[str, Any] = {
        "ruleId": rule,
        "ruleIndex": rules[rule],
        "level": "note" if record.verdict is Verdict.XFAIL else "error",
        "message": {"text": f"{name}: {record.full_message}"},
        "partialFingerprints": {"request/v1": hashlib.sha256(f"{name} {rule}".encode()).hexdigest()},
        "properties": {"verdict": record.verdict.value, "clauses": list(record.clauses), "reproduce": record.reproduce},
    }
    uri, line = (_relative(place.file), place.line) if place else (_NOWHERE, 1)
    at = {"artifactLocation": {"uri": uri}, "region": {"startLine": line}}
    made["locations"] = [{"physicalLocation": at}]
    if record.verdict is Verdict.XFAIL and known:
        made["suppressions"] = [{"kind": "external", "justification": known.reason}]
    return made


def _relative(path: str) -> str:
    """The path of a case's file as it is in a checkout of the suite."""
    return f"cases/{Path(path).name}" if Path(path).is_absolute() else path
