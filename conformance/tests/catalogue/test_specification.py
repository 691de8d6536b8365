from __future__ import annotations

from conformance.catalogue.specification import clauses, uncovered
from conformance.maintenance.validate import proofread
from conformance.tests.fakes import a_case

TEXT = "# Title\n\n- **GM-1** One MUST hold.\n  More of it.\n- **GM-2** Two MUST hold.\n"


def test_clauses_are_read_with_their_places() -> None:
    """A clause is an item that begins with its number."""
    assert {clause: str(place) for clause, place in clauses(TEXT).items()} == {
        "GM-1": "cases/SPEC.md:3:5",
        "GM-2": "cases/SPEC.md:5:5",
    }


def test_clauses_that_are_not_covered_are_reported() -> None:
    """One case is not enough, and a clause that does not exist cannot be tested."""
    cases = [a_case("demo.first.one", clauses=("GM-1", "GM-9")), a_case("demo.first.two", clauses=("GM-1",))]
    first, second = map(str, uncovered(cases, clauses(TEXT)))
    assert "cases/SPEC.md:5:5: the clause GM-2 is tested by 0 cases" in first
    assert "unknown clause 'GM-9' in case 'demo.first.one'" in second


def test_the_packaged_clauses_are_covered() -> None:
    """There are at least sixty of them, each with two cases or more."""
    assert len(clauses()) >= 60
    assert [problem for problem in proofread([]) if "clause" in problem] == []
