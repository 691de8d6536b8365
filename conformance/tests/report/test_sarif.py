from __future__ import annotations

import json
from typing import Any

from conformance.model.case import Location
from conformance.model.enums import Outcome, Verdict
from conformance.report.sarif import sarif
from conformance.tests.fakes import a_record
from conformance.tests.runs import an_unsupported, an_xfail, red

PLACES = {"demo.first.two": Location(file="cases/demo_first.yaml", line=7)}


def _run(*records: Any) -> dict[str, Any]:
    log = json.loads(sarif(records, PLACES, "1.0"))
    (run,) = log["runs"]
    assert log["version"] == "2.1.0"
    found: dict[str, Any] = run
    return found


def test_a_result_a_request_that_does_not_conform() -> None:
    """At the line of its case, with the command; what passes or is not claimed is none."""
    run = _run(a_record(), red(case_id="demo.first.two"), an_unsupported(case_id="demo.first.four"))
    (result,) = run["results"]
    (place,) = (each["physicalLocation"] for each in result["locations"])
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("cases/demo_first.yaml", 7)
    assert result["level"] == "error"
    assert result["properties"]["reproduce"].startswith("conformance run --backend fake")
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "values"


def test_what_is_known_is_suppressed() -> None:
    """With its reason."""
    record = an_xfail()
    (result,) = _run(record)["results"]
    assert record.expectation
    assert result["level"] == "note"
    assert result["suppressions"] == [{"kind": "external", "justification": record.expectation.reason}]


def test_what_ended_without_a_check_is_a_rule_of_its_own() -> None:
    """Such as a crash, and a pass that was expected to fail; each is described."""
    ended = a_record(outcome=Outcome.TIMEOUT, verdict=Verdict.TIMEOUT, checks=())
    run = _run(ended, a_record("demo.first.two", verdict=Verdict.XPASS))
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["timeout", "xpass"]
    assert all(rule["shortDescription"]["text"] for rule in run["tool"]["driver"]["rules"])


def test_every_result_has_a_place() -> None:
    """Code scanning refuses a log with one that has none; paths are those of a checkout."""
    places = {"demo.first.two": Location(file="/site-packages/cases/demo_first.yaml", line=7)}
    log = json.loads(sarif([red(case_id="demo.first.two"), red(case_id="gone.case.now")], places, "1.0"))
    found = [
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in log["runs"][0]["results"]
    ]
    assert found == ["cases/demo_first.yaml", "cases"]


def test_a_finding_is_the_same_one_in_the_next_run() -> None:
    """Its fingerprint holds neither numbers nor places."""
    first, second = (_run(red(message=words))["results"][0] for words in ("off by 1", "off by 2"))
    assert first["partialFingerprints"] == second["partialFingerprints"]
