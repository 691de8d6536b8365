"""Requests on workers of a real dask cluster on this machine, with what may happen to workers, scheduler and client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from conformance.catalogue import sources
from conformance.cli.main import main
from conformance.execution import cluster_worker, engine
from conformance.execution.cluster import ClusterExecutor, connected
from conformance.execution.cluster_worker import Cargo, cargo_of
from conformance.execution.roster import Roster
from conformance.model.enums import Outcome
from conformance.model.errors import HarnessError, SelectionError, UsageError
from conformance.model.request import Request
from conformance.tests.execution import sleepers
from conformance.tests.fakes import a_backend
from conformance.tests.runs import timeless
from conformance.verdict.judge import outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of dask and tornado themselves
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # sockets of workers that were killed
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # the same
    pytest.mark.filterwarnings("ignore::UserWarning"),  # that a port of the dashboard is in use
]

CASES = sources.collect()[:8]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where workers note what they do."""
    path = tmp_path / "log"
    path.touch()
    return path


def a_cargo(log: Path, **todo: Any) -> Cargo:
    """A run on one backend, whose requests sleep."""
    backend = a_backend(description=json.dumps({"log": str(log), **todo}))
    return Cargo(run_id=f"run{time.monotonic_ns()}", backends=(backend,), seed=7)


def requests_of(cargo: Cargo, number: int = len(CASES)) -> list[Request]:
    """The first variants of some cases."""
    return [Request(case=case, backend=cargo.backends[0], variant=case.variants[0]) for case in CASES[:number]]


@contextmanager
def executing(cargo: Cargo, workers: int = 1, **options: Any) -> Iterator[tuple[ClusterExecutor, Any]]:
    """An executor on a cluster of its own."""
    with connected(f"local:{workers}") as client:
        executor = ClusterExecutor(client, cargo, Roster(client, cargo, **options))
        try:
            yield executor, client
        finally:
            executor.shutdown()


def lines(log: Path, word: str) -> list[list[str]]:
    """The notes that begin with a word: case and process."""
    return [line.split()[1:] for line in log.read_text(encoding="utf-8").splitlines() if line.split()[0] == word]


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_requests_are_run_by_every_worker(log: Path) -> None:
    """Each once, with the seed of the run, and by a process that is not this one."""
    cargo = a_cargo(log, sleep=0.2)
    with executing(cargo, workers=2) as (executor, _):
        assert executor.slots == 2
        futures = [executor.submit(sleepers.run, [request]) for request in requests_of(cargo)]
        made = [future.result(30) for future in futures]
    assert [attempts[0].metrics["seed"] for attempts in made] == [7.0] * len(CASES)
    done = lines(log, "done")
    assert sorted(case for case, _ in done) == sorted(case.id for case in CASES)
    processes = {process for _, process in done}
    assert (len(processes), str(os.getpid()) in processes) == (2, False)


def test_a_request_whose_worker_is_killed_runs_elsewhere(log: Path) -> None:
    """Its attempt is there once; the others are not touched."""
    cargo = a_cargo(log, sleep=1.0)
    with executing(cargo, workers=2) as (executor, _):
        futures = [executor.submit(sleepers.run, [request]) for request in requests_of(cargo, 4)]
        wait_for(lambda: lines(log, "begun"))
        case, process = lines(log, "begun")[0]
        os.kill(int(process), signal.SIGKILL)
        assert [outcome(future.result(60)[0]) for future in futures] == [Outcome.PASS] * 4
    again = [other for begun, other in lines(log, "begun") if begun == case]
    assert len(again) == 2
    assert len([case for case, _ in lines(log, "done")]) == 4


def test_a_worker_that_hangs_is_given_up(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had runs elsewhere."""
    monkeypatch.setattr("conformance.execution.cluster._SILENT_S", 3)
    cargo = a_cargo(log, sleep=1.0)
    with executing(cargo, workers=2) as (executor, _):
        futures = [executor.submit(sleepers.run, [request]) for request in requests_of(cargo, 2)]
        wait_for(lambda: lines(log, "begun"))
        process = int(lines(log, "begun")[0][1])
        os.kill(process, signal.SIGSTOP)
        try:
            assert [outcome(future.result(60)[0]) for future in futures] == [Outcome.PASS] * 2
        finally:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


_AHEAD = """
import time
true, time.time = time.time, lambda: true() + 3600
from distributed.cli.dask_worker import main
main()
"""


def test_a_worker_whose_clock_is_an_hour_ahead_is_one_like_others(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not taken for one that hangs, nor is anybody else, and requests take as long as they take."""
    monkeypatch.setattr("conformance.execution.cluster._SILENT_S", 3)
    cargo = a_cargo(log, sleep=1.0)
    with connected("local:1") as client:
        assert client.cluster
        words = (client.cluster.scheduler_address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
        with subprocess.Popen([sys.executable, "-c", _AHEAD, *words], stderr=subprocess.DEVNULL) as ahead:
            try:
                client.wait_for_workers(2, timeout=60)
                executor = ClusterExecutor(client, cargo)
                futures = [executor.submit(sleepers.run, [request]) for request in requests_of(cargo)]
                made = [future.result(60)[0] for future in futures]
                executor.shutdown()
            finally:
                ahead.kill()
    assert all(1.0 <= attempt.duration_s < 30 for attempt in made)
    assert len(lines(log, "begun")) == len(CASES)
    assert len({process for _, process in lines(log, "done")}) == 2


def test_poison_is_a_crash_and_the_cluster_lives(log: Path) -> None:
    """Of a batch only the request that ends its worker each time; what the others gave is kept."""
    cargo = a_cargo(log, poison=CASES[1].id)
    with executing(cargo, workers=2) as (executor, _):
        batch = executor.submit(sleepers.run, requests_of(cargo, 3))
        made = batch.result(120)
        assert [outcome(attempt) for attempt in made] == [Outcome.PASS, Outcome.CRASH, Outcome.PASS]
        assert "the workers that ran it died, 3 one after another" in str(made[1].ended)
        assert outcome(executor.submit(sleepers.run, requests_of(cargo, 1)).result(60)[0]) is Outcome.PASS


def test_without_workers_the_client_waits_and_goes_on(log: Path) -> None:
    """It says so once, and the next worker gets what is left."""
    said: list[str] = []
    cargo = a_cargo(log)
    with executing(cargo, notify=said.append) as (executor, client):
        client.cluster.scale(0)
        wait_for(lambda: said)
        future = executor.submit(sleepers.run, requests_of(cargo, 1))
        client.cluster.scale(1)
        assert outcome(future.result(60)[0]) is Outcome.PASS
    assert said == ["no worker can run this; waiting 300 s for one"]


def test_without_workers_for_long_the_run_ends(log: Path) -> None:
    """As a fault of the machine, so that it can be resumed."""
    cargo = a_cargo(log)
    with executing(cargo, worker_timeout_s=1.0) as (executor, client):
        client.cluster.scale(0)
        wait_for(lambda: not client.scheduler_info()["workers"])
        with pytest.raises(HarnessError, match="for 1 s no worker could run this"):
            executor.submit(sleepers.run, requests_of(cargo, 1)).result(30)


@contextmanager
def dask(*words: str, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of dask's own command."""
    command = [sys.executable, "-m", "dask", *words, "--no-dashboard"]
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_scheduler_that_is_killed_ends_the_run(log: Path, tmp_path: Path) -> None:
    """As a fault of the machine, also of what is submitted afterwards; its client does not wait for it."""
    file = tmp_path / "scheduler.json"
    cargo = a_cargo(log, sleep=30)
    with dask("scheduler", "--port", "0", "--scheduler-file", str(file), cwd=tmp_path) as scheduler:
        wait_for(file.exists)
        worker = ("worker", "--scheduler-file", str(file), "--nthreads", "1", "--resources", "conformance=1")
        with dask(*worker, "--no-nanny", cwd=tmp_path), connected(str(file)) as client:
            wait_for(lambda: client.scheduler_info()["workers"])
            executor = ClusterExecutor(client, cargo)
            future = executor.submit(sleepers.run, requests_of(cargo, 1))
            wait_for(lambda: lines(log, "begun"))
            scheduler.kill()
            with pytest.raises(HarnessError, match="the scheduler of the cluster is gone"):
                future.result(60)
            with pytest.raises(HarnessError):
                executor.submit(sleepers.run, requests_of(cargo, 1)).result(30)
            executor.shutdown()


def test_a_local_cluster_leaves_the_allocator_alone(log: Path) -> None:
    """Here and in its workers; as dask sets it, requests take longer."""
    with executing(a_cargo(log)) as (_, client):
        assert "MALLOC_TRIM_THRESHOLD_" not in os.environ
        assert "MALLOC_TRIM_THRESHOLD_" not in _variables(client)


def test_a_worker_hands_on_nothing_that_dask_added(log: Path, tmp_path: Path) -> None:
    """From when it takes part: its fork servers have the environment that `dask worker` was started in."""
    file = tmp_path / "scheduler.json"
    with dask("scheduler", "--port", "0", "--scheduler-file", str(file), cwd=tmp_path):
        wait_for(file.exists)
        worker = ("worker", "--scheduler-file", str(file), "--nthreads", "1")
        with dask(*worker, cwd=tmp_path), connected(str(file)) as client:
            wait_for(lambda: client.scheduler_info()["workers"])
            assert "MALLOC_TRIM_THRESHOLD_" in _variables(client)
            ClusterExecutor(client, a_cargo(log)).shutdown()
            assert "MALLOC_TRIM_THRESHOLD_" not in _variables(client)


def _variables(client: Any) -> dict[str, str]:
    """The environment of the only worker."""
    (found,) = client.run(lambda: dict(os.environ)).values()
    return dict(found)


def test_workers_that_are_not_as_the_client_is_are_left_out(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With each difference by name, unless mixed ones are allowed: then records have the worker's fingerprint."""
    monkeypatch.setattr(cluster_worker, "facts", lambda _: {"torch": "9.9.9", "suite_hash": "other"})
    said: list[str] = []
    cargo = a_cargo(log)
    with executing(cargo, notify=said.append) as (executor, _):
        assert executor.slots == 1
    assert "is left out: torch is 2." in said[0]
    assert "here 9.9.9; suite_hash is " in said[0]
    with executing(replace(cargo, run_id="mixed"), allow_mixed=True) as (executor, _):
        (attempt,) = executor.submit(sleepers.run, requests_of(cargo, 1)).result(60)
    assert len(attempt.fingerprint) == 12


def test_what_a_worker_does_not_have_comes_with_the_run(tmp_path: Path) -> None:
    """Folders of cases and the file of a backend, as texts whose digest is checked."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "mine_topic.yaml").write_text(
        "topic: Mine\ncases:\n- id: mine.topic.sine\n  title: A sine\n  clauses: [RS-1]\n  inputs: {a: {shape: [2]}}\n"
        "  program: return a.sin()\n",
        encoding="utf-8",
    )
    file = tmp_path / "compiler.py"
    file.write_text("def mine(graph, inputs):\n    return graph\n", encoding="utf-8")
    backend = a_backend(ref=f"{file}:mine")
    cargo = cargo_of("run1", [backend], [folder])
    folder_digest = cargo.digest
    file.unlink()
    (folder / "mine_topic.yaml").unlink()
    made = cluster_worker.perform(cargo, folder_digest, seen, [[("fake", "mine.topic.sine", "grad=enabled")]])
    assert made.results == ("def mine(graph, inputs):\n    return graph\n",)
    with pytest.raises(SelectionError, match="are not those that were sent"):
        cluster_worker.perform(cargo, "another", seen, [[("fake", "mine.topic.sine", "grad=enabled")]])
    with pytest.raises(SelectionError, match=r"this worker has no case mine\.topic\.other"):
        cluster_worker.perform(cargo, folder_digest, seen, [[("fake", "mine.topic.other", "grad=enabled")]])


def seen(requests: Sequence[Request]) -> list[str]:
    """What a worker finds at the places of backends."""
    return [Path(request.backend.ref.rpartition(":")[0]).read_text(encoding="utf-8") for request in requests]


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        ("tcp://127.0.0.1:1", "no dask scheduler answers at tcp://127.0.0.1:1"),
        ("local:none", "'local:none' is not of the form local:N"),
        ("local:0", "'local:0' is not of the form local:N"),
        ("nowhere", "no dask scheduler answers at nowhere"),
    ],
)
def test_a_scheduler_that_is_none_is_reported_in_one_line(
    scheduler: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its address."""
    monkeypatch.setattr("conformance.execution.cluster._ANSWER_S", 1.0)
    with pytest.raises(UsageError) as raised, connected(scheduler):
        pass
    assert str(raised.value).startswith(words)
    assert "\n" not in str(raised.value)


_CLIENT = """
import json, sys, time
from pathlib import Path
from conformance.tests.execution import sleepers
from conformance.tests.execution.test_cluster import a_cargo, executing, requests_of
if __name__ == "__main__":
    cargo = a_cargo(Path(sys.argv[1]), sleep=60)
    with executing(cargo, workers=2) as (executor, _):
        for request in requests_of(cargo, 2):
            executor.submit(sleepers.run, [request])
        time.sleep(60)
"""


def test_a_client_that_is_killed_leaves_no_process(log: Path, tmp_path: Path) -> None:
    """Workers of its own end with it, and what they run."""
    script = tmp_path / "client.py"
    script.write_text(_CLIENT, encoding="utf-8")
    with subprocess.Popen([sys.executable, script, log], stderr=subprocess.DEVNULL) as client:
        wait_for(lambda: len(lines(log, "begun")) == 2, 60)
        client.kill()
    processes = [Path("/proc", process) for _, process in lines(log, "begun")]
    wait_for(lambda: not any(process.exists() for process in processes))


@pytest.mark.torch
def test_records_are_those_of_one_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ran them, and a run that was cut short on a cluster is completed without one."""
    monkeypatch.chdir(tmp_path)
    words = ["run", "--backend", "eager", "--case", "pre_dispatch.*", "--case", "exceptions.modes.b*"]
    made = CliRunner().invoke(main, [*words, "--records", "here.jsonl"])
    there = CliRunner().invoke(main, [*words, "--records", "there.jsonl", "--scheduler", "local:2"])
    assert (made.exit_code, there.exit_code) == (0, 0), there.output
    here = timeless(tmp_path / "here.jsonl")
    assert timeless(tmp_path / "there.jsonl") == here
    lines = (tmp_path / "there.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "cut.jsonl").write_text("".join(lines[:4]), encoding="utf-8")
    resumed = CliRunner().invoke(main, [*words, "--records", "cut.jsonl", "--resume"])
    assert resumed.exit_code == 0, resumed.output
    assert timeless(tmp_path / "cut.jsonl") == here


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--allow-mixed",), "--allow-mixed and --tls-* are for a cluster"),
        (("--scheduler", "tcp://x:1", "--scheduler-file", __file__), "name two schedulers"),
        (("--scheduler", "tcp://x:1", "--jobs", "2"), "--jobs is for this machine"),
        (("--scheduler", "tls://x:1"), "TLS needs --tls-ca-file, --tls-cert and --tls-key"),
        (("--scheduler", "tls://x:1", "--tls-ca-file", __file__), "TLS needs --tls-ca-file, --tls-cert and --tls-key"),
    ],
)
def test_options_of_clusters_that_contradict_each_other(words: Sequence[str], said: str) -> None:
    """Before anything is started."""
    done = CliRunner().invoke(main, ["run", *words])
    assert (done.exit_code, said in done.stderr) == (2, True)


def test_who_has_no_dask_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else works without it."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "conformance.execution.cluster")
    monkeypatch.delattr("conformance.execution.cluster", raising=False)
    scheduler = engine.Scheduler(place="local:1")
    with (
        pytest.raises(UsageError, match=r"torch-compile-conformance\[cluster\]"),
        engine.cluster(scheduler, cargo_of("run1", ()), notify=print),
    ):
        pass
