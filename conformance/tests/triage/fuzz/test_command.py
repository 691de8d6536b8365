from __future__ import annotations

import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from conformance.execution import attempts
from conformance.execution.cluster_worker import Drawn
from conformance.execution.engine import Engine, Scheduler
from conformance.isolation.deadline import Deadline, StoppedError
from conformance.model.errors import UsageError
from conformance.model.ladder import LADDER
from conformance.records.environment import capture
from conformance.tests.fakes import a_backend, a_case, a_request, an_attempt, failed
from conformance.triage.fuzz import command
from conformance.triage.fuzz.result import Options
from conformance.triage.fuzz.runner import here, on_cluster
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conformance.execution.cluster_worker import Cargo
    from conformance.model.request import Request
    from conformance.model.result import Attempt

WANTED = Symptom.of(failed("values"))
REQUEST = a_request(a_case(program="b = a * 2\nreturn a + b"))


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Tools for fuzzing that start no process."""
    handed: list[Any] = []
    monkeypatch.setattr("conformance.triage.fuzz.command.find", lambda *_: [])
    monkeypatch.setattr("conformance.triage.fuzz.command.here", lambda kernels: replace(here(kernels), one=_run))
    monkeypatch.setattr("conformance.triage.fuzz.campaign.prepare", lambda _, tools: handed.append(tools))
    command.prepare(Options(backend="eager", output=tmp_path, budget_s=60.0))
    return handed[0]


def _run(request: Request, deadline: Deadline) -> Attempt:
    return attempts.run(request, deadline)  # what a test has put there


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


class _Cluster(Executor):
    """Takes the place of a cluster, whose answers the test gives."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []
        self.functions: list[object] = []

    def submit(self, fn: Callable[..., Any], /, *_: object) -> Future[Any]:  # type: ignore[override]
        """Note what was asked."""
        self.functions.append(fn)
        self.futures.append(Future())
        return self.futures[-1]


def test_on_a_cluster_programs_run_as_here() -> None:
    """Several that may share a process, and one whose process must be its own."""
    cluster = _Cluster()
    runner = on_cluster(cluster)
    made = [an_attempt(), failed("values")]
    with ThreadPoolExecutor(2) as pool:
        several = pool.submit(runner.several, [REQUEST, REQUEST], Deadline())
        wait_for(cluster, 1)
        one = pool.submit(runner.one, REQUEST, Deadline())
        wait_for(cluster, 2)
        for future, results in zip(cluster.futures, (made, made[1:]), strict=True):
            future.set_result(results)
        assert (several.result(), one.result()) == (made, made[1])
    assert cluster.functions == [attempts.sweep, attempts.run_batch]


def test_what_a_cluster_has_not_done_in_time_is_given_up() -> None:
    """Also where the deadline is moved meanwhile; nothing is sent after it."""
    cluster, deadline = _Cluster(), Deadline()
    runner = on_cluster(cluster)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(runner.one, REQUEST, deadline)
        wait_for(cluster, 1)
        deadline.moment = 0.0
        with pytest.raises(StoppedError):
            late.result(30)
    with pytest.raises(StoppedError):
        runner.several([REQUEST], deadline)
    assert len(cluster.futures) == 1


def wait_for(cluster: _Cluster, number: int) -> None:
    """Wait until so much was submitted."""
    end = time.monotonic() + 30
    while len(cluster.futures) < number:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_on_a_cluster_its_workers_know_the_ladder_and_the_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs travel as texts, as many batches at a time as there are slots; findings are confirmed here."""
    seen: dict[str, Any] = {}

    @contextmanager
    def cluster(_scheduler: Scheduler, cargo: Cargo, **given: Any) -> Iterator[Engine]:
        seen.update(given, backends=[info.name for info in cargo.backends])
        yield Engine(executor=_Cluster(), slots=lambda: 5)
        seen["closed"] = True

    def prepared(options: Options, tools: Any) -> Any:
        seen.update(jobs=options.jobs, tools=tools)
        return SimpleNamespace(options=options, tools=tools)

    monkeypatch.setattr("conformance.triage.fuzz.command.find", lambda specs, _: [a_backend(spec) for spec in specs])
    monkeypatch.setattr("conformance.triage.fuzz.command.engines.cluster", cluster)
    monkeypatch.setattr("conformance.triage.fuzz.campaign.prepare", prepared)
    ready = command.prepare(Options(backend="mine", output=tmp_path), scheduler=Scheduler(place="local:5"))
    assert seen["backends"] == [*(a_backend(name).name for name in LADDER), a_backend("mine").name]
    assert (seen["words"], seen["jobs"], ready.jobs) == (Drawn.of, 5, capture().threads)
    seen["tools"].deadline.moment = 0.0
    with pytest.raises(StoppedError):
        seen["tools"].run([REQUEST])
    with ready.stack:
        assert "closed" not in seen
    assert seen["closed"]
