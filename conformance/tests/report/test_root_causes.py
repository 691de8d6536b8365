from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from conformance.model.attribution import Attribution, Cause, Control, Showing
from conformance.model.enums import Outcome, Stage, Verdict
from conformance.model.result import Raised
from conformance.records import frame
from conformance.report import pages
from conformance.report.matrix import cell_apart, own_score
from conformance.report.root_causes import profile_table, root_causes
from conformance.tests.failures import differing, retained
from conformance.tests.fakes import a_difference, a_record, failed
from conformance.tests.runs import a_run, red

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.model.result import Record

MODE = Attribution(cause=Cause.MODE, controls={Control.MODES: Showing.GONE})
BASE_AMONG_MODES = Attribution(cause=Cause.BASE, controls={Control.MODES: Showing.SAME})
HARNESS = Attribution(cause=Cause.HARNESS)
REUSED = differing(retention=retained()).checks
BOTH = differing(autograd_flags=a_difference(kind="is_inference"), retention=retained()).checks


def raising(case_id: str, message: str) -> Record:
    """A record of a request in which the backend raised."""
    raised = Raised(stage=Stage.COMPILE, type="RuntimeError", message=message)
    return a_record(case_id, outcome=Outcome.ERROR, verdict=Verdict.ERROR, raised=raised, checks=())


def lines(*records: Record) -> list[str]:
    """The numbered lines of the section on root causes."""
    text = "\n".join(root_causes(frame.of(records)))
    return [line for line in text.splitlines() if line[:1].isdigit()]


def test_each_root_cause_is_there_once_with_what_it_takes_along() -> None:
    """The cause first that most requests have; one request may have one of its own and one of the harness."""
    records = [
        a_record("demo.first.zero"),
        red("demo.first.one", checks=REUSED, attribution=HARNESS),
        red("demo.first.two", checks=BOTH, attribution=MODE),
        red("demo.first.three"),
    ]
    assert lines(*records) == [
        "1. results lie in memory that a later call uses again: **2 requests**; without it: 2 of 4 (mode 1, harness 1)",
        "2. autograd_flags: is_inference of output: **1 request**; without it: 1 of 4 (mode 1)",
        "3. values: values of output: **1 request**; without it: 1 to 2 of 4",
    ]


def test_of_many_causes_the_first_ten_are_shown() -> None:
    """The others when they are unfolded; what raises may hide the rest."""
    records = [raising(f"demo.first.case{place}", f"no {'x' * place}") for place in range(12)]
    found = lines(*records)
    assert len(found) == 12
    assert found[0] == "1. raises RuntimeError: no: **1 request**; without it: 0 to 1 of 12"
    assert "<summary>2 more</summary>" in "\n".join(root_causes(frame.of(records)))


def test_where_nothing_fails_there_is_nothing_to_say() -> None:
    """Neither causes nor a profile."""
    rows, checks = frame.of([a_record()]), frame.checks_of([a_record()])
    assert list(root_causes(rows)) == []
    assert profile_table(rows, checks).empty


def test_failures_without_attribution_are_shown_as_such(tmp_path: Path) -> None:
    """On the page of a backend, and in the overview."""
    page = pages.pages([a_run(tmp_path / "a.jsonl", red())], tmp_path)
    assert "These failures have no attribution" in page["fake.md"]
    assert "| not attributed |" in page["README.md"]
    some = pages.pages([a_run(tmp_path / "a.jsonl", red(attribution=MODE), red("demo.first.nine"))], tmp_path)
    assert "These failures have no attribution" not in some["fake.md"]
    assert "0 (1 not attributed)" in some["README.md"]


@pytest.mark.parametrize(
    ("attributions", "shown", "own"),
    [
        ((), "1/1", "1/1"),
        ((MODE, None), "1/3 (2 F)", "1/3"),
        ((MODE, BASE_AMONG_MODES, HARNESS), "1/4 (3 F); own 1/2, 2 apart", "1/2"),
    ],
)
def test_failures_that_are_elsewhere_are_set_apart(
    attributions: tuple[Attribution | None, ...], shown: str, own: str
) -> None:
    """They are in a number of their own, and never conform."""
    failures = [red(f"demo.first.case{place}", attribution=each) for place, each in enumerate(attributions)]
    rows = frame.of([a_record(), *failures])
    assert (cell_apart(rows), own_score(rows)) == (shown, own)


def test_the_overview_has_both_scores(tmp_path: Path) -> None:
    """In the matrix, in the line of a backend and on its page, with an explanation."""
    made = pages.pages([a_run(tmp_path / "a.jsonl", a_record(), red(attribution=HARNESS))], tmp_path)
    assert "1/2 (1 F); own 1/1, 1 apart" in made["README.md"]
    assert "*own* is the score in what the requests are about" in made["README.md"]
    assert "In what the requests are about: **1/1**; 1 failures are set apart" in made["fake.md"]


def test_a_profile_counts_requests_by_area_and_check() -> None:
    """Checks of moves are one column; what ended in another way has one of its own."""
    moves: dict[str, Any] = {"variant": "grad=enabled,moves=all"}
    records = [
        red("demo.first.one"),
        red("demo.first.two", checks=failed("values").checks),
        replace(red("demo.first.three", checks=failed("move.each_result", "move.inputs_only").checks), **moves),
        raising("misc.first.one", "no"),
    ]
    table = profile_table(frame.of(records), frame.checks_of(records))
    assert table.to_dict("index") == {
        "demo": {"error": 0, "gradients": 1, "moves": 0, "values": 2},
        "misc": {"error": 1, "gradients": 0, "moves": 0, "values": 0},
        "moves": {"error": 0, "gradients": 0, "moves": 1, "values": 0},
    }
