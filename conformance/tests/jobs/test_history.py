from __future__ import annotations

import ast
import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from conformance.isolation import torch_release
from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import Outcome
from conformance.tests.jobs.history import page, runs
from conformance.tests.jobs.history.issues import CUSTOM, PROGRAMS, Draw, Issue, Kind, draw
from conformance.tests.jobs.history.runs import Result
from conformance.tests.jobs.history.witness import Seen

if TYPE_CHECKING:
    from pathlib import Path

ISSUES = draw().issues
OLD, NEW = "2.13.0+cpu", "2.15.0+cu132"
KINDS = {"values", "gradients", "autograd_flags", "ambient", "aliasing", "mutation", "raised", CUSTOM}
"""What `plain_torch` names."""


def issue(number: int = 1, **changes: Any) -> Issue:
    """An issue of results on inductor."""
    given = {"title": "t", "kind": Kind.RESULTS, "backend": "inductor", "shows": "values", "checks": ("values",)}
    return Issue(number=number, **(given | changes))


def result(torch: str = OLD, number: int = 1, *, shown: bool = True, **changes: Any) -> Result:
    """A result that is red by its values, or green."""
    red = {"outcomes": (Outcome.FAIL,), "broken": ("values",)} if shown else {"outcomes": (Outcome.PASS,)}
    return Result(torch=torch, number=number, shown=shown, **({"seen": ""} | red | changes))


def row(*results: Result, **changes: Any) -> page.Row:
    """The row of one issue."""
    return page.rows(Draw(issues=(issue(**changes),), excluded={}), results)[0]


def functions() -> set[str]:
    """The functions of the programs."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in PROGRAMS.glob("*.py")]
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_suite_at_the_draw_is_told_from_the_suite_of_now() -> None:
    """A case that was added since counts for the suite, not for what it would have found first."""
    text = page.page(
        [row(result(suite=("a.b.old",)), suite=("a.b.old",)), row(result(suite=("a.b.new",)), since=("a.b.new",))]
    )
    headers, numbers = (
        next(line for line in text.splitlines() if line.startswith(start)) for start in ("| issues ", "| on a")
    )
    cells = dict(zip(*([cell.strip() for cell in line.split("|")] for line in (headers, numbers)), strict=True))
    assert (cells["suite at the draw"], cells["suite"]) == ("1 of 2 (50%)", "2 of 2 (100%)")


def test_cases_that_an_issue_has_got_since_are_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the result stays, and nothing is run where it was run already."""
    version = torch_release.installed().version
    file = tmp_path / "runs.jsonl"
    runs.kept(file).add(result(version, asked=("a.b.old",)))
    monkeypatch.setattr(runs, "_red_cases", lambda issue: issue.cases)
    given = issue(suite=("a.b.old",), since=("a.b.new",))
    (again,) = runs.run([given], file)
    assert (again.suite, again.broken) == (("a.b.old", "a.b.new"), ("values",))
    assert list(runs.run([given], file)) == []


def test_at_least_sixty_issues_are_drawn() -> None:
    """The draw is as large as was asked for."""
    assert len(ISSUES) >= 60


def test_an_issue_is_drawn_once_or_left_out_once() -> None:
    """No number is there twice, among those left out too."""
    numbers = [one.number for one in ISSUES] + [number for group in draw().excluded.values() for number in group]
    assert [number for number, times in Counter(numbers).items() if times > 1] == []


@pytest.mark.parametrize("one", ISSUES, ids=lambda one: one.number)
def test_an_issue_has_a_program_and_a_reason(one: Issue) -> None:
    """Its function and what makes its inputs are there, and the declared checks exist."""
    name = f"issue_{one.number}"
    assert one.ref.endswith(f".py:{name}")
    assert {*one.checks} <= CATALOGUE.keys()
    assert one.shows in KINDS
    assert (f"{name}_shows" in functions()) == (one.shows == CUSTOM)


def test_every_program_is_of_an_issue() -> None:
    """No program is left over."""
    programs = {name for name in functions() if name.removeprefix("issue_").isdigit()}
    assert programs == {f"issue_{one.number}" for one in ISSUES}


def test_a_result_is_red_by_a_declared_check_alone() -> None:
    """Another check that is broken does not count."""
    assert result().is_red(issue())
    assert not result(broken=("layout",)).is_red(issue())


def test_a_result_is_red_by_a_declared_outcome() -> None:
    """A crash counts where the issue is one."""
    crash = result(broken=(), outcomes=(Outcome.CRASH,))
    assert crash.is_red(issue(outcomes=(Outcome.CRASH,)))
    assert not crash.is_red(issue())


def test_a_program_that_was_refused_is_not_green() -> None:
    """Nothing was run."""
    assert not result(outcomes=(), broken=()).is_green


def test_torch_alone_shows_an_issue_by_its_kind() -> None:
    """A difference of another kind, and an end of the process that the issue does not speak of, do not."""
    assert Seen(differences={"values": "off"}).shows(issue())
    assert not Seen(differences={"layout": "off"}).shows(issue())
    assert not Seen(ended="killed").shows(issue())
    assert Seen(ended="killed").shows(issue(outcomes=(Outcome.CRASH,)))


def test_results_are_read_by_release_and_issue(tmp_path: Path) -> None:
    """A last line that was cut is left out."""
    file = tmp_path / "runs.jsonl"
    one, other = result(), result(NEW, shown=False)
    first, second = (json.dumps(asdict(each)) for each in (one, other))
    file.write_text(f"{first}\n{second}\n{second[:9]}", encoding="utf-8")
    assert runs.read(file) == {(OLD, 1): one, (NEW, 1): other}


def test_no_results_are_read_without_a_file(tmp_path: Path) -> None:
    """A first run begins with nothing."""
    assert runs.read(tmp_path / "runs.jsonl") == {}


def test_an_issue_is_broken_first_and_fixed_later() -> None:
    """The releases are in order, whatever the order of the lines."""
    found = row(result(NEW, shown=False), result())
    assert found.broken is not None
    assert found.fixed is not None
    assert (found.broken.torch, found.fixed.torch) == (OLD, NEW)


def test_an_issue_that_came_later_is_not_fixed() -> None:
    """A release before it that does not have it is no fix."""
    found = row(result(shown=False), result(NEW))
    assert found.fixed is None


def test_an_issue_without_results_has_no_row() -> None:
    """What has not run yet is not counted."""
    assert page.rows(Draw(issues=(issue(2),), excluded={}), [result()]) == []


def test_the_page_counts_what_is_on_a_release() -> None:
    """An issue on no release is listed apart, and the shares are of those that are there."""
    drawn = Draw(issues=(issue(1), issue(2), issue(3), issue(4)), excluded={})
    results = [
        result(suite=("a.b.c",)),
        result(NEW, shown=False),
        result(number=2, broken=("layout",)),
        result(number=3, broken=(), outcomes=(Outcome.PASS,)),
        result(number=4, shown=False),
    ]
    text = page.page(page.rows(drawn, results))
    assert "4 issues were drawn. 3 are on a release here (3 of 4 on 2.13.0+cpu; 0 of 1 on 2.15.0+cu132)." in text
    assert "1 of 3 (33%)" in text
    assert "red for another reason: layout" in text
    assert "**green**" in text
    assert text.index("issues/3)") < text.index("## On no release here") < text.index("issues/4)")
