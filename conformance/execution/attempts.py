"""Run requests in child processes, one or several per child, and return attempts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain, takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from conformance.backend.resolution import absolute, name_of
from conformance.execution.in_units import InUnits
from conformance.isolation import tasks
from conformance.model.enums import CPP_KERNELS, OPERATIONS, Fault, Outcome, Stage
from conformance.model.errors import BackendError
from conformance.model.request import BackendInfo
from conformance.model.result import Attempt, Attempts, Ended
from conformance.verdict.judge import outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.isolation.deadline import Deadline
    from conformance.isolation.supervisor import Exit
    from conformance.model.request import Request

__all__ = ["IN_A_CHILD", "IN_UNITS", "attempt", "describe", "run", "run_batch", "shares_kernels", "sweep"]


IMPORT_LIMIT_S = 60.0
_ABREAST = 16  # children where kernels are compiled in units: the more wait, the less of its time each takes
IN_A_CHILD = 4
"""Requests of a child where compiling takes seconds: they share a time limit."""
IN_UNITS = 2 * _ABREAST * IN_A_CHILD
"""Requests of a batch that share kernels: when the first children are through, others take their place."""

_BEFORE_BACKEND = {Stage.BUILD, Stage.REFERENCE}
_WITHIN_CALLS = {Stage.COMPILE, Stage.FORWARD, Stage.BACKWARD}


def run(request: Request, deadline: Deadline | None = None) -> Attempt:
    """Run one request in a child and wait for its attempt; may be called from any thread or executor.

    Where it is not clear whether the backend has wrecked the process, the uncompiled program is run alone in another.

    Raises:
        HarnessError: the fork server does not start, or died twice.
        StoppedError: the deadline has passed.
    """
    made = _in_child("run", request, deadline)
    if made.ended and made.stage in _BEFORE_BACKEND:
        alone = _in_child("run_uncompiled", request, deadline)
        fault = Fault.REFERENCE if alone.ended else Fault.UNSTABLE  # no backend was loaded yet
        why = f"the uncompiled program alone: {alone.ended or f'well, but at first {made.ended}'}"
        return replace(made, ended=None, invalid=why, fault=fault)
    if _may_be_wrecked(made):
        alone = _in_child("run_uncompiled", request, deadline)
        if alone.ended:
            why = f"the uncompiled program alone: {alone.ended}"
            return replace(made, invalid=why, fault=Fault.REFERENCE, checks=())
        if alone.invalid:
            return alone if made.fault is Fault.UNSTABLE else made
        wrecked = Ended(status=1, note=f"the caller could not go on: {(made.invalid or '').partition(chr(10))[0]}")
        return replace(made, ended=wrecked, invalid=None, fault=None)
    return made


def _may_be_wrecked(made: Attempt) -> bool:
    """Whether the uncompiled program failed, or differed from itself, in a process in which the backend had run."""
    if made.fault is Fault.UNSTABLE:
        return made.stage is Stage.COMPARE
    return made.fault is Fault.HARNESS and made.stage in _WITHIN_CALLS


def _in_child(function: str, request: Request, deadline: Deadline | None) -> Attempt:
    task, env = f"conformance.execution.observe:{function}", request.backend.env
    return attempt(tasks.run_task(task, request, env=env, timeout_s=request.timeout_s, deadline=deadline))


def run_batch(requests: Sequence[Request]) -> list[Attempt]:
    """Run requests of one backend, several in one child as long as each passes.

    Any other request is run again alone, unless it was the first in its child, and those after it in another child:
    results of a process in which something went wrong are not trusted. If the child died or exceeded its limit, each is
    run alone. Where all share kernels, several children run at a time, whose kernels are compiled in units; what is run
    again is compiled by itself.

    Raises:
        HarnessError: the fork server does not start, or died twice.
    """
    if len(requests) <= IN_A_CHILD or not all(map(shares_kernels, requests)):
        return _batch(requests)
    with TemporaryDirectory(prefix="conformance-") as kernels, ThreadPoolExecutor(_ABREAST) as pool:
        parts = [requests[start : start + IN_A_CHILD] for start in range(0, len(requests), IN_A_CHILD)]
        return [*chain.from_iterable(pool.map(partial(_batch, kernels=Path(kernels)), parts))]


def shares_kernels(request: Request) -> bool:
    """Whether a request is one of many small ones, for each of which a C++ compiler would be started."""
    return OPERATIONS in request.case.tags and CPP_KERNELS in request.backend.tags


def _batch(requests: Sequence[Request], kernels: Path | None = None) -> list[Attempt]:
    attempts: list[Attempt] = []
    while len(pending := requests[len(attempts) :]) > 1:
        trusted = _trusted(pending, kernels)
        if trusted is None:
            break
        attempts += trusted
        if len(attempts) < len(requests) and all(map(_passed, trusted)):
            attempts.append(run(requests[len(attempts)]))
    return attempts + [run(request) for request in requests[len(attempts) :]]


def sweep(requests: Sequence[Request], deadline: Deadline | None = None, kernels: Path | None = None) -> list[Attempt]:
    """Run requests of one backend in as few children as their failures allow.

    Like `run_batch`, but a request that does not pass is not run again alone: the caller repeats those that matter.

    Args:
        requests: to run.
        deadline: when it has to end.
        kernels: a folder; their kernels are compiled in units with those of other calls that name it.

    Raises:
        HarnessError: the fork server does not start, or died twice.
        StoppedError: the deadline has passed.
    """
    attempts: list[Attempt] = []
    while pending := requests[len(attempts) :]:
        made = _together(pending, deadline, kernels)
        if made is None:
            break
        attempts += made
    return attempts + [run(request, deadline) for request in requests[len(attempts) :]]


def _trusted(requests: Sequence[Request], kernels: Path | None) -> list[Attempt] | None:
    """The leading passes of one child, or the attempt that it began with; None if it gave no result.

    Where kernels are compiled in units, the first may have failed because of another one's kernel.
    """
    made = _together(requests, kernels=kernels)
    if made is None:
        return None
    is_alone = len(made) == 1 and kernels is None and not _may_be_wrecked(made[0])
    return list(made if is_alone else takewhile(_passed, made))


def _passed(attempt: Attempt) -> bool:
    return outcome(attempt) is Outcome.PASS


def _together(
    requests: Sequence[Request], deadline: Deadline | None = None, kernels: Path | None = None
) -> Sequence[Attempt] | None:
    """The attempts made in one child, of which only the last may not be a pass; None if it gave no result."""
    limit = max(request.timeout_s for request in requests)
    function: str = "conformance.execution.observe:run_all"
    argument: object = tuple(requests)
    if kernels is not None:
        function = "conformance.execution.in_units:run_all"
        argument = InUnits(requests=tuple(requests), folder=str(kernels))
        limit *= len(requests)  # they wait for kernels of others, which counts as sleeping
    end = tasks.run_task(function, argument, env=requests[0].backend.env, timeout_s=limit, deadline=deadline)
    made = tasks.result(Attempts, end)
    if not isinstance(made, Attempts):
        return None
    first, *others = made.made
    return made.made if others else (replace(first, output=end.output),)


def attempt(end: Exit) -> Attempt:
    """Turn the exit and the result of a child into an attempt."""
    made = tasks.result(Attempt, end)
    if isinstance(made, Ended):
        made = Attempt(ended=made, stage=end.report.stage, call=end.report.call)
    elif isinstance(made, str):
        made = Attempt(invalid=made, fault=Fault.HARNESS, stage=end.report.stage)
    return replace(made, output=end.output, duration_s=end.duration_s)


def describe(ref: str) -> BackendInfo:
    """Describe a backend in a child; one whose import raises, hangs or ends the process is described as broken.

    Raises:
        BackendError: no backend has that name.
        HarnessError: the fork server does not start, or died twice.
    """
    ref = absolute(ref)
    end = tasks.run_task("conformance.observation.backend_info:describe_backend", ref, env={}, timeout_s=IMPORT_LIMIT_S)
    if refused := tasks.refusal(end):
        raise BackendError(refused)
    info = tasks.result(BackendInfo, end)
    if isinstance(info, BackendInfo):
        return info
    return BackendInfo(ref=ref, name=name_of(ref), broken=f"while it was loaded: {info}")
