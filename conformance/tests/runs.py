"""Record files for tests, written as a run writes them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.catalogue.selection import Plan, digest
from conformance.model.enums import Kind, Outcome, Verdict
from conformance.model.request import Selection
from conformance.model.result import AppliedExpectation
from conformance.records import record_file
from conformance.records.record_file import RecordWriter, make_header
from conformance.tests.fakes import a_backend, a_case, a_record, a_request, an_environment, failed
from conformance.timing.model import Conditions, Effort, Noise
from conformance.timing.timing_file import TIMING_VERSION, TimingHeader, TimingWriter
from conformance.triage.check import Checked

if TYPE_CHECKING:
    from conformance.model.result import Record
    from conformance.timing.model import Timing

__all__ = ["a_last_run", "a_run", "an_unsupported", "an_xfail", "checked", "red", "skipped", "some_timings", "timeless"]


def a_run(path: Path, *records: Record, finish: bool = True, **plan: Any) -> Path:
    """Write the file of a run of these records, or of a pass on `fake`; `family` made its cases, keywords its plan."""
    records = records or (a_record(),)
    names = dict.fromkeys(record.backend for record in records)
    generated = {"family": plan.pop("family", None)}
    gated, environment = plan.pop("gated", {}), plan.pop("environment", an_environment())
    folders = plan.pop("folders", ())
    facts: dict[str, Any] = {
        "requests": tuple(a_request(a_case(record.case_id, **generated)) for record in records),
        "backends": tuple(a_backend(name, description=f"The backend {name}") for name in names),
        "selection": Selection(),
        "total": len(records),
        "digest": digest(record.key for record in records),
    }
    header = make_header(Plan(**(facts | plan)), environment, "run-1", folders)
    with RecordWriter(path, header) as writer:
        for record in records:
            writer.write(record)
        if finish:
            writer.finish(gated)
    return path


def a_last_run(folder: Path, *records: Record) -> Path:
    """Write the file of a run of these records as the last run of a folder."""
    path = a_run(folder / ".conformance" / "20260101-000000-000-run.jsonl", *records)
    (path.parent / "last-run.jsonl").symlink_to(path.name)
    return path


def timeless(path: Path) -> dict[tuple[str, str, str], Record]:
    """The records of a file by their keys, without what depends on when they were made."""
    same: dict[str, Any] = {"run_id": "", "duration_s": 0.0, "metrics": {}}
    return {record.key: replace(record, **same) for record in record_file.read(path).records}


def checked(*records: Record) -> Checked:
    """The result of a check of a function: these records."""
    plan = Plan(
        requests=(),
        backends=tuple(a_backend(name) for name in dict.fromkeys(record.backend for record in records)),
        selection=Selection(),
        total=len(records),
        digest="",
    )
    return Checked(path=Path(os.devnull), plan=plan, records=records)


def skipped(why: str, **changes: Any) -> Record:
    """A record of what cannot be run here."""
    word = {"outcome": Outcome.SKIP, "verdict": Verdict.SKIP}
    return a_record(**word, message=why, checks=(), evidence=None, metrics={}, **changes)


def some_timings(path: Path, *timings: Timing, finish: bool = True, **header: Any) -> Path:
    """Write the file of a run of these timings, on a machine where uncompiled is within 0.5 % of itself."""
    noise = header.pop("noise", Noise(ratios={"demo": (0.995, 1.0, 1.005)}))
    backends = dict.fromkeys(timing.backend for timing in timings)
    facts: dict[str, Any] = {
        "schema_version": TIMING_VERSION,
        "run_id": "run-1",
        "environment": an_environment(),
        "fingerprint": "0123456789ab",
        "conditions": Conditions(threads=1, governor="performance", load=0.25, resolution_ns=30.0),
        "effort": Effort(),
        "backends": tuple(a_backend(name) for name in backends),
        "planned": len(timings),
    }
    with TimingWriter(path, TimingHeader(**(facts | header))) as writer:
        writer.noise(noise)
        for timing in timings:
            writer.write(timing)
        if finish:
            writer.finish(0.5)
    return path


def red(case_id: str = "demo.first.two", backend: str = "fake", **changes: Any) -> Record:
    """A record whose values and gradients differ."""
    facts = {
        "outcome": Outcome.FAIL,
        "verdict": Verdict.FAIL,
        "checks": failed("values", "gradients").checks,
        "message": "values differ in output[0]: 3 of 12 elements.\nAlso: gradients (1 difference).",
    }
    return a_record(case_id, backend, **(facts | changes))


def an_xfail(case_id: str = "demo.first.three", backend: str = "fake", **changes: Any) -> Record:
    """A record that fails as its backend's expectations predict."""
    entry = AppliedExpectation(
        kind=Kind.BUG,
        reason="doubles twice",
        entry="fake.expected.yaml:1:3",
        issue="https://github.com/pytorch/pytorch/issues/1",
    )
    return red(case_id, backend, **({"verdict": Verdict.XFAIL, "expectation": entry} | changes))


def an_unsupported(case_id: str = "demo.first.four", backend: str = "fake", needs: str = "autocast") -> Record:
    """A record of a case that needs more than its backend claims."""
    word = {"outcome": Outcome.UNSUPPORTED, "verdict": Verdict.UNSUPPORTED}
    return a_record(case_id, backend, **word, message=f"needs {needs}", checks=(), evidence=None, metrics={})
