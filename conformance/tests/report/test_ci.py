from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from conformance.model.case import Location
from conformance.model.enums import Outcome, Verdict
from conformance.model.errors import RecordError
from conformance.report import ci
from conformance.tests.fakes import a_record
from conformance.tests.runs import an_unsupported, an_xfail, red

if TYPE_CHECKING:
    from pathlib import Path

INVALID = {"outcome": Outcome.INVALID, "verdict": Verdict.INVALID, "message": "the case does not build"}


def test_junit_has_a_suite_a_backend_and_a_test_a_request(tmp_path: Path) -> None:
    """Red is a failure, a fault of the suite an error, what is known or not claimed skipped."""
    records = [
        a_record(clauses=("GM-1", "GM-2")),
        red(case_id="demo.first.two"),
        an_xfail(case_id="demo.first.three"),
        an_unsupported(case_id="demo.first.four"),
        a_record("demo.first.five", **INVALID),
        a_record(backend="other"),
    ]
    ci.write_junit(tmp_path / "made" / "junit.xml", records)
    root = ET.parse(tmp_path / "made" / "junit.xml").getroot()  # noqa: S314 - written by the line above
    fake, other = root.findall("testsuite")
    counts = {name: fake.get(name) for name in ("name", "tests", "failures", "errors", "skipped")}
    assert counts == {"name": "fake", "tests": "5", "failures": "1", "errors": "1", "skipped": "2"}
    assert (other.get("name"), other.get("failures")) == ("other", "0")
    first, second = fake.findall("testcase")[:2]
    assert first.get("classname") == "fake.demo.first.one"
    assert {each.get("name"): each.get("value") for each in first.iter("property")}["clauses"] == "GM-1 GM-2"
    failure = second.find("failure")
    assert failure is not None
    assert failure.get("type") == "fail"
    assert "conformance run --backend fake --case demo.first.two" in (failure.text or "")


def test_junit_takes_any_text() -> None:
    """What XML cannot contain is replaced, what means something to it escaped."""
    text = ci.junit([red(message='\x1b[31m<b>&"\x00\ud800')])
    assert ET.fromstring(text).find(".//failure") is not None  # noqa: S314 - made by the line above
    assert "<b>" not in text


def test_the_relay_gets_three_counts() -> None:
    """A known failure has not passed and is no news; a fault of the suite is no skip."""
    invalid = a_record("demo.first.five", **INVALID)
    records = [a_record(), red(), an_xfail(), an_unsupported(), invalid]
    assert json.loads(ci.relay(records)) == {"passed": 1, "failed": 2, "skipped": 2}


def test_annotations_stand_at_the_line_of_the_case() -> None:
    """One for each of what is red, and no more than GitHub shows."""
    places = {"demo.first.two": Location(file="cases/demo_first.yaml", line=7)}
    (line,) = ci.marks([a_record(), red(message="values: 1,\n2 %")], places)
    assert line == (
        "::error file=cases/demo_first.yaml,line=7,title=fake/demo.first.two [grad=enabled]%3A fail::values: 1,%0A2 %25"
    )
    assert ci.marks([red(case_id=f"demo.first.c{number}") for number in range(12)], {})[-1].startswith(
        "::error title=fake/demo.first.c9"
    )


def test_the_summary_of_the_job_has_the_matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is added to what other steps wrote; without a file to write to, nothing is done."""
    path = tmp_path / "summary.md"
    path.write_text("before\n", encoding="utf-8")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    ci.summarize([a_record()])
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    ci.summarize([])
    ci.summarize([a_record(), red(case_id="demo.first.two")])
    text = path.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert "1/2" in text
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    with pytest.raises(RecordError, match="cannot write"):
        ci.summarize([a_record()])
