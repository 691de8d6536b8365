"""Run a request in a process of its own: forked warm, limited in time and memory, killed with all it started.

A process that calls `run` keeps one fork server (`server.py`) for each set of environment variables that backends ask
for. Whatever a child does is a result; an error is only a fork server that does not start, or that dies twice under
one request. `CONFORMANCE_MEMORY_GIB` (default 4; 0 is no limit) says how much memory a child may take.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, TypeVar

from conformance import wire
from conformance.child import Task
from conformance.deadline import StoppedError
from conformance.errors import BackendError, HarnessError, UsageError
from conformance.forkserver import ForkServers
from conformance.judge import outcome
from conformance.model import Attempt, Attempts, BackendInfo, Ended, Outcome
from conformance.resolve import absolute, name_of
from conformance.watch import ServerDiedError, attend

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conformance.deadline import Deadline
    from conformance.model import Request
    from conformance.watch import Exit

__all__ = ["attempt", "describe", "refusal", "result", "run", "run_batch", "run_task", "shutdown", "sweep"]

T = TypeVar("T")

_SERVERS = ForkServers()
atexit.register(_SERVERS.shutdown)
os.register_at_fork(after_in_child=_SERVERS.forget)

IMPORT_LIMIT_S = 60.0


def run(request: Request, deadline: Deadline | None = None) -> Attempt:
    """Run one request in a child and wait for what comes of it; may be called from any thread or executor.

    Raises:
        HarnessError: the fork server does not start, or died twice.
        StoppedError: the deadline has passed.
    """
    function, env = "conformance.observe:run", request.backend.env
    return attempt(run_task(function, request, env=env, timeout_s=request.timeout_s, deadline=deadline))


def run_batch(requests: Sequence[Request]) -> list[Attempt]:
    """Run requests of one backend, several in one child as long as each is a plain pass.

    What is anything else is run again alone, and what stands behind it in another child: a process in which something
    went wrong proves nothing. When the child died or was over its limit, each is run alone.

    Raises:
        HarnessError: the fork server does not start, or died twice.
    """
    attempts: list[Attempt] = []
    while len(waiting := requests[len(attempts) :]) > 1:
        passes = _passes(waiting)
        if passes is None:
            break
        attempts += passes
        if len(attempts) < len(requests):
            attempts.append(run(requests[len(attempts)]))
    return attempts + [run(request) for request in requests[len(attempts) :]]


def sweep(requests: Sequence[Request], deadline: Deadline | None = None) -> list[Attempt]:
    """Run requests of one backend in as few children as their failures allow.

    As `run_batch`, but what is no pass is not run again alone: of thousands of programs, those that matter will be.

    Raises:
        HarnessError: the fork server does not start, or died twice.
        StoppedError: the deadline has passed.
    """
    attempts: list[Attempt] = []
    while waiting := requests[len(attempts) :]:
        made = _together(waiting, deadline)
        if made is None:
            break
        attempts += made
    return attempts + [run(request, deadline) for request in requests[len(attempts) :]]


def _passes(requests: Sequence[Request]) -> list[Attempt] | None:
    """The plain passes that requests begin with, run in one child; None when it gave no result."""
    made = _together(requests)
    return None if made is None else list(takewhile(lambda attempt: outcome(attempt) is Outcome.PASS, made))


def _together(requests: Sequence[Request], deadline: Deadline | None = None) -> Sequence[Attempt] | None:
    """The attempts made in one child, the last of which may be no pass; None when it gave no result."""
    limit = max(request.timeout_s for request in requests)
    function, env = "conformance.observe:run_all", requests[0].backend.env
    end = run_task(function, tuple(requests), env=env, timeout_s=limit, deadline=deadline)
    made = result(Attempts, end)
    return made.made if isinstance(made, Attempts) else None


def attempt(end: Exit) -> Attempt:
    """Turn how a child ended and what it said into the attempt it made."""
    made = result(Attempt, end)
    if isinstance(made, Ended):
        made = Attempt(ended=made, stage=end.report.stage, call=end.report.call)
    elif isinstance(made, str):
        made = Attempt(invalid=made, stage=end.report.stage)
    return replace(made, output=end.output, duration_s=end.duration_s)


def describe(ref: str) -> BackendInfo:
    """Resolve a backend in a child: an import that raises, hangs or ends the process makes it a broken one.

    Raises:
        BackendError: nothing has that name.
        HarnessError: the fork server does not start, or died twice.
    """
    ref = absolute(ref)
    end = run_task("conformance.resolve:describe_backend", ref, env={}, timeout_s=IMPORT_LIMIT_S)
    if refused := refusal(end):
        raise BackendError(refused)
    info = result(BackendInfo, end)
    if isinstance(info, BackendInfo):
        return info
    return BackendInfo(ref=ref, name=name_of(ref), broken=f"while it was loaded: {info}")


def result(kind: type[T], end: Exit) -> T | Ended | str:
    """What a child returned, or how it ended, or what it said was wrong."""
    if end.ended:
        return end.ended
    if end.report.kind != "result":
        return f"{end.report.body}\n{end.output}"
    try:
        return wire.from_plain(kind, end.report.body)
    except ValueError as error:
        return Ended(status=0, note=f"its result cannot be read: {error}")


def refusal(end: Exit) -> str:
    """What a child said that it was asked wrongly for; empty where it did not."""
    return end.report.body if end.ended is None and end.report.kind == "refused" else ""


def run_task(
    function: str, argument: object, *, env: Mapping[str, str], timeout_s: float, deadline: Deadline | None = None
) -> Exit:
    """Call `function` (`module:function`) in a child as `function(argument, report_stage)`.

    Raises:
        HarnessError: the fork server does not start, or died twice.
        StoppedError: the deadline has passed.
    """
    if deadline and deadline.has_passed:
        raise StoppedError
    task = Task(function=function, argument=argument, memory_bytes=_memory_limit())
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


def shutdown() -> None:
    """End every fork server and all that runs in them; a later `run` starts them anew."""
    _SERVERS.shutdown()


def _memory_limit() -> int:
    text = os.environ.get("CONFORMANCE_MEMORY_GIB", "4")
    try:
        return int(float(text) * (1 << 30))
    except ValueError:
        message = f"CONFORMANCE_MEMORY_GIB is {text!r}, which is not a number."
        raise UsageError(message) from None
