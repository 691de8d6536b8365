"""What a warm-up step leaves behind is found out before the fork server takes it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from conformance.isolation.child import Task
from conformance.isolation.forkserver import ForkServer
from conformance.isolation.supervisor import attend
from conformance.model.errors import HarnessError
from conformance.tests.misbehaving import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator

WARM_UPS = "conformance.tests.warmups"


@contextmanager
def started(warm_up: str) -> Iterator[ForkServer]:
    """A fork server with one of the warm-ups that misbehave."""
    server = ForkServer({}, f"{WARM_UPS}:{warm_up}")
    try:
        yield server
    finally:
        server.stop()


def found(server: ForkServer) -> dict[str, object]:
    """What a child of the server finds: its threads, open files, and the steps that were taken."""
    task = Task(function=f"{TASKS}:says_what_is_left", argument=None, memory_bytes=0, folder=".")
    return dict(attend(server, task, 60.0).report.body["metrics"])


def test_what_a_step_leaves_behind_keeps_it_out() -> None:
    """A thread, an open file, a process, CUDA: each such step is left out, named with its reason, the others taken."""
    with started("leaving") as server:
        assert {step.name: step.reason for step in server.left_out} == {
            "thread": "starts 1 thread",
            "file": "leaves /dev/zero open",
            "process": "leaves 1 process running",
            "cuda": "initialises CUDA",
            "raises": "AttributeError: no such table",
        }
        assert found(server) == {"threads": 1, "children": 0, "first": 1, "last": 1}


def test_a_step_that_dies_is_left_out() -> None:
    """What kills the probe, or ends it, does not reach the server."""
    with started("dying") as server:
        assert {step.name: step.reason for step in server.left_out} == {
            "killed": "dies of SIGSEGV",
            "exits": "ends the process with status 7",
        }
        assert found(server)["last"] == 1


def test_a_step_that_hangs_is_left_out() -> None:
    """A step that does not end is given up after a while."""
    with started("hanging") as server:
        assert [step.name for step in server.left_out] == ["hangs"]
        assert found(server)["last"] == 1


def test_a_required_step_that_starts_a_thread_leaves_everything_out() -> None:
    """Where even importing torch made a process unfit, the server forks without it: slower, not wrong."""
    with started("required_thread") as server:
        assert [(step.name, step.reason) for step in server.left_out] == [
            (f"{WARM_UPS}:required_thread", "base starts 1 thread")
        ]
        assert found(server) == {"threads": 1, "children": 0, "first": 0, "last": 0}


def test_a_required_step_that_raises_is_why_the_server_does_not_start() -> None:
    """The error names the step and the exception."""
    with pytest.raises(HarnessError, match="the fork server did not start: base: AttributeError: no such table"):
        ForkServer({}, f"{WARM_UPS}:required_raises")


def test_what_is_left_out_is_in_the_log() -> None:
    """One line each, which `stop` returns with how the server ended."""
    server = ForkServer({}, f"{WARM_UPS}:dying")
    assert "left out of the warm-up: killed: dies of SIGSEGV" in server.stop().splitlines()
