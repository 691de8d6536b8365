from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from conformance.catalogue.operations import operations
from conformance.model.attribution import Attribution, Cause
from conformance.model.enums import OPERATIONS, Level, Outcome, Verdict
from conformance.model.errors import RecordError
from conformance.model.request import Selection
from conformance.model.result import CheckResult, Difference
from conformance.records import record_file
from conformance.report import pages, statement
from conformance.report.operation_uses import read_uses
from conformance.report.operations import operations_page, what_fails
from conformance.tests.fakes import a_record
from conformance.tests.runs import a_run, an_unsupported, red

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.model.result import Record

ADD = "ops.torch.add.function.contiguous"


def broken(check: str, kind: str) -> Record:
    """A record in which one check sees one kind of difference first."""
    difference = Difference(path="output[0]", kind=kind, actual="this", expected="that")
    return red(ADD, checks=(CheckResult(check=check, level=Level.MUST, held=False, differences=(difference,)),))


def ended(outcome: Outcome) -> Record:
    """A record of a failure without checks."""
    return red(ADD, outcome=outcome, verdict=Verdict(outcome.value), checks=())


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (a_record(ADD), ""),
        (an_unsupported(ADD), ""),
        (broken("values", "values"), "wrong number"),
        (broken("values", "dtype"), "wrong dtype"),
        (broken("values", "shape"), "wrong shape"),
        (broken("layout", "stride"), "wrong stride"),
        (broken("gradients", "presence"), "no gradient"),
        (broken("compiled", "evidence"), "not compiled"),
        (broken("ambient", "state"), "ambient"),
        (ended(Outcome.ERROR), "refused"),
        (ended(Outcome.VACUOUS), "not compiled"),
        (ended(Outcome.CRASH), "crash"),
        (ended(Outcome.TIMEOUT), "timeout"),
        (ended(Outcome.FAIL), "fail"),
    ],
)
def test_what_fails_is_one_of_few_words(record: Record, words: str) -> None:
    """By the outcome, the check that fails first, and the kind of its first difference."""
    assert what_fails(record) == words


def test_an_operation_conforms_where_all_its_requests_do() -> None:
    """Counted by module and backend; one that is not claimed is not scored."""
    other = "ops.linalg.qr.function.contiguous"
    records = [a_record(ADD), red(ADD, variant="grad=disabled"), a_record(other), an_unsupported(other, "second")]
    lines = operations_page(records).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert ["`linalg`", "1", "1/1", ""] in rows
    assert ["`torch`", "1", "0/1", ""] in rows
    assert ["total", "2", "1/2", ""] in rows
    assert ["`torch.add`", "wrong number 1", ""] in rows
    assert "## linalg" not in lines


def attributed(cause: Cause, **changes: Any) -> Record:
    """A failing record whose fault is known."""
    return replace(broken("values", "values"), attribution=Attribution(cause=cause), **changes)


def test_a_failing_cell_says_whose_fault_it_is() -> None:
    """One word where it is the same for all, numbers where it is not, and nothing where nobody asked."""
    mode, base = attributed(Cause.MODE), attributed(Cause.BASE, variant="second")
    for records, cell in (
        ([mode], "wrong number 1 (mode)"),
        ([mode, base], "wrong number 2 (mode 1, base 1)"),
        ([mode, broken("values", "values")], "wrong number 2 (mode 1)"),
        ([broken("values", "values")], "wrong number 1"),
    ):
        assert f"| `torch.add` | {cell} |" in operations_page(records)


def test_the_page_counts_faults_by_backend() -> None:
    """A row for each fault that occurs."""
    text = operations_page([attributed(Cause.MODE), attributed(Cause.BASE, backend="other")])
    assert "Failing requests by what they are attributed to:" in text
    rows = [line.split() for line in text.splitlines() if line.startswith(("| mode", "| base"))]
    assert rows == [["|", "mode", "|", "1", "|", "|"], ["|", "base", "|", "|", "1", "|"]]
    assert "attributed to" not in operations_page([broken("values", "values")])


def undone(operation: str, outcome: Outcome, **changes: Any) -> Record:
    """A record of an operation that a backend did not compile."""
    return replace(ended(outcome), case_id=f"ops.{operation}.function.contiguous", **changes)


def test_what_a_backend_left_undone_is_listed_with_what_models_call_first() -> None:
    """Refused or left to something else; what failed in another way is no such thing."""
    names = [f"torch.{name}" for name in ("add", "mul", "allclose")]
    records = [*(undone(name, Outcome.VACUOUS) for name in names), undone(names[0], Outcome.ERROR, variant="second")]
    text = operations_page([*records, broken("values", "values")])
    section = text[text.index("## Left undone") :]
    uses = read_uses()
    assert f"of {uses.functions} functions" in section.replace("\n", " ")
    assert "fake: 3 operations" in section
    assert [line for line in section.splitlines() if line[:1].isdigit()] == [
        f"1. `torch.mul` ({uses.of('torch.mul')}): not compiled 1",
        f"2. `torch.add` ({uses.of('torch.add')}): not compiled 1, refused 1",
        "3. `torch.allclose` (0): not compiled 1",
    ]


def test_what_the_rung_below_left_undone_is_not_listed_again() -> None:
    """Its author has no work with it."""
    inherited = undone("torch.add", Outcome.VACUOUS, attribution=Attribution(cause=Cause.INHERITED))
    assert "Left undone" not in operations_page([inherited])


def test_a_page_is_no_wider_than_the_overview() -> None:
    """Many backends have several tables."""
    records = [replace(broken("values", "values"), backend=f"backend{number}") for number in range(7)]
    headers = [line for line in operations_page(records).splitlines() if line.startswith("| operation ")]
    assert [line.count("backend") for line in headers] == [5, 2]


def test_only_operations_are_counted_that_are_described() -> None:
    """The counts of a renamed operation would be lost."""
    uses = read_uses()
    assert uses.uses.keys() <= {each.id for each in operations()}
    assert uses.of("nn_functional.linear") > uses.functions / 4


def test_without_operations_there_is_no_page(tmp_path: Path) -> None:
    """Records of other cases leave it out, and the overview does not lead to it."""
    assert operations_page([a_record()]) == ""
    made = pages.pages([a_run(tmp_path / "run.jsonl")], tmp_path)
    assert "operations.md" not in made


def test_the_overview_leads_to_the_page(tmp_path: Path) -> None:
    """It stands beside the other pages."""
    made = pages.pages([a_run(tmp_path / "run.jsonl", a_record(ADD))], tmp_path)
    assert made["operations.md"].startswith("<!-- Generated by")
    assert "[operations](operations.md)" in made["README.md"]


def test_operations_are_published_beside_the_suite(tmp_path: Path) -> None:
    """Their run counts on their page alone, though its backend has another run; it says how to make it again."""
    folder = tmp_path / "results"
    (folder / "records").mkdir(parents=True)
    a_run(folder / "records" / "suite.jsonl")
    asked = Selection(tags=(OPERATIONS,))
    a_run(folder / "records" / "operations.jsonl", red(ADD), selection=asked, folders=["cases/operations"])
    made = pages.pages([folder / "records"], folder)
    page, overview = (" ".join(made[name].split()) for name in ("operations.md", "README.md"))
    assert "| `torch` | 1 | 0/1 |" in page
    assert "--cases cases/operations --tag ops --records results/records/operations.jsonl" in page
    assert "| [fake](fake.md) | The backend fake | 1/1 |" in overview
    assert ADD not in made["fake.md"]


def test_other_partial_runs_are_not_published_beside_the_suite(tmp_path: Path) -> None:
    """A tag that does not stand for what runs on request leaves something out."""
    folder = tmp_path / "results"
    (folder / "records").mkdir(parents=True)
    a_run(folder / "records" / "suite.jsonl")
    a_run(folder / "records" / "some.jsonl", a_record(ADD, backend="other"), selection=Selection(tags=("smoke",)))
    with pytest.raises(RecordError, match="selected by tags"):
        pages.write([folder / "records"], folder)


def test_a_run_of_operations_alone_states_no_level(tmp_path: Path) -> None:
    """It is no run of the suite: no badge comes from it, and no page that takes it for one."""
    folder = tmp_path / "results"
    (folder / "records").mkdir(parents=True)
    path = a_run(folder / "records" / "operations.jsonl", a_record(ADD), selection=Selection(tags=(OPERATIONS,)))
    assert statement.of_runs([record_file.read(path)]) == {}
    with pytest.raises(RecordError, match="selected by tags"):
        pages.write([folder / "records"], folder)
