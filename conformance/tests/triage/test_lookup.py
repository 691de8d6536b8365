from __future__ import annotations

import re
from pathlib import Path

import pytest

from conformance.model.errors import SelectionError, UsageError
from conformance.records import kept
from conformance.tests.fakes import a_backend, a_record, a_request
from conformance.tests.runs import a_run, red
from conformance.triage import lookup

CASE = "grad_mode.nesting.enable_in_no_grad"


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A run in which one of two variants of a case of the catalogue fails."""
    return a_run(
        tmp_path / "records.jsonl",
        red(CASE, variant="grad=enabled"),
        a_record(CASE, variant="grad=disabled"),
        a_record("demo.first.one"),
    )


def test_a_name_finds_its_record_and_request(records: Path) -> None:
    """Backend, case and variant as summaries print them."""
    one = lookup.find(f"fake / {CASE} / grad=disabled", [records])
    assert one.record.key == ("fake", CASE, "grad=disabled")
    assert one.request.key == one.record.key
    assert one.request.case.program.startswith("with torch.no_grad()")


def test_without_a_variant_the_one_that_fails_is_meant(records: Path) -> None:
    """The others are rarely meant."""
    assert lookup.find(f"fake/{CASE}", [records]).record.variant == "grad=enabled"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fake", "not of the form BACKEND/CASE"),
        ("fake/grad_mode.nesting.enable_in_no_gras", "Did you mean 'fake/grad_mode.nesting.enable_in_no_grad'?"),
        (f"fake/{CASE}/grad=inference", f"fake/{CASE}/grad=enabled  fail"),
        ("fake/demo.first.one", "is its folder missing"),
        ("other/x.y", "prints the names of what is red"),
    ],
)
def test_a_name_that_finds_nothing_says_what_there_is(records: Path, name: str, message: str) -> None:
    """A typing error is distinguished from a missing record."""
    with pytest.raises(UsageError, match=re.escape(message)):
        lookup.find(name, [records])


def test_without_records_it_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option that names others is in the message."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="--records"):
        lookup.find(f"fake/{CASE}")


def test_the_records_of_the_last_run_go_before_the_published_ones(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latest run is searched first."""
    (tmp_path / ".conformance").mkdir()
    records.rename(tmp_path / ".conformance" / "20260101-000000-000-run.jsonl")
    a_run(tmp_path / "results" / "records" / "other.jsonl", red("base.other.one"))
    monkeypatch.chdir(tmp_path)
    assert lookup.find(f"fake/{CASE}").record.case_id == CASE


def test_a_name_is_looked_for_in_earlier_runs_and_checks_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest that has it counts, even after other runs; the file is named."""
    monkeypatch.chdir(tmp_path)
    a_run(tmp_path / "results" / "records" / "other.jsonl", red(CASE, "fake"), red("base.smoke.matmul", "fake"))
    first = a_run(kept.FOLDER / "20260101-000000-000-run.jsonl", red(CASE), red("base.smoke.gradient"))
    second = a_run(kept.FOLDER / "20260101-000000-001-check.jsonl", a_record(CASE, variant="grad=inference"))
    (kept.FOLDER / "20260101-000000-002-run.jsonl").touch()  # one that is about to begin
    assert lookup.find(f"fake/{CASE}/grad=enabled").path == first
    assert lookup.find("fake/base.smoke.gradient").path == first
    assert lookup.find("fake/base.smoke.matmul").path == Path("results", "records", "other.jsonl")
    second.unlink()
    with pytest.raises(SelectionError, match=re.escape("Did you mean 'fake/base.smoke.gradient' or")):
        lookup.find("fake/base.smoke.gradien")


def test_a_live_request_has_the_backend_as_it_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records keep no environment variables."""
    monkeypatch.setattr("conformance.execution.attempts.describe", lambda ref: a_backend(ref, env={"A": "1"}))
    assert lookup.with_installed_backend(a_request()).backend.env == {"A": "1"}


def test_variants_that_all_fail_are_listed(tmp_path: Path) -> None:
    """One of them is to be named."""
    path = a_run(tmp_path / "r.jsonl", red(CASE, variant="grad=enabled"), red(CASE, variant="grad=disabled"))
    with pytest.raises(SelectionError, match="may be any of these"):
        lookup.find(f"fake/{CASE}", [path])
