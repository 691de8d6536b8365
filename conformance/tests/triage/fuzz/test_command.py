from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from conformance.isolation.deadline import Deadline, StoppedError
from conformance.model.errors import UsageError
from conformance.tests.fakes import a_case, a_request, an_attempt, failed
from conformance.triage.fuzz import command
from conformance.triage.fuzz.result import Options
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conformance.model.request import Request
    from conformance.model.result import Attempt

WANTED = Symptom.of(failed("values"))
REQUEST = a_request(a_case(program="b = a * 2\nreturn a + b"))


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Tools for fuzzing that start no process."""
    handed: list[Any] = []
    monkeypatch.setattr("conformance.triage.fuzz.command.first_rung", lambda _: lambda *_: "")
    monkeypatch.setattr("conformance.triage.fuzz.campaign.prepare", lambda _, tools: handed.append(tools))
    command.prepare(Options(backend="eager", output=tmp_path, budget_s=60.0))
    return handed[0]


def running(monkeypatch: pytest.MonkeyPatch, run: Callable[[Request, Deadline], Attempt]) -> None:
    """Have requests run by a function."""
    monkeypatch.setattr("conformance.execution.attempts.run", run)


def test_a_finding_is_shrunk_as_long_as_it_is_the_same(tools: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest program is what is left; one that shows another failure of the same symptom is none of them."""
    running(monkeypatch, lambda *_: failed("values"))
    small = tools.shrink(REQUEST, WANTED, lambda _: True)
    assert len(small.case.program) < len(REQUEST.case.program)
    same = tools.shrink(REQUEST, WANTED, lambda one: one.case.program == REQUEST.case.program)
    assert same.case.program == REQUEST.case.program


def test_what_does_not_show_it_again_is_reported(tools: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be made smaller then."""
    running(monkeypatch, lambda *_: an_attempt())
    with pytest.raises(UsageError):
        tools.shrink(REQUEST, WANTED, lambda _: True)


def test_when_the_time_is_up_a_finding_stays_as_it_is(tools: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no error that there was none to make it smaller."""

    def stopped(_request: Request, _deadline: Deadline) -> Attempt:
        raise StoppedError

    running(monkeypatch, stopped)
    tools.deadline.moment = 0.0
    assert tools.shrink(REQUEST, WANTED, lambda _: True) == REQUEST
