from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from conformance.tests.jobs.mutants.result import Fate, Result
from conformance.tests.jobs.results_file import ResultsFile

if TYPE_CHECKING:
    from pathlib import Path

RESULT = Result(id="work.py:1:0:drop_not:0", fate=Fate.KILLED, seed=3, by=("values", "layout"), by_seed=False)
KIND = TypeAdapter(Result)


def test_results_are_read_as_they_were_added(tmp_path: Path) -> None:
    """In their order; there is nothing in a file that is not there."""
    file = ResultsFile(KIND, tmp_path / "done.jsonl")
    assert file.read() == []
    assert file.add(RESULT) is RESULT
    file.add(RESULT)
    assert ResultsFile(KIND, tmp_path / "done.jsonl").read() == [RESULT, RESULT]


def test_all_results_can_be_replaced(tmp_path: Path) -> None:
    """One that was found again has one line."""
    file = ResultsFile(KIND, tmp_path / "done.jsonl")
    file.add(RESULT)
    file.add(RESULT)
    file.rewrite([RESULT])
    assert file.read() == [RESULT]


def test_a_line_that_was_cut_is_dropped(tmp_path: Path) -> None:
    """What is added afterwards is a line of its own."""
    path = tmp_path / "done.jsonl"
    ResultsFile(KIND, path).add(RESULT)
    with path.open("ab") as file:
        file.write(b'{"id": "wo')
    results = ResultsFile(KIND, path)
    results.add(RESULT)
    assert results.read() == [RESULT, RESULT]


def test_without_a_path_nothing_is_kept() -> None:
    """A job that is not to be continued."""
    results = ResultsFile(KIND, None)
    results.add(RESULT)
    assert results.read() == []
