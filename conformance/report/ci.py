"""Results where gates live: JUnit XML, and on GitHub annotations and the summary of a job."""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from conformance.model.enums import Verdict
from conformance.records import frame
from conformance.records.jsonl import as_record_error
from conformance.report import markdown
from conformance.report.matrix import matrix

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from conformance.model.case import Location
    from conformance.model.result import Record

__all__ = ["junit", "marks", "relay", "summarize", "write_junit"]

_ANNOTATED = 10  # GitHub shows no more of one step
_UNPRINTABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot contain."""
_SKIPPED = {Verdict.UNSUPPORTED, Verdict.SKIP, Verdict.XFAIL}


def junit(records: Iterable[Record]) -> str:
    """Return records as JUnit XML: a suite a backend, a test case a request.

    What is red is a failure, or an error where the suite itself is at fault; what is known to fail, unsupported or
    skipped is skipped, with its reason. Evidence is in properties.
    """
    by_backend: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_backend[record.backend].append(record)
    root = ET.Element("testsuites", name="torch.compile conformance")
    for backend, of_backend in by_backend.items():
        root.append(_suite(backend, of_backend))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def write_junit(path: Path, records: Iterable[Record]) -> None:
    """Write records as JUnit XML.

    Raises:
        RecordError: the file cannot be written.
    """
    with as_record_error(f"cannot write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(junit(records), encoding="utf-8")


def relay(records: Iterable[Record]) -> str:
    """Return how many requests passed, failed, and were skipped, as PyTorch's Cross-Repository CI Relay takes it.

    A known failure has not passed and is no news: it is skipped, as in JUnit.

    Source: the input `test-results` of pytorch/test-infra/.github/actions/cross-repo-ci-relay-callback, and
    https://github.com/pytorch/rfcs/pull/90.
    """
    ends = Counter(_kind(record.verdict) for record in records)
    failed = ends["failure"] + ends["error"]
    return json.dumps({"passed": ends[""], "failed": failed, "skipped": ends["skipped"]})


def marks(records: Iterable[Record], places: Mapping[str, Location]) -> list[str]:
    """Return workflow commands that mark what is red, at the line of its case.

    Args:
        records: of a run.
        places: of the cases, by id.
    """
    red = [record for record in records if not record.verdict.is_green]
    return [_annotation(record, places.get(record.case_id)) for record in red[:_ANNOTATED]]


def summarize(records: Sequence[Record]) -> None:
    """Add the matrix to the summary of the job, if GitHub asks for one.

    Raises:
        RecordError: the file that GitHub names cannot be written.
    """
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path or not records:
        return
    text = markdown.page("## torch.compile conformance", markdown.table(*matrix(frame.of(records))))
    with as_record_error(f"cannot write {path}"), Path(path).open("a", encoding="utf-8") as file:
        file.write(text)


def _suite(backend: str, records: Sequence[Record]) -> ET.Element:
    made = [_test(record) for record in records]
    counts = {kind: str(sum(each.find(kind) is not None for each in made)) for kind in ("failure", "error", "skipped")}
    suite = ET.Element(
        "testsuite",
        name=_text(backend),
        tests=str(len(made)),
        failures=counts["failure"],
        errors=counts["error"],
        skipped=counts["skipped"],
        time=f"{sum(record.duration_s for record in records):.3f}",
    )
    suite.extend(made)
    return suite


def _test(record: Record) -> ET.Element:
    test = ET.Element(
        "testcase",
        classname=_text(f"{record.backend}.{record.case_id}"),
        name=_text(record.variant),
        time=f"{record.duration_s:.3f}",
    )
    properties = ET.SubElement(test, "properties")
    for name, value in _properties(record):
        ET.SubElement(properties, "property", name=name, value=_text(value))
    if kind := _kind(record.verdict):
        known = record.expectation.reason if record.expectation else ""
        said = ET.SubElement(test, kind, message=_text(known or record.message.partition("\n")[0]))
        if kind != "skipped":
            said.set("type", record.verdict.value)
        said.text = _text(f"{record.full_message}\n{record.reproduce}")
    return test


def _kind(verdict: Verdict) -> str:
    """The element of a verdict; empty for what passes."""
    if verdict in _SKIPPED:
        return "skipped"
    if verdict is Verdict.INVALID:
        return "error"
    return "" if verdict.is_green else "failure"


def _properties(record: Record) -> Iterator[tuple[str, str]]:
    yield "verdict", record.verdict.value
    yield "clauses", " ".join(record.clauses)
    if record.evidence:
        yield "graphs", str(record.evidence.graphs)
        yield "graph_breaks", str(record.evidence.graph_breaks)
        yield "recompiles", str(record.evidence.recompiles)
    if record.expectation and record.expectation.issue:
        yield "issue", record.expectation.issue


def _text(value: str) -> str:
    """Text without what XML cannot contain."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)


def _annotation(record: Record, place: Location | None) -> str:
    at = f"file={_property(place.file)},line={place.line}," if place else ""
    title = _property(f"{record.backend}/{record.case_id} [{record.variant}]: {record.verdict.value}")
    return f"::error {at}title={title}::{_escaped(record.full_message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
