from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from conformance.model.case import Location, Variant
from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import Kind, Outcome
from conformance.model.errors import ExpectationError
from conformance.tests.fakes import a_record, an_expectation
from conformance.tests.runs import an_xfail
from conformance.verdict.expectations import Host, load_expectations, match, stale

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from conformance.model.request import Expectation

ENTRY = """\
- cases: demo.*
  variants: {dynamic: true, size: 3}
  outcome: fail
  checks: [gradients, values]
  kind: bug
  torch: ">=2.13,<2.15"
  reason: The inner region is ignored.
  issue: https://github.com/pytorch/pytorch/issues/1
"""
ERROR = "- {cases: demo.*, outcome: error, raises: Boom, kind: notyet, reason: not there yet}\n"


HOST = Host({"torch": "2.13.0+cpu", "acme": "1.4", "gone": "not installed"}, "Linux-x86_64")


CASES = ("demo.first.one", "views.add.one")


def load(folder: Path, text: str, host: Host = HOST, cases: Sequence[str] = CASES) -> tuple[Expectation, ...]:
    """Load a file with this text, in a suite of two cases."""
    path = folder / "mine.expected.yaml"
    path.write_text(textwrap.dedent(text))
    return load_expectations(path, case_ids=cases, checks=CATALOGUE.keys(), host=host)


def refused(folder: Path, text: str) -> str:
    """The problems of a file with this text, without its folder."""
    with pytest.raises(ExpectationError) as caught:
        load(folder, text)
    return str(caught.value).replace(f"{folder}/", "")


def test_an_entry_is_read_with_its_place(tmp_path: Path) -> None:
    """Axis values become text, as variants have them."""
    assert load(tmp_path, ENTRY) == (
        an_expectation(
            outcome=Outcome.FAIL,
            kind=Kind.BUG,
            reason="The inner region is ignored.",
            location=Location(file=str(tmp_path / "mine.expected.yaml"), line=1, column=10),
            variants={"dynamic": "true", "size": "3"},
            checks=frozenset({"gradients", "values"}),
            torch=">=2.13,<2.15",
        ),
    )


def test_checks_that_fail_in_some_cases_are_read(tmp_path: Path) -> None:
    """They are listed beside those that fail in all."""
    (entry,) = load(tmp_path, ENTRY.replace("checks: [gradients, values]", "checks: [gradients]\n  also: [values]"))
    assert (entry.checks, entry.also) == (frozenset({"gradients"}), frozenset({"values"}))


def test_a_list_of_globs_makes_an_entry_each(tmp_path: Path) -> None:
    """Each glob has a place of its own, so that each can grow stale, and each must match a case."""
    entries = load(tmp_path, ERROR.replace("demo.*", "[demo.*, views.*]"))
    assert [(entry.cases, entry.location.column) for entry in entries] == [("demo.*", 12), ("views.*", 20)]
    assert "1:20: no case matches 'vews.*'" in refused(tmp_path, ERROR.replace("demo.*", "[demo.*, vews.*]"))


def test_exceptions_are_left_to_later_entries(tmp_path: Path) -> None:
    """A pattern over many generated cases need not list all those it applies to."""
    entries = load(tmp_path, "- {cases: demo.*, except: ['*.one'], outcome: timeout, kind: never, reason: hangs}\n")
    assert match(entries, "demo.first.two", Variant()) is entries[0]
    assert match(entries, "demo.first.one", Variant()) is None


def test_entries_on_operations_are_left_out_where_there_are_none(tmp_path: Path) -> None:
    """They run only when they are asked for; where they are, an entry matches one of them."""
    text = ENTRY + ENTRY.replace("demo.*\n", "ops.torch.*\n  except: [ops.torch.add.*]\n")
    assert [entry.cases for entry in load(tmp_path, text)] == ["demo.*"]
    operations = [*CASES, "ops.torch.add.function", "ops.torch.mul.function"]
    assert [entry.cases for entry in load(tmp_path, text, cases=operations)] == ["demo.*", "ops.torch.*"]
    with pytest.raises(ExpectationError, match=r"no case matches 'ops.torch.\*'"):
        load(tmp_path, text, cases=[*CASES, "ops.linalg.qr.function"])


def test_entries_for_another_torch_are_left_out(tmp_path: Path) -> None:
    """They neither apply nor grow stale."""
    entries = load(tmp_path, ENTRY + ERROR, host=HOST._replace(versions={"torch": "2.15.1"}))
    assert [entry.outcome for entry in entries] == [Outcome.ERROR]


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        ("packages: {acme: '>=1.2'}", True),
        ("packages: {acme: '>=1.2', torch: '<2.14'}", True),
        ("packages: {acme: '>=1.2', gone: '>=0'}", False),
        ("packages: {acme: '>=1.5'}", False),
        ("packages: {unheard: '>=0'}", False),
        ("platform: Linux-*", True),
        ("platform: Darwin-*", False),
    ],
)
def test_entries_for_other_packages_or_platforms_are_left_out(tmp_path: Path, condition: str, applies: bool) -> None:
    """A vendor's next release may be right, and another machine wrong; what is not installed is no version."""
    entries = load(tmp_path, ERROR + ERROR.replace("reason", f"{condition}, reason"))
    assert len(entries) == 1 + applies


def test_a_malformed_version_of_a_package_is_refused(tmp_path: Path) -> None:
    """As one of torch is."""
    told = refused(tmp_path, ERROR.replace("reason", "packages: {acme: newest}, reason"))
    assert "not a version specifier such as '>=2.13,<2.15'" in told


@pytest.mark.parametrize(
    "issue",
    [
        "https://github.com/org/repo/pull/2",
        "https://tracker.example.org/ACME-12",
        "'none found: inner region autocast'",
    ],
)
def test_a_bug_has_an_issue_or_the_words_searched_for(tmp_path: Path, issue: str) -> None:
    """A known bug can be looked up."""
    text = f"- {{cases: demo.*, outcome: timeout, kind: bug, reason: hangs, issue: {issue}}}\n"
    assert load(tmp_path, text)[0].issue == issue.strip("'")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cases: demo.*\n", "mine.expected.yaml:1:1: a file of expectations is a list of entries"),
        ("", "mine.expected.yaml:1:1: a file of expectations is a list of entries"),
        ("- [\n", "malformed YAML"),
        (ENTRY.replace("demo.*", "demos.*"), "mine.expected.yaml:1:10: no case matches 'demos.*'"),
        (ENTRY.replace("gradients", "gradient"), "mine.expected.yaml:4:12: unknown check 'gradient'"),
        (ERROR.replace("raises", "also: [values], raises"), "'also' needs 'checks'"),
        (ENTRY.replace("outcome: fail", "outcome: skip"), "mine.expected.yaml:3:12: outcome cannot be 'skip'"),
        (ENTRY.replace("reason:", "because:"), "mine.expected.yaml:7:3: unknown key 'because'"),
        (ENTRY.replace("checks: [gradients, values]", "checks: []"), "mine.expected.yaml:4:11: checks are named where"),
        (ERROR.replace("raises", "checks: [values], raises"), "checks are named where the outcome is fail"),
        (ERROR.replace("raises: Boom, ", ""), "mine.expected.yaml:1:3: an expected error needs 'raises'"),
        (ERROR.replace("Boom", "'('"), "mine.expected.yaml:1:43: not a regular expression"),
        (ERROR.replace("error", "timeout"), "mine.expected.yaml:1:37: 'raises' means nothing where the outcome is"),
        (ERROR.replace("notyet", "bug"), "a bug needs an issue"),
        (ERROR.replace("kind", "issue: bug 12, kind"), "not an issue: 'bug 12'"),
        (ERROR.replace("kind", "torch: newest, kind"), "torch"),
        (ERROR.replace("kind", "except: [views.*], kind"), "'views.*' excludes nothing"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path: Path, text: str, expected: str) -> None:
    """What contradicts itself, or the suite, cannot be a known failure."""
    assert expected in refused(tmp_path, text)


def test_a_check_the_run_does_not_know_is_refused(tmp_path: Path) -> None:
    """The names of checks are those of the run."""
    path = tmp_path / "mine.expected.yaml"
    path.write_text(ENTRY)
    with pytest.raises(ExpectationError, match="unknown check 'gradients'"):
        load_expectations(path, case_ids=["demo.first.one"], checks=["values"], host=HOST)


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    """One look at the message is enough to mend the file."""
    text = refused(tmp_path, ENTRY.replace("demo", "demos") + ENTRY.replace("reason", "because") + ERROR + "- 3\n")
    assert [line.split(":")[1] for line in text.splitlines() if line.startswith("mine.expected.yaml")] == [
        "1",
        "9",
        "15",
        "18",
    ]


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    """A wrong path is a problem like any other."""
    with pytest.raises(ExpectationError, match="cannot read the expectations"):
        load_expectations(tmp_path, case_ids=[], checks=[], host=HOST)


def test_the_first_entry_that_fits_counts() -> None:
    """Order has a meaning: special entries come before general ones."""
    special = an_expectation(cases="demo.first.*", variants={"grad": "disabled"})
    general = an_expectation(cases="demo.*")
    entries = (special, general)
    assert match(entries, "demo.first.one", Variant(grad="disabled")) is special
    assert match(entries, "demo.first.one", Variant()) is general
    assert match(entries, "views.add.one", Variant()) is None


def test_an_entry_that_no_record_used_is_stale() -> None:
    """It describes what does not happen, and has to go."""
    used = an_expectation()
    unused = an_expectation(location=Location(file="fake.expected.yaml", line=9, column=3))
    records = [a_record(), an_xfail()]
    assert stale((used, unused), records) == [unused]


def test_an_entry_for_what_a_run_omits_is_not_stale() -> None:
    """Only a run of all generated cases can show whether it is used."""
    entry = an_expectation(cases="demo.*", variants={"grad": "disabled"})
    assert stale([entry], [], omitted=[("demo.first.one", Variant(grad="disabled"))]) == []
    assert stale([entry], [], omitted=[("demo.first.one", Variant())]) == [entry]
