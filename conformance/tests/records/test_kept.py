from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from conformance.model.errors import UsageError
from conformance.records import jsonl, kept, record_file
from conformance.records.kept import Kind
from conformance.report import terminal
from conformance.report.run_summary import as_it_comes, brief
from conformance.tests.fakes import a_record
from conformance.tests.runs import a_last_run, a_run, red
from conformance.triage.check import CheckOptions, load_case

if TYPE_CHECKING:
    from datetime import tzinfo
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_two_runs_that_begin_at_once_have_a_file_each(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are a thousandth of a second apart; the second waits for the next."""
    waited: list[float] = []

    class Clock:
        @staticmethod
        def now(zone: tzinfo) -> datetime:
            return datetime(2026, 1, 1, tzinfo=zone) + timedelta(milliseconds=len(waited))

    monkeypatch.setattr("conformance.records.kept.datetime", Clock)
    monkeypatch.setattr("conformance.records.kept.time.sleep", waited.append)
    paths = [kept.new(Kind.RUN) for _ in range(3)]
    assert [path.name for path in paths] == [f"20260101-000000-00{number}-run.jsonl" for number in range(3)]
    assert kept.earlier(Kind.RUN) == paths[::-1]
    assert kept.last(Kind.RUN).resolve() == folder / paths[-1]
    assert len(waited) == 2


def test_where_nothing_ran_a_run_is_begun(folder: Path) -> None:
    """What is to be continued may not be there."""
    path = kept.to_continue(Kind.BENCH, lambda _: True)
    assert (folder / path).read_bytes() == b""
    with pytest.raises(UsageError, match=r"there is no run below \.conformance"):
        kept.last_run()


def test_only_a_run_of_the_same_plan_belongs(folder: Path) -> None:
    """Neither a file that is not there, nor one of another version, nor one of other requests."""
    path = a_last_run(folder, a_record())
    header = record_file.read(path).header
    other = a_run(folder / "other.jsonl", a_record(), red())
    old = folder / "old.jsonl"
    old.write_bytes(path.read_bytes().replace(b'"planned"', b'"planed"', 1))
    named = {"same": path, "other": other, "old": old, "missing": folder / "missing.jsonl"}
    belong = {name: record_file.belongs(each, header) for name, each in named.items()}
    assert belong == {"same": True, "other": False, "old": False, "missing": False}
    assert jsonl.first_line(folder, b"") is None


def test_findings_are_reported_as_they_come() -> None:
    """In full where they are red; what came of each request is a line."""
    assert as_it_comes(a_record()) == ""
    assert as_it_comes(red()).startswith("fake / ")
    assert "Reproduce: " in as_it_comes(red())
    assert brief(red()).endswith(": fail")
    assert terminal.width() > 0


def test_a_function_without_a_file_is_refused() -> None:
    """Before anything is started."""
    with pytest.raises(UsageError, match="'loss' is not of the form"):
        load_case(CheckOptions(ref="loss"))
