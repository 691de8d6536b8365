"""Messages are made last and never read: with every message of a run reworded, all that is decided stays the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from conformance.maintenance.rejudge import judge_again
from conformance.model.enums import Outcome
from conformance.records import frame, record_file
from conformance.report import pages
from conformance.tests.fakes import a_record, an_expectation, crashed, failed, raised, vacuous
from conformance.tests.jobs import scripts
from conformance.tests.runs import a_run, an_unsupported, an_xfail, red
from conformance.triage.repro import script
from conformance.triage.repro.script import Compiler
from conformance.verdict.judge import judge, outcome
from conformance.verdict.symptom import Symptom, first_stage

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.model.result import Attempt, CheckResult, Record
    from conformance.triage.lookup import Found

OTHER = "in other words"


def reworded(record: Record) -> Record:
    """The same record with other messages; the message of an exception stays, since it is PyTorch's."""
    checks = tuple(replace(check, message=check.message and OTHER) for check in record.checks)
    note = record.expectation_note and OTHER
    return replace(record, message=record.message and OTHER, expectation_note=note, checks=checks)


@pytest.fixture(scope="module")
def failures() -> list[Found]:
    """One failure of each symptom in the committed records of the in-tree backends."""
    (path,) = scripts.of_this_release()
    found = {Symptom.of_record(each.record): each for each in scripts.failing(record_file.read(path))}
    assert len(found) > 20
    return list(found.values())


def test_symptoms_and_stages_follow_from_fields(failures: list[Found]) -> None:
    """Two failures are distinguished by what was observed."""
    records = [one.record for one in failures]
    assert [Symptom.of_record(reworded(one)) for one in records] == [Symptom.of_record(one) for one in records]
    assert [first_stage(reworded(one)) for one in records] == [first_stage(one) for one in records]


def _body(text: str) -> str:
    """A script without the sentence in its docstring, and without the reason that it quotes."""
    return text.split('"""', 2)[2]


def test_scripts_follow_from_fields(failures: list[Found]) -> None:
    """A script compares the observable that differs, with any message of the record."""
    compiler = Compiler(expression='"eager"')
    for one in failures:
        other = replace(one, record=reworded(one.record))
        assert _body(script.render_script(other, compiler)) == _body(script.render_script(one, compiler)), (
            one.record.key
        )


@pytest.mark.parametrize("attempt", [failed("values"), raised(), crashed(), crashed(timed_out=True), vacuous()])
def test_verdicts_follow_from_fields(attempt: Attempt) -> None:
    """Judged again, under an expectation and under none, a record has the verdict that it had."""
    happened = outcome(attempt)
    verdict, message, _ = judge(happened, attempt, None)
    facts: dict[str, Any] = {"checks": attempt.checks, "raised": attempt.raised, "ended": attempt.ended}
    record = a_record(outcome=happened, verdict=verdict, message=message, **facts)
    checks: frozenset[str] = frozenset({"values"}) if happened is Outcome.FAIL else frozenset()
    for entry in (None, an_expectation(outcome=happened, checks=checks), an_expectation(outcome=Outcome.SKIP)):
        assert judge_again(reworded(record), entry).verdict is judge_again(record, entry).verdict


def _counts(folder: Path, records: list[Record]) -> dict[str, list[str]]:
    """The pages of a run, less the lines that quote a message."""
    made = pages.pages([a_run(folder / "a.jsonl", *records)], folder)
    quoted = {OTHER, *(line for record in records for line in record.message.splitlines())}
    quoted |= {check.message for record in records for check in record.checks if check.message}
    return {
        name: [line for line in page.splitlines() if not any(word in line for word in quoted)]
        for name, page in made.items()
    }


def test_pages_follow_from_fields(tmp_path: Path) -> None:
    """Counts, marks and groups are the same; only quoted messages differ."""
    records = [a_record(), red("demo.first.two"), an_xfail(), an_unsupported()]
    assert _counts(tmp_path, records) == _counts(tmp_path, [reworded(one) for one in records])


def test_frames_follow_from_fields(failures: list[Found]) -> None:
    """Every column but the messages is the same."""
    records = [one.record for one in failures]
    before, after = frame.of(records), frame.of([reworded(one) for one in records])
    assert before.drop(columns="message").equals(after.drop(columns="message"))


def _unread(check: CheckResult) -> bool:
    return not check.held and bool(check.message)


def test_there_is_something_to_reword(failures: list[Found]) -> None:
    """Or these tests would show nothing."""
    assert all(one.record.message for one in failures)
    assert any(_unread(check) for one in failures for check in one.record.checks)
