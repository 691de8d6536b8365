"""How children may misbehave, one test each; `misbehaving.py` contains their code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance.execution import attempts
from conformance.isolation import forkserver, supervisor, tasks
from conformance.model.case import Case, InputSpec, Location, Variant
from conformance.model.enums import Spent, Stage
from conformance.model.errors import HarnessError, UsageError
from conformance.model.request import Request
from conformance.model.result import Ended
from conformance.tests import warmups
from conformance.tests.misbehaving import TASKS
from conformance.tests.servers import end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.model.result import Attempt

pytestmark = pytest.mark.torch


def attempt(task: str, argument: object = None, timeout_s: float = 60.0) -> Attempt:
    """Run one of the misbehaving tasks in isolation."""
    end = tasks.run_task(f"{TASKS}:{task}", argument, env={}, timeout_s=timeout_s)
    return attempts.attempt(end)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Servers of this test alone, which start without torch: it is about how they start and end."""
    servers = forkserver.ForkServers(f"{warmups.__name__}:brief")
    monkeypatch.setattr(tasks, "_SERVERS", servers)
    yield
    servers.shutdown()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def die(pids: list[int], within_s: float = 10.0) -> bool:
    """Wait until all of these processes are dead."""
    deadline = time.monotonic() + within_s
    while any(map(is_alive, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_result_arrives() -> None:
    """What a task returns is what the parent gets, with the time it took."""
    made = attempt("behaves", argument="an argument")
    assert (made.invalid, made.stage, made.ended) == ("an argument", Stage.COMPARE, None)
    assert made.duration_s > 0


def test_request_is_observed() -> None:
    """A request runs its case on its backend, in isolation."""
    spec = InputSpec(shape=(4,), requires_grad=True)
    case = Case(
        id="a.b", title="t", topic="t", program="return a * 2", inputs={"a": spec}, location=Location(file="a.yaml")
    )
    made = attempts.run(Request(case=case, backend=attempts.describe("eager"), variant=Variant()))
    assert (made.ended, made.invalid, made.raised) == (None, None, None)
    assert made.evidence is not None
    assert made.evidence.graphs == 1
    assert all(check.held for check in made.checks)


def test_each_task_has_a_process_of_its_own() -> None:
    """Two tasks run in two children of one single-threaded server."""
    first, second = attempt("says_where").metrics, attempt("says_where").metrics
    assert first["pid"] != second["pid"]
    assert first["server"] == second["server"]
    assert first["threads"] == 1


@pytest.mark.usefixtures("brief")
def test_a_task_has_the_folder_and_the_variables_that_its_caller_has_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not those that it had when the first server started."""
    assert attempt("says_environment", "CONFORMANCE_DEMO").invalid == "unset"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONFORMANCE_DEMO", "set")
    assert attempt("says_folder").invalid == str(tmp_path)
    assert attempt("says_environment", "CONFORMANCE_DEMO").invalid == "set"


@pytest.mark.usefixtures("brief")
def test_a_server_can_be_ended_alone() -> None:
    """The one for other variables goes on; one that there is none of is no error."""
    kept, ended = ({"CONFORMANCE_DEMO": value} for value in "ab")
    where = [tasks.run_task(f"{TASKS}:says_where", None, env=env, timeout_s=60) for env in (kept, ended)]
    servers = [int(attempts.attempt(each).metrics["server"]) for each in where]
    for _ in range(2):
        tasks.dismiss(ended)
    assert [is_alive(server) for server in servers] == [True, False]


def test_large_result_arrives() -> None:
    """A result larger than what a pipe holds arrives whole."""
    assert attempt("large", argument=3_000_000).invalid == "x" * 3_000_000


def test_over_large_result_is_a_crash() -> None:
    """A report over the limit ends the child and is its fault."""
    made = attempt("large", argument=17 << 20)
    assert str(made.ended) == "killed by SIGKILL (its report was over 16 MiB)"


def test_endless_report_is_a_crash() -> None:
    """A child that reports for ever is killed for the size of it, long before its time is over."""
    made = attempt("reports_without_end")
    assert made.ended is not None
    assert made.ended.note == "its report was over 16 MiB"


def test_output_is_captured() -> None:
    """What a child, and a program it starts, print is kept, wherever it went."""
    output = attempt("prints", argument="on stdout\n").output
    assert sorted(output.splitlines()) == ["from a program", "on stderr", "on stdout"]


def test_flood_of_forged_lines_is_only_output() -> None:
    """Lines on stdout that look like reports and records change nothing, and are bounded."""
    made = attempt("floods", argument=20_000)
    assert (made.invalid, made.ended) == ("the true one", None)
    assert len(made.output) < 10_000
    assert "bytes left out" in made.output


def test_segfault_is_named_with_its_stage_and_traceback() -> None:
    """A segfault is a crash by SIGSEGV at the last stage reported, with its place in the output."""
    made = attempt("segfaults")
    assert (made.ended, made.stage) == (Ended(signal="SIGSEGV"), Stage.COMPILE)
    assert "in segfaults" in made.output


def test_abort_is_named() -> None:
    """An abort is a crash by SIGABRT."""
    assert attempt("aborts").ended == Ended(signal="SIGABRT")


def test_signal_without_a_name_has_its_number() -> None:
    """A real-time signal is called by its number."""
    assert attempt("dies_of", argument=signal.SIGRTMIN + 1).ended == Ended(signal=f"signal {signal.SIGRTMIN + 1}")


@pytest.mark.parametrize("status", [0, 3])
def test_exit_without_result_is_named(status: int) -> None:
    """A child that exits without a result has crashed, even with status 0."""
    assert attempt("exits", argument=status).ended == Ended(status=status)


@pytest.mark.parametrize(("code", "status"), [(None, 0), (3, 3), ("in words", 1)])
def test_system_exit_is_an_exit(code: object, status: int) -> None:
    """SystemExit ends the child with the status that Python would give it."""
    assert attempt("exits_politely", argument=code).ended == Ended(status=status)


def test_crash_after_report_wins() -> None:
    """A child that reported and then crashed has crashed, with a note that it had reported."""
    assert str(attempt("crashes_after_report").ended) == "killed by SIGSEGV (after it had reported its result)"


@pytest.mark.parametrize(
    ("task", "spent"),
    [("hangs", Spent.SLEEPING), ("computes_forever", Spent.COMPUTING), ("waits_for_a_program", Spent.COMPUTING)],
)
def test_hang_is_killed_at_its_limit(task: str, spent: Spent) -> None:
    """A child that ignores SIGTERM is killed when its time is over, with the stage and how it was spent."""
    made = attempt(task, timeout_s=1.0)
    assert (made.ended, made.stage) == (Ended(timed_out=True, limit_s=1.0, spent=spent), Stage.BACKWARD)
    assert 1.0 <= made.duration_s < 30.0


def test_hang_is_placed_in_its_call() -> None:
    """The first call compiles, each later one begins with its forward."""
    made = attempt("hangs_in_the_third_call", timeout_s=0.5)
    assert (made.stage, made.call) == (Stage.BACKWARD, 2)


def test_processes_left_behind_die(tmp_path: Path) -> None:
    """What a child started dies with it, even in a session of its own."""
    path = tmp_path / "pids"
    assert attempt("leaves_processes", argument=str(path)).ended is None
    assert die([int(pid) for pid in path.read_text().split()])


def test_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that takes too much memory is a crash with that reason."""
    monkeypatch.setenv("CONFORMANCE_MEMORY_GIB", "0.5")
    assert str(attempt("eats_memory").ended) == "exited with status 0 (it ran out of the 0.5 GiB of memory it may use)"


def test_malformed_memory_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory limit that is no number is the caller's mistake."""
    monkeypatch.setenv("CONFORMANCE_MEMORY_GIB", "much")
    with pytest.raises(UsageError, match="'much'"):
        attempt("behaves")


def test_uncaught_exception_is_invalid() -> None:
    """An exception that escapes the task is a fault of the harness, with its traceback."""
    made = attempt("raises")
    assert made.invalid is not None
    assert made.invalid.startswith("ValueError: not caught")
    assert "in raises" in made.invalid


def test_unreadable_result_is_a_crash() -> None:
    """A result that makes no attempt is the child's fault."""
    made = attempt("returns_another_type")
    assert made.ended is not None
    assert made.ended.note.startswith("its result cannot be read: 1 validation error for Attempt\nmetrics")


def test_unknown_task_is_invalid() -> None:
    """A task that does not exist is a fault of the harness."""
    assert "has no attribute 'no_such_task'" in (attempt("no_such_task").invalid or "")


def test_garbage_on_every_descriptor_is_a_crash() -> None:
    """Garbage in the report is the child's fault and raises no exception."""
    made = attempt("writes_everywhere")
    assert made.ended is not None
    assert "its report is malformed: cannot read b'garbage'" in made.ended.note
    assert made.output.count("garbage") == 2


def test_closed_descriptors_are_a_crash() -> None:
    """A child that closes its report cannot report."""
    assert attempt("closes_everything").ended == Ended(status=1)


def test_fork_in_a_task_reports_once() -> None:
    """The report belongs to the child alone: a process forked from it cannot write there."""
    assert attempt("forks_and_both_return").invalid == "once"


def test_programs_inherit_nothing() -> None:
    """A program that a child starts has stdin, stdout, stderr and what it opens itself."""
    assert attempt("says_descriptors").metrics["started"] == 4


def test_threads_run_tasks_at_once() -> None:
    """Tasks sent from two threads run side by side and do not mix."""
    with ThreadPoolExecutor(2) as pool:
        hanging = pool.submit(attempt, "hangs", timeout_s=3.0)
        others = [pool.submit(attempt, "behaves", number) for number in range(8)]
        assert [other.result().invalid for other in others] == list(map(str, range(8)))
        assert not hanging.done()
        assert hanging.result().ended == Ended(timed_out=True, limit_s=3.0, spent=Spent.SLEEPING)


@pytest.mark.usefixtures("brief")
def test_backend_environment_has_a_server_of_its_own() -> None:
    """A backend's environment variables are set in its children, and in no other's."""
    name = "CONFORMANCE_TEST_VARIABLE"
    ends = [
        tasks.run_task(f"{TASKS}:says_environment", name, env=env, timeout_s=60)
        for env in ({name: "set"}, {}, {name: "set"})
    ]
    assert [attempts.attempt(end).invalid for end in ends] == ["set", "unset", "set"]


@pytest.mark.usefixtures("brief")
def test_dead_server_is_replaced() -> None:
    """When the fork server was killed between two tasks, the next one gets a new server."""
    server = int(attempt("says_where").metrics["server"])
    os.kill(server, signal.SIGKILL)
    assert die([server])
    assert attempt("says_where").metrics["server"] != server


@pytest.mark.usefixtures("brief")
def test_task_is_repeated_when_the_server_dies(tmp_path: Path) -> None:
    """When the fork server dies under a task, the task runs once more."""
    assert attempt("kills_the_server", argument=str(tmp_path / "killed")).invalid == "survived"


@pytest.mark.usefixtures("brief")
def test_task_is_repeated_when_the_server_no_longer_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork server that does not kill a child that is over its time is itself killed and replaced."""
    monkeypatch.setattr(supervisor, "KILL_LIMIT_S", 0.5)
    monkeypatch.setattr(forkserver, "STOP_LIMIT_S", 0.5)
    assert attempt("stops_the_server", argument=str(tmp_path / "stopped"), timeout_s=1.0).invalid == "survived"


@pytest.mark.usefixtures("brief")
def test_server_that_dies_twice_is_an_error() -> None:
    """A task under which the fork server dies again is an error of the harness."""
    with pytest.raises(HarnessError, match="the fork server died twice"):
        attempt("always_kills_the_server")


_PARENT = f"""
import sys
from conformance.isolation import tasks
tasks.run_task("{TASKS}:leaves_processes_and_hangs", sys.argv[1], env={{}}, timeout_s=600)
"""


def test_children_die_with_the_parent(tmp_path: Path) -> None:
    """When the parent is killed, the server, its children and what they started die."""
    path = tmp_path / "pids"
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, str(path)])
    while not (path.exists() and path.read_text().endswith("ready")):
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    assert die([int(word) for word in path.read_text().split()[:-1]])


@pytest.mark.usefixtures("brief")
def test_shutdown_ends_running_tasks() -> None:
    """Shutting down ends what runs; the waiting thread gets an error, not a second try."""
    with ThreadPoolExecutor(1) as pool:
        pid = int(attempt("says_where").metrics["server"])
        hanging = pool.submit(attempt, "hangs", timeout_s=30.0)
        time.sleep(0.5)
        end()
        with pytest.raises(HarnessError, match="shut down while a request was running"):
            hanging.result()
    assert not is_alive(pid)


def test_fork_of_the_parent_gets_servers_of_its_own() -> None:
    """A process forked from one that has a server does not use that server, and does not harm it."""
    server = attempt("says_where").metrics["server"]
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        os.write(write, str(attempt("says_where").metrics["server"]).encode())
        end()
        os._exit(0)
    os.waitpid(pid, 0)
    other = float(os.read(read, 100))
    os.close(read)
    os.close(write)
    assert other != server
    assert attempt("says_where").metrics["server"] == server


def test_server_that_takes_too_long_to_start_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warm-up that hangs ends after a time."""
    monkeypatch.setattr(forkserver, "START_LIMIT_S", 1.0)
    monkeypatch.setattr(forkserver, "STOP_LIMIT_S", 0.5)
    (tmp_path / "torch.py").write_text("import time; time.sleep(600)")
    with pytest.raises(HarnessError, match="did not start: it ended with status -9"):
        tasks.run_task(f"{TASKS}:behaves", None, env={"PYTHONPATH": str(tmp_path)}, timeout_s=60)


def test_server_that_cannot_start_is_an_error(tmp_path: Path) -> None:
    """Where torch can be imported and the server does not start, the error names the step that failed and why."""
    (tmp_path / "torch.py").write_text("version = 'what is imported, and is not torch'")
    with pytest.raises(HarnessError, match=r"did not start: import torch: AttributeError: .* no attribute"):
        tasks.run_task(f"{TASKS}:behaves", None, env={"PYTHONPATH": str(tmp_path)}, timeout_s=60)


def test_torch_that_does_not_import_is_an_error(tmp_path: Path) -> None:
    """The error is the end of the exception, and nothing else of the server's output."""
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    with pytest.raises(HarnessError, match=r"^torch does not import: ImportError: no torch here\n  This is torch "):
        tasks.run_task(f"{TASKS}:behaves", None, env={"PYTHONPATH": str(tmp_path)}, timeout_s=60)
