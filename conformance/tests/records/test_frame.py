from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import pytest

import conformance
from conformance.model.enums import Grade, Level, Outcome, Verdict
from conformance.model.errors import RecordError
from conformance.records import frame
from conformance.tests.fakes import a_record, an_environment, failed, held_checks
from conformance.tests.runs import a_run, an_unsupported, an_xfail, red

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from conformance.model.result import CheckResult, Record


def test_a_record_is_one_row_that_identifies_it(tmp_path: Path) -> None:
    """Backend, area, case, variant and every axis are columns of their own."""
    path = a_run(tmp_path / "a.jsonl", a_record("grad_mode.nesting.one", variant="grad=disabled,dynamic=auto"))
    (row,) = conformance.load(path).to_dict("records")
    told = {name: row[name] for name in ("backend", "area", "case", "variant", "grad", "autocast", "dtype", "dynamic")}
    assert told == {
        "backend": "fake",
        "area": "grad_mode",
        "case": "grad_mode.nesting.one",
        "variant": "grad=disabled,dynamic=auto",
        "grad": "disabled",
        "autocast": "off",
        "dtype": "float32",
        "dynamic": "auto",
    }


def test_a_cases_own_axes_share_a_column_even_with_commas_in_their_values() -> None:
    """An axis that is not fixed is in `params` as the variant's id writes it."""
    rows = frame.of([a_record(variant="grad=enabled,mode=a,b,reduction=sum")])
    assert list(rows["params"]) == ["mode=a,b,reduction=sum"]


def test_moves_of_the_caller_are_an_area() -> None:
    """What a caller may do is apart from the areas of the cases: one defect there shows in all of them."""
    rows = frame.of([a_record(variant="grad=enabled"), a_record(variant="grad=enabled,moves=usual")])
    assert list(rows["area"]) == ["demo", frame.MOVES_AREA]
    assert list(rows["moves"]) == ["none", "usual"]


def test_rows_have_what_happened(tmp_path: Path) -> None:
    """Outcome, verdict, score and gate, the broken checks, the expectation and the torch it was seen with."""
    machine = an_environment(torch="2.14.0")
    row = frame.load(a_run(tmp_path / "a.jsonl", an_xfail(), environment=machine)).iloc[0]
    told = [row[name] for name in ("outcome", "verdict", "failing", "kind", "reason", "issue", "torch")]
    issue = "https://github.com/pytorch/pytorch/issues/1"
    assert told == ["fail", "xfail", "values, gradients", "bug", "doubles twice", issue, "2.14.0"]
    assert [row[name] for name in ("conforms", "scored", "green")] == [False, True, True]


def test_evidence_and_metrics_are_columns_and_may_be_absent() -> None:
    """A record without evidence has no counts, rather than zeros."""
    rows = frame.of([a_record(), an_unsupported()]).set_index("case")
    assert list(rows.loc["demo.first.one", ["graphs", "compiled_backward", "compile_s"]]) == [1, True, 0.25]
    assert rows.loc["demo.first.four", ["graphs", "compiled_backward", "compile_s"]].isna().all()


def test_a_metric_cannot_take_the_place_of_a_column() -> None:
    """A metric called like a column is ignored."""
    assert list(frame.of([a_record(metrics={"seed": 7.0}, seed=3)])["seed"]) == [3]


def test_advisories_are_not_failures() -> None:
    """A SHOULD that did not hold is named in its own column."""
    row = frame.of([a_record(checks=failed("saved_bytes", level=Level.SHOULD).checks)]).iloc[0]
    assert (row["failing"], row["advisories"]) == ("", "saved_bytes")


def test_words_have_the_order_of_the_ladder_and_of_the_legend() -> None:
    """Sorting by backend or verdict means something."""
    records = [a_record(backend=name) for name in ("zeta", "inductor", "alpha", "eager")]
    rows = frame.of([*records, red(backend="eager")])
    assert list(rows["backend"].cat.categories) == ["eager", "inductor", "alpha", "zeta"]
    assert list(rows["verdict"].cat.categories) == [str(verdict) for verdict in Verdict]
    assert rows["verdict"].max() == Verdict.FAIL


def test_grades_are_ordered_best_first() -> None:
    """The worst grade of the values is their maximum."""
    rows = frame.of([a_record(checks=held_checks(grade)) for grade in (Grade.REFERENCE, Grade.BITWISE)])
    assert rows["values_grade"].max() == Grade.REFERENCE


def test_rows_are_sorted_whatever_the_order_of_records() -> None:
    """Two orders of the same records give equal frames."""
    records = [a_record("b.a.a"), red("a.a.a"), an_unsupported("c.a.a"), a_record("a.a.a", "eager")]
    pd.testing.assert_frame_equal(frame.of(records), frame.of(records[::-1]))


def documented(load: Callable[..., pd.DataFrame]) -> dict[str, str]:
    """The dtype of each column, by the table in the docstring of what loads them."""
    return dict(
        re.findall(r"^    (\w+) +(category|str|bool|boolean|u?[Ii]nt64|float64) ", str(load.__doc__), re.MULTILINE)
    )


def dtypes(rows: pd.DataFrame) -> dict[str, str]:
    """The dtype of each column by its name; pandas 2 calls that of text object."""
    return {str(name): str(dtype).replace("object", "str") for name, dtype in rows.dtypes.items()}


@pytest.mark.parametrize(
    "records",
    [(), (a_record(metrics={}),), (an_unsupported(),), (red(), an_xfail(), an_unsupported())],
    ids=["none", "without metrics", "without evidence", "all kinds"],
)
def test_columns_and_dtypes_do_not_depend_on_the_records(records: Sequence[Record]) -> None:
    """They are those that the docstring of `load` names, so that code which reads a column works on any frame."""
    rows = frame.of([replace(record, metrics={}) for record in records])
    assert dtypes(rows) == documented(conformance.load)
    assert list(rows.columns) == list(frame.TYPES)
    assert rows[rows["green"]].columns.equals(rows.columns)


def test_the_published_records_have_no_further_column(checkout: Path) -> None:
    """Each metric that the suite measures is among the columns that are always there."""
    rows = conformance.load(checkout / "results" / "records" / "openvino.jsonl")
    assert list(rows.columns) == list(frame.TYPES)


def test_a_metric_of_another_version_is_one_more_column() -> None:
    """Nothing in a file is lost."""
    rows = frame.of([a_record(metrics={"saved_bytes": 4.0, "new_s": 2}), an_unsupported()])
    assert list(rows.columns) == [*frame.TYPES, "new_s"]
    assert rows["new_s"].dtype == "float64"


@pytest.mark.parametrize("checks", [(), failed("values", level=Level.SHOULD).checks], ids=["none", "some"])
def test_columns_and_dtypes_of_checks_do_not_depend_on_the_records(checks: Sequence[CheckResult]) -> None:
    """As those of records."""
    rows = frame.checks_of([a_record(checks=tuple(checks))])
    assert list(rows.columns) == list(frame.CHECK_TYPES)
    assert dtypes(rows) == dtypes(frame.checks_of([red()]))


def test_a_folder_means_all_record_files_in_it(tmp_path: Path) -> None:
    """Files named twice are read once."""
    one = a_run(tmp_path / "one.jsonl", a_record("demo.first.one"))
    a_run(tmp_path / "two.jsonl", a_record("demo.first.two"))
    assert list(frame.load(tmp_path, str(one))["case"]) == ["demo.first.one", "demo.first.two"]


@pytest.mark.parametrize("name", ["absent.jsonl", "."])
def test_a_path_without_records_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    """Neither a missing file nor an empty folder is an empty frame."""
    with pytest.raises(RecordError, match="no record file at"):
        frame.load(tmp_path / name)


def test_paths_are_required() -> None:
    """Where the records are is never guessed."""
    with pytest.raises(RecordError, match="no record file is given"):
        frame.load()


def test_checks_are_rows_of_their_own(tmp_path: Path) -> None:
    """One row a check, with its level, whether it held, its grade and how many differences it saw."""
    rows = frame.load_checks(a_run(tmp_path / "a.jsonl", red(), a_record())).set_index(["case", "check"])
    assert list(rows.loc[("demo.first.two", "values"), ["level", "held", "grade", "differences"]]) == [
        *("must", False, "differs", 1)
    ]
    assert set(rows["held"].xs("demo.first.one")) == {True}


def test_a_check_without_a_message_shows_its_first_difference() -> None:
    """There is always something to read of a check that did not hold."""
    (check,) = failed("values").checks[:1]
    record = a_record(checks=(type(check)(**(vars(check) | {"message": ""})),), outcome=Outcome.FAIL)
    assert list(frame.checks_of([record])["message"]) == ["values in output[0]: actual 2.0, expected 1.0"]
