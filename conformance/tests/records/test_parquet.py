from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest
from click.testing import CliRunner

import conformance
from conformance.cli.main import main
from conformance.model.errors import RecordFileError, UsageError
from conformance.records import parquet
from conformance.tests.fakes import a_record
from conformance.tests.runs import a_run, an_xfail, red

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A record file of two backends."""
    return a_run(tmp_path / "a.jsonl", a_record(backend="inductor"), red(), an_xfail(case_id="demo.first.three"))


def test_the_table_of_a_parquet_file_is_that_of_its_records(lines: Path, tmp_path: Path) -> None:
    """Columns, dtypes, the order of categories, and rows."""
    made = tmp_path / "made" / "a.parquet"
    done = CliRunner().invoke(main, ["report", "--records", str(lines), "--format", "parquet", "--output", str(made)])
    assert (done.exit_code, done.stdout) == (0, f"{made}: written\n")
    pd.testing.assert_frame_equal(conformance.load(made), conformance.load(lines))


def test_files_of_both_kinds_are_one_table(lines: Path, tmp_path: Path) -> None:
    """As if all had been lines, where no rung below is in the other file."""
    other = a_run(tmp_path / "b.jsonl", a_record(backend="eager"))
    parquet.write(conformance.load(lines), tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(
        conformance.load(tmp_path / "a.parquet", other), conformance.load(lines, other), check_like=False
    )


def test_what_is_no_table_of_records_is_refused(tmp_path: Path) -> None:
    """A file of something else, and one that is no Parquet."""
    pd.DataFrame({"backend": ["a"]}).to_parquet(tmp_path / "other.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(RecordFileError, match="it has no column area"):
        conformance.load(tmp_path / "other.parquet")
    for name in ("broken.parquet", "missing.parquet"):
        with pytest.raises(RecordFileError, match=f"cannot read .*{name}"):
            conformance.load(tmp_path / name)


def test_a_table_is_written_to_a_file(lines: Path, tmp_path: Path) -> None:
    """Neither to stdout nor over a folder."""
    for output in ("-", str(tmp_path)):
        done = CliRunner().invoke(main, ["report", "--records", str(lines), "--format", "parquet", "--output", output])
        assert (done.exit_code, "a table is written to a file" in done.stderr) == (2, True)


def test_without_pyarrow_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setattr(parquet, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'torch-compile-conformance\[parquet\]'"):
        conformance.load(tmp_path / "a.parquet")
