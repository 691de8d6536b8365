"""The fork server itself: how it starts, what children find in it, how it ends; and what it knows of processes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from conformance.execution import attempts
from conformance.isolation import process, tasks
from conformance.isolation.forkserver import ForkServer
from conformance.tests.misbehaving import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conformance.isolation.process import Usage


def metrics(task: str, argument: object = None) -> dict[str, float]:
    """Run a task in a child and give the numbers it returned."""
    end = tasks.run_task(f"{TASKS}:{task}", argument, env={}, timeout_s=60.0)
    return dict(attempts.attempt(end).metrics)


@pytest.mark.torch
def test_children_have_one_thread() -> None:
    """The server had no thread that a fork would lose, counted by the system."""
    assert metrics("says_native_threads") == {"threads": 1}


@pytest.mark.torch
def test_children_go_backward() -> None:
    """In a CUDA build, where threads of autograd start in each child, of 100 children 8 died of a race."""
    assert [metrics("goes_backward") for _ in range(100)] == [{"gradient": 4.0}] * 100


@pytest.mark.torch
@pytest.mark.parametrize("backend", ["eager", "pre_dispatch_eager", "aot_eager"])
def test_compiling_imports_nothing(backend: str) -> None:
    """Whatever of torch a first compile needs, the server has imported."""
    end = tasks.run_task(f"{TASKS}:says_imports", backend, env={}, timeout_s=60.0)
    assert attempts.attempt(end).invalid == ""


@pytest.mark.torch
def test_a_folder_does_not_shadow_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server imports the `conformance` that started it, not one in the working directory, but other modules there."""
    (tmp_path / "conformance").mkdir()
    (tmp_path / "conformance" / "__init__.py").write_text("raise RuntimeError")
    warm_up = (
        "from conformance.isolation.probe import Step\n\ndef steps():\n    return [Step(name='none', action=int)]\n"
    )
    (tmp_path / "mine.py").write_text(warm_up)
    monkeypatch.chdir(tmp_path)
    server = ForkServer({}, "mine:steps")
    assert server.left_out == ()
    assert server.stop().startswith("it ended with status 0.")


@pytest.mark.torch
def test_large_argument_arrives() -> None:
    """An argument larger than what a socket holds arrives whole."""
    assert metrics("says_length", "x" * 5_000_000) == {"length": 5_000_000}


@pytest.mark.torch
def test_limits_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child writes no core files and has the memory of the server and the limit on top."""
    monkeypatch.setenv("CONFORMANCE_MEMORY_GIB", "2")
    limits = metrics("says_data_limit")
    assert limits["core"] == 0
    assert 2 << 30 < limits["data"] < 4 << 30


@pytest.mark.torch
def test_memory_limit_can_be_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of 0 leaves what the parent has."""
    monkeypatch.setenv("CONFORMANCE_MEMORY_GIB", "0")
    assert metrics("says_data_limit")["data"] == resource.getrlimit(resource.RLIMIT_DATA)[0]


@pytest.mark.torch
def test_server_ends_with_its_parents_socket() -> None:
    """A server whose parent has gone ends normally, and stopping it twice returns the same."""
    server = ForkServer({})
    ending = server.stop()
    assert ending.startswith("it ended with status 0.")  # and what was left out of its warm-up, on a build for GPUs
    assert server.stop() == ending


def test_kill_group_reaches_the_group() -> None:
    """Killing a group kills its leader and its members; a group that is dead already is no error."""
    leader = subprocess.Popen(["/bin/sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE, process_group=0)
    assert leader.stdout is not None
    with leader.stdout as output:
        assert int(output.readline()) > 0
        process.kill_group(leader.pid)
        assert leader.wait() == -9
        assert output.read() == b""  # the member held the other end
    process.kill_group(leader.pid)


def test_children_are_listed() -> None:
    """A process knows its children."""
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as child:
        assert child.pid in process.children()
    assert child.pid not in process.children()


_BUSY = "while True: sum(range(100_000))"
_STARTER = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_BUSY!r}])"
_BESIDE = f"import threading, time; threading.Thread(target=lambda: exec({_BUSY!r})).start(); time.sleep(600)"
_REAPER = (
    "import subprocess, sys, time; subprocess.run([sys.executable, '-c', 'sum(range(30_000_000))']); time.sleep(600)"
)


@pytest.mark.parametrize("program", [_BUSY, _STARTER, _BESIDE], ids=["itself", "what it starts", "another thread"])
def test_a_process_that_computes_is_seen(program: str) -> None:
    """Its processor time grows, and it is busy, whichever of its threads and descendants works."""
    with _started(program) as started:
        before = _observed(started, lambda usage: usage.is_busy and usage.computed_s > 0)
        assert _observed(started, lambda usage: usage.computed_s > before.computed_s).is_busy


def test_a_process_that_sleeps_is_seen() -> None:
    """It is not busy, and has the time of what it waited for."""
    with _started(_REAPER) as started:
        first = _observed(started, lambda usage: not usage.is_busy and usage.computed_s > 0.2)
        assert process.usage(started.pid) == first


def test_a_process_that_is_gone_has_no_usage() -> None:
    """None is returned."""
    with subprocess.Popen(["/bin/true"]) as ended:
        ended.wait()
    assert process.usage(ended.pid) is None


@contextmanager
def _started(program: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a group of its own, which is killed afterwards."""
    with subprocess.Popen([sys.executable, "-c", program], process_group=0) as started:
        yield started
        process.kill_group(started.pid)


def _observed(started: subprocess.Popen[bytes], is_expected: Callable[[Usage], bool]) -> Usage:
    """Return the first usage that is as expected."""
    deadline = time.monotonic() + 30
    while (usage := process.usage(started.pid)) is None or not is_expected(usage):
        assert time.monotonic() < deadline, usage
        time.sleep(0.02)
    return usage


def test_threads_are_counted() -> None:
    """A process counts its threads, the main one included."""
    assert process.threads() >= 1


_ORPHAN = """
import os, subprocess, sys, time
from conformance.isolation import process
process.adopt_orphans()
command = ["/bin/sh", "-c", "sleep 600 > /dev/null & echo $!"]
pid = int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
while pid not in process.children():
    time.sleep(0.01)
process.kill_group(pid)
print(os.waitpid(pid, 0)[1])
"""


def test_orphans_are_adopted() -> None:
    """A process that adopts orphans is the parent of what its dead children left."""
    assert subprocess.run([sys.executable, "-c", _ORPHAN], capture_output=True, check=True).stdout == b"9\n"


def test_process_dies_with_its_parent() -> None:
    """A process that asked for it is killed by the system when its parent ends."""
    read, write = os.pipe()
    middle = os.fork()
    if middle == 0:
        parent = os.getpid()
        if os.fork() == 0:
            process.die_with_parent(parent)
            os.write(write, b"x")
            time.sleep(600)
        os.read(read, 1)  # the child is under way
        os._exit(0)
    os.close(write)
    os.waitpid(middle, 0)
    assert os.read(read, 1) == b""  # no process holds the other end any more
    os.close(read)


def test_process_whose_parent_is_gone_ends_at_once() -> None:
    """A process whose parent ended before it asked ends too."""
    child = os.fork()
    if child == 0:
        process.die_with_parent(os.getpid())
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
