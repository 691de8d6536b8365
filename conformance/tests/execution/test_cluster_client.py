"""What the client of a cluster does with what a scheduler and workers answer, without any of them."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import distributed
import pytest
from distributed.comm.core import CommClosedError

from conformance.catalogue import sources
from conformance.execution import cluster_worker
from conformance.execution.attempts import run_batch
from conformance.execution.cluster import ClusterExecutor, connected
from conformance.execution.cluster_worker import Cargo, Drawn, Inspected, Performed
from conformance.execution.roster import Roster, _look_again
from conformance.model import codec
from conformance.model.enums import Outcome
from conformance.model.errors import HarnessError, SelectionError, UsageError
from conformance.model.request import Request
from conformance.tests.fakes import a_backend, a_case, a_request, an_attempt
from conformance.verdict.judge import outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Make = Callable[..., ClusterExecutor]

CARGO = Cargo(run_id="run1", backends=(a_backend(),))
WORKER = {"id": "w1"}
FIT = Inspected(facts={"torch": "2.15.0"}, machine="m1", slots=3)
REQUESTS = [a_request(a_case(f"demo.first.{name}")) for name in ("one", "two", "three")]
WHO: Any = SimpleNamespace(address="tcp://a")
KILLED = distributed.KilledWorker("task", WHO, allowed_failures=2)


@dataclass
class _Task:
    """A task whose end the test decides."""

    keys: Sequence[cluster_worker.Words]
    done: Callable[[_Task], None] | None = None
    ended: Any = None

    def add_done_callback(self, callback: Callable[[_Task], None]) -> None:
        self.done = callback

    def result(self) -> Any:
        if isinstance(self.ended, Exception):
            raise self.ended
        return self.ended

    def end(self, with_: Any = None) -> None:
        """End it with an exception, or a pass of every request."""
        attempts = tuple(an_attempt() for _ in self.keys)
        self.ended = with_ or Performed(results=attempts, fingerprint="fingerprint1")
        assert self.done
        self.done(self)


@dataclass
class _Client:
    """A client of a scheduler whose answers the test decides."""

    workers: dict[str, Any] = field(default_factory=lambda: {"tcp://a": WORKER})
    answers: dict[str, Any] = field(default_factory=lambda: {"tcp://a": FIT})
    status: str = "running"
    tasks: list[_Task] = field(default_factory=list)
    looked_again: int = 0
    given: dict[str, int] = field(default_factory=dict)

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        assert n_workers == -1  # the default is a few
        return {"workers": self.workers}

    def run(self, function: object, *words: Any, workers: Sequence[str], on_error: str) -> dict[str, Any]:
        assert on_error == "return"
        if function is cluster_worker.take_part:
            self.given |= words[1]
            return dict.fromkeys(workers)
        return {address: self.answers[address] for address in workers}

    def run_on_scheduler(self, _function: object) -> None:
        self.looked_again += 1

    def submit(
        self,
        _function: object,
        _cargo: Cargo,
        _digest: str,
        _called: object,
        parts: Sequence[Sequence[cluster_worker.Words]],
        **_: object,
    ) -> _Task:
        self.tasks.append(_Task(parts[0]))
        return self.tasks[-1]

    def cancel(self, tasks: Sequence[_Task], *, force: bool) -> None:
        assert force
        assert tasks


@pytest.fixture
def said() -> list[str]:
    """The messages for the user."""
    return []


@pytest.fixture
def made(said: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes executors, which do not look at the workers but when a test has them do so."""
    monkeypatch.setattr("conformance.execution.cluster._LOOK_S", 3600)
    monkeypatch.setattr(cluster_worker, "facts", lambda _: {"torch": "2.15.0"})
    every: list[ClusterExecutor] = []

    def make(client: _Client, **options: Any) -> ClusterExecutor:
        roster = Roster(client, CARGO, notify=said.append, **options)  # type: ignore[arg-type]
        every.append(ClusterExecutor(client, CARGO, roster))  # type: ignore[arg-type]
        return every[-1]

    yield make
    for executor in every:
        executor.shutdown()


def test_a_batch_gets_what_its_task_gives(made: Make) -> None:
    """With the fingerprint of the worker."""
    client = _Client()
    executor = made(client)
    future = executor.submit(run_batch, REQUESTS)
    client.tasks[0].end()
    assert executor.slots == 3
    assert [attempt.fingerprint for attempt in future.result(0)] == ["fingerprint1"] * 3


def test_who_was_on_a_worker_that_died_is_not_to_blame(made: Make) -> None:
    """A batch is taken apart, one request after the other while nothing else runs, and what comes meanwhile waits."""
    client = _Client()
    executor = made(client)
    batch, other = executor.submit(run_batch, REQUESTS[:2]), executor.submit(run_batch, REQUESTS[2:])
    client.tasks[0].end(KILLED)
    assert len(client.tasks) == 2  # the other batch may still be what kills
    client.tasks[1].end()
    assert [task.keys for task in client.tasks[2:]] == [(REQUESTS[0].key,)]
    later = executor.submit(run_batch, REQUESTS[2:])
    assert len(client.tasks) == 3
    client.tasks[2].end()
    assert [task.keys for task in client.tasks[3:]] == [(REQUESTS[2].key,)]
    client.tasks[3].end()
    client.tasks[4].end(KILLED)
    assert [outcome(attempt) for attempt in batch.result(0)] == [Outcome.PASS, Outcome.CRASH]
    assert {outcome(future.result(0)[0]) for future in (other, later)} == {Outcome.PASS}


def test_what_a_worker_raises_is_tried_once_more(made: Make) -> None:
    """It may be a full disk; the second time it is the end of the run."""
    client = _Client()
    executor = made(client)
    first, second = executor.submit(run_batch, REQUESTS[:1]), executor.submit(run_batch, REQUESTS[1:2])
    client.tasks[0].end(OSError("no space"))
    client.tasks[2].end()
    assert outcome(first.result(0)[0]) is Outcome.PASS
    client.tasks[1].end(OSError("no space"))
    client.tasks[3].end(OSError("no space"))
    with pytest.raises(HarnessError, match="a worker of the cluster: OSError: no space"):
        second.result(0)


def test_a_suspect_that_fails_otherwise_stays_alone(made: Make) -> None:
    """Until it has ended."""
    client = _Client()
    executor = made(client)
    future = executor.submit(run_batch, REQUESTS[:1])
    client.tasks[0].end(KILLED)
    client.tasks[1].end(OSError("no space"))
    executor.submit(run_batch, REQUESTS[1:2])
    assert len(client.tasks) == 3
    client.tasks[2].end(KILLED)
    assert outcome(future.result(0)[0]) is Outcome.CRASH
    assert len(client.tasks) == 4


def unlike(torch: str, machine: str = "m1") -> Inspected:
    """A worker with another torch."""
    return Inspected(facts={"torch": torch}, machine=machine, slots=3)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (unlike("2.14.0"), "worker tcp://a is left out: torch is 2.14.0, here 2.15.0"),
        (unlike(""), "worker tcp://a is left out: torch is unknown, here 2.15.0"),
        (ModuleNotFoundError("No module named 'conformance'"), "it cannot run this suite: ModuleNotFoundError"),
    ],
)
def test_a_worker_that_is_not_trusted_is_reported_once(made: Make, said: list[str], answer: Any, words: str) -> None:
    """One that takes its place at the same address is looked at anew."""
    client = _Client(answers={"tcp://a": answer})
    executor = made(client)
    executor._look()
    assert [line for line in said if "left out" in line] == [line for line in said if words in line]
    assert len(said) == 2
    client.workers, client.answers = {"tcp://a": {"id": "w2"}}, {"tcp://a": FIT}
    executor._look()
    assert executor.slots == 3
    assert (client.looked_again, client.given) == (1, {"tcp://a": 3})


@pytest.mark.parametrize("error", [CommClosedError("gone"), OSError("Timed out trying to connect after 30 s")])
def test_a_worker_that_has_left_is_asked_again(made: Make, said: list[str], error: Exception) -> None:
    """It is not refused."""
    client = _Client(answers={"tcp://a": error})
    executor = made(client)
    assert said == ["no worker can run this; waiting 300 s for one"]
    client.answers = {"tcp://a": FIT}
    executor._look()
    assert executor.slots == 3


def test_a_scheduler_that_answers_nothing_is_refused(made: Make) -> None:
    """Before anything is submitted."""
    client = _Client(workers={"tcp://a": {}})
    with pytest.raises(UsageError, match="this scheduler cannot be used: KeyError"):
        made(client)


def test_a_client_that_is_closed_fails_what_is_left(made: Make) -> None:
    """And what is submitted afterwards."""
    client = _Client()
    executor = made(client)
    future = executor.submit(run_batch, REQUESTS)
    client.status = "closed"
    executor._look()
    for each in (future, executor.submit(run_batch, REQUESTS)):
        with pytest.raises(HarnessError, match="the scheduler of the cluster is gone"):
            each.result(0)


def test_what_is_not_done_at_the_end_is_over(made: Make) -> None:
    """Whatever comes of it later is of no interest."""
    client = _Client()
    executor = made(client)
    future = executor.submit(run_batch, REQUESTS)
    executor.shutdown()
    client.tasks[0].end()
    with pytest.raises(HarnessError, match="the run has ended"):
        future.result(0)


def test_a_request_that_was_drawn_travels_as_text() -> None:
    """With its program, variant, seed and limit, and with a digest that is checked; its backend is the worker's."""
    request = a_request(a_case("demo.first.drawn", program="return a.sin()\n"), seed=3, timeout_s=2.5)
    drawn = Drawn.of(request)
    made = cluster_worker.perform(CARGO, CARGO.digest, list, [[drawn, drawn]])
    assert made.results == (request, request)
    other = replace(drawn, text=drawn.text.replace("sin", "cos"))
    with pytest.raises(SelectionError, match="is not the one that was sent"):
        cluster_worker.perform(CARGO, CARGO.digest, list, [[other]])


def test_every_case_survives_as_text() -> None:
    """A shrunk or drawn one may have all that the packaged ones have."""
    for case in sources.collect()[::40]:
        request = a_request(case)
        assert codec.from_plain(Request, json.loads(Drawn.of(request).text)) == request


def test_where_workers_may_differ_all_take_part(made: Make, said: list[str]) -> None:
    """Nothing is said about differences, which are no reason to leave one out."""
    executor = made(_Client(answers={"tcp://a": unlike("2.14.0")}), allow_mixed=True)
    assert (executor.slots, said) == (3, [])


def test_of_the_workers_of_a_machine_one_times(made: Make) -> None:
    """One request at a time; where it leaves, another worker of the machine takes its place."""
    addresses = ["tcp://a", "tcp://b", "tcp://c"]
    machines = dict(zip(addresses, ["m1", "m1", "m2"], strict=True))
    client = _Client(
        workers={address: {"id": address} for address in addresses},
        answers={address: replace(FIT, machine=machine) for address, machine in machines.items()},
    )
    executor = made(client, one_a_machine=True)
    assert executor.slots == 2
    assert sorted(machines[address] for address in client.given) == ["m1", "m2"]
    first = next(address for address in client.given if machines[address] == "m1")
    del client.workers[first]
    executor._look()
    assert executor.slots == 2
    assert client.given == dict.fromkeys(addresses, 1)


def test_a_worker_shows_what_it_is_and_takes_part() -> None:
    """With as many slots as it was started with, or as it has threads."""
    given: dict[str, float] = {}

    async def set_resources(**resources: float) -> None:
        given.update(resources)

    state = SimpleNamespace(total_resources={"conformance": 4.0}, nthreads=2)
    worker = SimpleNamespace(state=state, set_resources=set_resources, address="tcp://a")
    found = cluster_worker.inspect(CARGO, worker)
    assert (found.slots, found.facts) == (4, cluster_worker.facts(CARGO))
    state.total_resources = {}
    assert cluster_worker.inspect(CARGO, worker).slots == 2
    asyncio.run(cluster_worker.take_part("run1", {"tcp://a": 2}, worker))
    assert given == {"run1": 2}


def test_facts_are_what_results_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions, the code of the suite, features of the processor, and variables, of which places are none."""
    monkeypatch.setenv("CONFORMANCE_MEMORY_GIB", "8")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/somewhere")
    cargo = replace(CARGO, backends=(a_backend(packages={"numpy": "1", "no-such-package": "2"}),))
    found = cluster_worker.facts(cargo)
    assert found["package no-such-package"] == "not installed"
    assert "CONFORMANCE_MEMORY_GIB=8" in found["variables"]
    assert "/somewhere" not in found["variables"]
    assert len(found["code of the suite"]) == 12
    monkeypatch.setattr(cluster_worker, "_CPUINFO", Path("/no/such/file"))
    assert cluster_worker.facts(CARGO)["processor features"] == ""


def test_the_exception_of_a_part_is_that_of_its_batch(made: Make) -> None:
    """The first one."""
    client = _Client()
    executor = made(client)
    batch = executor.submit(run_batch, REQUESTS[:2])
    client.tasks[0].end(KILLED)
    for task in (1, 2, 3, 4):
        client.tasks[task].end(OSError("no space"))
    with pytest.raises(HarnessError, match="no space"):
        batch.result(0)


def test_a_scheduler_that_goes_while_it_is_looked_at_ends_the_run(made: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that does not answer once is asked again."""
    client = _Client()
    monkeypatch.setattr("conformance.execution.cluster._LOOK_S", 0.01)
    executor = made(client)
    future = executor.submit(run_batch, REQUESTS)

    def broken(n_workers: int) -> dict[str, Any]:
        client.status = "closed"
        message = f"{n_workers}"
        raise OSError(message)

    monkeypatch.setattr(client, "scheduler_info", broken)
    with pytest.raises(HarnessError, match="the scheduler of the cluster is gone"):
        future.result(10)


def test_tasks_without_a_worker_are_looked_at_again() -> None:
    """By the scheduler, with what each of its workers can do now."""
    moved: dict[str, str] = {}
    scheduler = SimpleNamespace(
        workers={"tcp://a": "a", "tcp://b": "b"},
        bulk_schedule_unrunnable_after_adding_worker=lambda worker: {f"task of {worker}": "processing"},
        transitions=lambda found, _stimulus: moved.update(found),
    )
    _look_again(scheduler)
    assert moved == {"task of a": "processing", "task of b": "processing"}


def test_a_scheduler_of_another_release_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """With both, before anything is asked of it."""

    class Other:
        scheduler = SimpleNamespace(versions=lambda: {"packages": {"distributed": "2024.1.0"}})

        def __init__(self, **_: object) -> None: ...

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

        def sync(self, function: Callable[[], Any]) -> Any:
            return function()

    monkeypatch.setattr("distributed.Client", Other)
    expected = f"the scheduler at tcp://a:1 is of distributed 2024.1.0, here is {metadata.version('distributed')}"
    with pytest.raises(UsageError, match=f"^{re.escape(expected)}$"), connected("tcp://a:1"):
        pass
