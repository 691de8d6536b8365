from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from conformance.model.errors import UsageError
from conformance.records import confirmations, record_file
from conformance.tests.fakes import a_record, an_environment, failed
from conformance.tests.jobs import confirm_releases
from conformance.tests.jobs.confirm_releases import confirm, wanted
from conformance.tests.runs import a_run, an_unsupported, red

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.model.result import Record
    from conformance.records.confirmations import ScriptResult
    from conformance.records.record_file import RunFile
    from conformance.triage.lookup import Found

OLD, NEW = "2.13.0+cpu", "2.14.1+cu130"
CASE, SECOND = "grad_mode.nesting.enable_in_no_grad", "grad_mode.nesting.three_deep"
ON_THE_NEW = f"import os, sys\nsys.exit(os.environ['TORCH'] == {NEW!r})\n"


def on(torch: str, folder: Path, *records: Record) -> RunFile:
    """A run on a release, in its folder."""
    environment = an_environment(torch=torch)
    return record_file.read(a_run(folder / torch / "in-tree.jsonl", *records, environment=environment))


def runs(folder: Path, before: list[Record], after: list[Record]) -> dict[str, list[RunFile]]:
    """Two releases."""
    return {OLD: [on(OLD, folder, *before)], NEW: [on(NEW, folder, *after)]}


@pytest.fixture
def pythons(tmp_path: Path) -> dict[str, str]:
    """A Python for each release, with its name in its environment."""
    made = {}
    for release in (OLD, NEW):
        path = tmp_path / f"python-{release}"
        path.write_text(f'#!/bin/sh\nTORCH={release} exec "{sys.executable}" "$@"\n')
        path.chmod(0o755)
        made[release] = str(path)
    return made


def confirmed(runs: dict[str, list[RunFile]], pythons: dict[str, str], text: str) -> tuple[bool, ScriptResult]:
    """The result of the script of the only group of changes."""
    ((one, result),) = confirm(wanted(runs, {}, pythons), {}, pythons, lambda _: text)
    return one.agrees(result), result


def test_a_regression_is_shown_on_the_newer_release_alone(tmp_path: Path, pythons: dict[str, str]) -> None:
    """The same text is run with either Python, and its exit status is kept."""
    made = runs(tmp_path, [a_record(CASE)], [red(CASE)])
    agrees, result = confirmed(made, pythons, ON_THE_NEW)
    assert (agrees, result.release, result.statuses) == (True, NEW, {OLD: 0, NEW: 1})
    assert confirmed(made, pythons, "raise SystemExit(1)")[0] is False


def test_what_was_fixed_is_shown_by_the_script_of_the_older_record(tmp_path: Path, pythons: dict[str, str]) -> None:
    """It has to show the failure there, and nothing on the newer release."""
    made = runs(tmp_path, [red(CASE)], [a_record(CASE)])
    agrees, result = confirmed(made, pythons, ON_THE_NEW)
    assert (agrees, result.release) == (False, OLD)


def test_what_fails_otherwise_may_show_itself_on_both(tmp_path: Path, pythons: dict[str, str]) -> None:
    """So may what was not run on one of them: only the release that the script was made on has to show it."""
    other = red(CASE, checks=failed("gradients").checks)
    unsupported = an_unsupported(CASE)
    for at, before in enumerate((other, unsupported)):
        made = runs(tmp_path / str(at), [before], [red(CASE)])
        assert confirmed(made, pythons, "raise SystemExit(1)")[0]
        assert not confirmed(made, pythons, "")[0]


def test_one_script_stands_for_a_group_and_is_not_run_twice(tmp_path: Path, pythons: dict[str, str]) -> None:
    """Two cases with one symptom have one script; what there is already is taken as it is."""
    made = runs(tmp_path, [a_record(CASE), a_record(SECOND)], [red(CASE), red(SECOND)])
    (one,) = wanted(made, {}, pythons)
    ((_, result),) = confirm([one], {}, pythons, lambda _: ON_THE_NEW)
    known = {result.key: result}

    def never(_: Found) -> str:
        raise AssertionError

    assert [again for _, again in confirm(wanted(made, known, pythons), known, pythons, never)] == [result]


def test_a_failure_without_a_script_says_why(tmp_path: Path, pythons: dict[str, str]) -> None:
    """It is kept as such, and is no confirmation."""

    def refuse(_: Found) -> str:
        message = "it cannot name its backend"
        raise UsageError(message)

    made = runs(tmp_path, [a_record(CASE)], [red(CASE)])
    ((one, result),) = confirm(wanted(made, {}, pythons), {}, pythons, refuse)
    assert (one.agrees(result), result.refused) == (False, "it cannot name its backend")


def test_only_neighbours_that_both_have_a_python_are_looked_at(tmp_path: Path, pythons: dict[str, str]) -> None:
    """And only cases that still are there."""
    made = runs(tmp_path, [a_record(CASE), a_record()], [red(CASE), red("demo.first.one", message="other")])
    assert wanted(made, {}, [OLD]) == []
    assert [one.record.case_id for one in wanted(made, {}, pythons)] == [CASE]


def test_a_python_of_another_release_is_refused(tmp_path: Path) -> None:
    """The message has its release; a path that is no Python is reported. Without a release it is whichever it has."""
    on(OLD, tmp_path, a_record(CASE))
    alone = CliRunner().invoke(confirm_releases.main, ["--records", str(tmp_path), "--python", sys.executable])
    assert (alone.exit_code, alone.output) == (0, "0 of 0 scripts show what the records say\n")
    words = ["--records", str(tmp_path), "--python"]
    for python, said in ((sys.executable, "its torch is 2."), (str(tmp_path / "none"), "does not run as a Python")):
        done = CliRunner().invoke(confirm_releases.main, [*words, f"1.0.0={python}"])
        assert (done.exit_code, said in done.output) == (2, True), done.output
    assert not (tmp_path / confirmations.NAME).exists()
