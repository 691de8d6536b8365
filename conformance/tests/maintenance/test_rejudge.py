from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from conformance.cli.main import main
from conformance.execution import attempts
from conformance.maintenance.rejudge import judge_again
from conformance.model.enums import Kind, Outcome, Verdict
from conformance.model.result import AppliedExpectation, Ended
from conformance.records.record_file import read
from conformance.tests.fakes import a_backend, a_record, an_expectation
from conformance.tests.runs import a_run, an_unsupported, an_xfail, red

if TYPE_CHECKING:
    from pathlib import Path

FAILS = "pre_dispatch.no_grad_simple"
PASSES = "pre_dispatch.autocast_simple"
ENTRY = """\
- cases: pre_dispatch.*
  outcome: fail
  checks: [values, gradients]
  kind: notyet
  reason: it doubles twice
"""


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The record file of a run of two cases on a backend whose expectations were written after it."""
    (tmp_path / "fake.expected.yaml").write_text(ENTRY)
    known = a_backend("fake", expectations=tmp_path / "fake.expected.yaml")
    monkeypatch.setattr(attempts, "describe", lambda _: known)
    return a_run(tmp_path / "mine.jsonl", red(FAILS), a_record(PASSES))


def test_verdicts_follow_the_expectations_of_today(records: Path) -> None:
    """A failure that has got an entry is an expected one, and what passes though an entry is about it is red."""
    done = CliRunner().invoke(main, ["expectations", "apply", "--records", str(records)])
    assert (done.exit_code, done.output) == (1, f"{records}: 1 xfail, 1 xpass\n")
    run = read(records)
    assert {record.case_id: record.verdict for record in run.records} == {FAILS: Verdict.XFAIL, PASSES: Verdict.XPASS}
    assert run.footer is not None
    assert run.footer.counts == {"xfail": 1, "xpass": 1}
    (failing, _) = run.records
    entry = "fake.expected.yaml:1:10"
    assert failing.expectation == AppliedExpectation(kind=Kind.NOTYET, reason="it doubles twice", entry=entry)


def test_what_was_observed_stays(records: Path) -> None:
    """Outcomes, checks and numbers are those of the run, and to judge again changes nothing."""
    before = read(records)
    CliRunner().invoke(main, ["expectations", "apply", "--records", str(records)])
    text = records.read_text()
    CliRunner().invoke(main, ["expectations", "apply", "--records", str(records)])
    after = read(records)
    assert records.read_text() == text
    assert [(one.outcome, one.checks, one.metrics) for one in after.records] == [
        (one.outcome, one.checks, one.metrics) for one in before.records
    ]
    assert after.records[0].message == before.records[0].message


def test_a_file_that_was_judged_again_says_nothing_of_the_machine(records: Path) -> None:
    """Where expectations are is found anew each time: the file may be published."""
    CliRunner().invoke(main, ["expectations", "apply", "--records", str(records)])
    assert str(records.parent) not in records.read_text()


def test_a_run_that_did_not_end_is_refused(tmp_path: Path) -> None:
    """Entries of requests that it lacks would be taken for stale."""
    path = a_run(tmp_path / "mine.jsonl", red(FAILS), finish=False)
    done = CliRunner().invoke(main, ["expectations", "apply", "--records", str(path)])
    assert done.exit_code == 2
    assert "continue it with `conformance run --resume`" in done.output


def test_without_an_entry_the_verdict_is_the_outcome() -> None:
    """The words that an entry had added go with it."""
    other = an_expectation(outcome=Outcome.CRASH)
    again = judge_again(red(), other)
    assert (again.verdict, again.expectation_note[:17]) == (Verdict.FAIL, "Expected to crash")
    assert judge_again(again, None) == red()
    assert judge_again(an_xfail(), None).verdict is Verdict.FAIL
    xpass = judge_again(a_record(), other)
    assert (xpass.verdict, judge_again(xpass, None)) == (Verdict.XPASS, a_record())


def test_a_crash_is_known_by_how_the_process_ended() -> None:
    """With any message of its record."""
    ended = Ended(signal="SIGSEGV")
    crash = red(outcome=Outcome.CRASH, verdict=Verdict.CRASH, checks=(), message="it died", ended=ended)
    entry = an_expectation(outcome=Outcome.CRASH, checks=frozenset(), raises="SIGSEGV")
    assert judge_again(crash, entry).verdict is Verdict.XFAIL
    assert judge_again(crash, an_expectation(outcome=Outcome.CRASH, raises="SIGABRT")).verdict is Verdict.CRASH


def test_what_is_not_claimed_uses_no_entry() -> None:
    """Such an entry would never grow stale."""
    assert judge_again(an_unsupported(), an_expectation()) == an_unsupported()
