"""Run a function in a process of its own: forked warm, limited in time and memory, killed with all that it started.

A process that calls `run_task` keeps one fork server (`server.py`) for each set of environment variables. Whatever a
child does is a result; an error is only a fork server that does not start, or that dies twice under one task.
`CONFORMANCE_MEMORY_GIB` (default 4; 0 is no limit) limits the memory of a child.
"""

from __future__ import annotations

import atexit
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from conformance.isolation.child import Task
from conformance.isolation.deadline import StoppedError
from conformance.isolation.forkserver import ForkServers
from conformance.isolation.supervisor import ServerDiedError, attend
from conformance.model import codec
from conformance.model.errors import HarnessError, UsageError
from conformance.model.result import Ended

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conformance.isolation.deadline import Deadline
    from conformance.isolation.supervisor import Exit

__all__ = ["dismiss", "refusal", "result", "run_task", "shutdown"]


T = TypeVar("T")


_SERVERS = ForkServers()
atexit.register(_SERVERS.shutdown)
os.register_at_fork(after_in_child=_SERVERS.forget)


def result(kind: type[T], end: Exit) -> T | Ended | str:
    """Return the result of a child, or how it ended, or its error message with its output."""
    if end.ended:
        return end.ended
    if end.report.kind != "result":
        return f"{end.report.body}\n{end.output}"
    try:
        return codec.from_plain(kind, end.report.body)
    except ValueError as error:
        return Ended(status=0, note=f"its result cannot be read: {error}")


def refusal(end: Exit) -> str:
    """Return the usage error reported by the child, or ''."""
    return end.report.body if end.ended is None and end.report.kind == "refused" else ""


def run_task(
    function: str, argument: object, *, env: Mapping[str, str], timeout_s: float, deadline: Deadline | None = None
) -> Exit:
    """Call `function` (`module:function`) in a child as `function(argument, report_stage)`.

    The child has the environment variables and the working directory that this process has now.

    Raises:
        HarnessError: the fork server does not start, or died twice.
        StoppedError: the deadline has passed.
    """
    if deadline and deadline.has_passed:
        raise StoppedError
    task = Task(function=function, argument=argument, memory_bytes=_memory_limit(), folder=str(Path.cwd()))
    server = _SERVERS.get(env)
    try:
        return attend(server, task, timeout_s, deadline)
    except ServerDiedError:
        server = _SERVERS.get(env, dead=server)
    try:
        return attend(server, task, timeout_s, deadline)
    except ServerDiedError as error:
        message = f"the fork server died twice: {server.stop()}"
        raise HarnessError(message) from error


def dismiss(env: Mapping[str, str]) -> None:
    """End the fork server for these environment variables and all that runs in it."""
    _SERVERS.dismiss(env)


def shutdown() -> None:
    """End every fork server and all that runs in them; a later `run_task` starts new ones."""
    _SERVERS.shutdown()


def _memory_limit() -> int:
    text = os.environ.get("CONFORMANCE_MEMORY_GIB", "4")
    try:
        return int(float(text) * (1 << 30))
    except ValueError:
        message = f"CONFORMANCE_MEMORY_GIB is {text!r}, which is not a number."
        raise UsageError(message) from None
