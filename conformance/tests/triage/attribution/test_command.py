from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from conformance.cli.main import main
from conformance.execution import attempts
from conformance.model.attribution import Attribution, Cause, Control, Showing
from conformance.model.errors import RecordFileError
from conformance.records import environment, record_file
from conformance.tests.fakes import a_backend, a_record, an_attempt, failed
from conformance.tests.runs import a_last_run, a_run, an_xfail, red
from conformance.tests.saboteurs import ref

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.model.request import Request
    from conformance.model.result import Attempt, Environment

MODES = "pre_dispatch.no_grad_simple"
PLAIN = "base.smoke.gradient"
GONE = "base.smoke.that_was_renamed"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Environment:
    """This machine, on which the backend `fake` fails wherever a mode is set, and all others pass."""

    def attempt(request: Request) -> Attempt:
        fails = request.backend.name == "fake" and "no_grad" in request.case.program
        return failed("values", "gradients") if fails else an_attempt()

    monkeypatch.setattr(attempts, "run", attempt)
    monkeypatch.setattr(attempts, "describe", a_backend)
    return environment.capture()


def attribute(path: Path, *words: str) -> Result:
    """The result of the command."""
    return CliRunner().invoke(main, ["attribute", "--quiet", "--records", str(path), *words])


def test_the_failures_of_a_file_are_attributed(tmp_path: Path, machine: Environment) -> None:
    """Expected ones too; what passed stays as it is, and what has no case any more is named."""
    records = (an_xfail(MODES), a_record(PLAIN), red(GONE))
    path = a_run(tmp_path / "mine.jsonl", *records, environment=machine)
    done = attribute(path)
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        "1 failure attributed with 2 controls: 1 mode",
        f"1 left out, whose cases are no longer there; the first: fake/{GONE}/grad=enabled",
    ]
    run = record_file.read(path)
    found = {record.case_id: record.attribution for record in run.records}
    shown = {Control.RUNG: Showing.GONE, Control.MODES: Showing.GONE}
    assert found == {MODES: Attribution(cause=Cause.MODE, controls=shown), PLAIN: None, GONE: None}
    assert [replace(record, attribution=None) for record in run.records] == list(records)
    assert run.footer is not None


def test_what_is_attributed_is_not_run_again(tmp_path: Path, machine: Environment) -> None:
    """The command can be interrupted and started again."""
    known = red(MODES, attribution=Attribution(cause=Cause.INHERITED, rung="eager"))
    path = a_run(tmp_path / "mine.jsonl", known, environment=machine)
    assert attribute(path).output == "0 failures attributed with 0 controls\n"
    assert record_file.read(path).records == (known,)


def test_an_interrupted_command_keeps_what_it_found(
    tmp_path: Path, machine: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is written with it."""
    path = a_run(tmp_path / "mine.jsonl", red(MODES), red(PLAIN), environment=machine)
    run = attempts.run

    def interrupted(request: Request) -> Attempt:
        if "smoke" in request.case.id:
            raise KeyboardInterrupt
        return run(request)

    monkeypatch.setattr(attempts, "run", interrupted)
    assert attribute(path, "--jobs", "1").exit_code == 130
    found = {record.case_id: record.attribution is not None for record in record_file.read(path).records}
    assert found == {MODES: True, PLAIN: False}


def test_records_of_other_software_are_refused(tmp_path: Path, machine: Environment) -> None:
    """A control would be run by something else than what failed."""
    older = replace(machine, torch="1.0")
    done = attribute(a_run(tmp_path / "mine.jsonl", red(MODES), environment=older))
    assert done.exit_code == 2
    assert f"torch was 1.0, is now {machine.torch}" in done.output


def test_failures_of_another_machine_are_run_first(tmp_path: Path, machine: Environment) -> None:
    """Where they show here, they are attributed."""
    path = a_run(tmp_path / "mine.jsonl", red(MODES), environment=replace(machine, cpu="another"))
    attribute(path)
    (record,) = record_file.read(path).records
    assert record.attribution is not None
    assert record.attribution.controls[Control.AGAIN] is Showing.SAME


@pytest.mark.usefixtures("machine")
def test_the_last_run_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for `report`."""
    monkeypatch.chdir(tmp_path)
    path = a_last_run(tmp_path, a_record(PLAIN))
    done = CliRunner().invoke(main, ["attribute", "-q"])
    assert done.exit_code == 2
    assert f"{path.relative_to(tmp_path)}: cannot be attributed here" in done.output


@pytest.mark.torch
def test_a_run_attributes_what_fails_if_it_is_asked_to(tmp_path: Path) -> None:
    """At its end; its exit code stays that of the run."""
    words = ["--backend", ref("results", "values_off"), "--case", "base.smoke.arithmetic"]
    path = tmp_path / "mine.jsonl"
    done = CliRunner().invoke(main, ["run", *words, "--quiet", "--attribute", "--records", str(path)])
    assert done.exit_code == 1
    assert "2 failures attributed with " in done.output
    causes = {record.attribution.cause for record in record_file.read(path).records if record.attribution}
    assert causes == {Cause.BASE}


def test_records_of_the_version_before_are_read(tmp_path: Path) -> None:
    """They have no attributions; a version that is not known is refused."""
    path = a_run(tmp_path / "mine.jsonl", red(MODES))
    text = path.read_text()
    path.write_text(text.replace('"schema_version":4', '"schema_version":3'))
    (record,) = record_file.read(path).records
    assert (record.schema_version, record.attribution) == (3, None)
    path.write_text(text.replace('"schema_version":4', '"schema_version":2'))
    with pytest.raises(RecordFileError, match="this package reads 3 and 4"):
        record_file.read(path)
