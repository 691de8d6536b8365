"""Time one request on the machine that this runs on: each part in a child, one after another.

It is what an executor runs for `conformance bench`, here or on a worker of a cluster.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from conformance.isolation import tasks
from conformance.records.environment import machine
from conformance.timing.model import Effort, FirstCall, Noise, Phase, Timing, TimingRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.model.request import Request

__all__ = ["Terms", "Timed", "time_requests"]

T = TypeVar("T")

_NOISE = Effort(budget_s=0.25)
_REPETITIONS = 12
_SLACK_S = 60.0
_CALLGRIND_S = 900.0


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How each request of a run is timed; `session` is unique to one execution, which measures noise anew.

    `pinned` is whether phases are timed on fixed processors, as on workers, where others may be busy.
    """

    session: str
    effort: Effort
    threads: int
    compiles: int
    callgrind: bool
    pinned: bool = False


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A timing with the machine that it is of, the noise there, and the fingerprint of its environment on a cluster."""

    timing: Timing
    noise: Noise
    machine: str
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True)
class _Probes:
    """The workloads on which noise is measured, equal if they are of the same session."""

    terms: Terms
    requests: Sequence[Request] = field(compare=False)


def time_requests(terms: Terms, requests: Sequence[Request], probes: Sequence[Request]) -> list[Timed]:
    """Time requests that conform.

    Args:
        terms: how.
        requests: what is timed.
        probes: workloads on which noise is measured, before the first request of a session in this process.
    """
    noise = _noise(_Probes(terms=terms, requests=probes))
    return [Timed(timing=_timing(terms, request), noise=noise, machine=machine()) for request in requests]


@lru_cache(maxsize=1)
def _noise(probes: _Probes) -> Noise:
    """Time uncompiled calls against themselves."""
    terms, ratios = probes.terms, dict[str, tuple[float, ...]]()
    for request in probes.requests:
        task = replace(_task(terms, request), effort=_NOISE, repetitions=_REPETITIONS)
        found = _in_child("run_against_itself", task, Noise, request, _NOISE.budget_s * _REPETITIONS)
        ratios |= found.ratios if isinstance(found, Noise) else {}
    return Noise(ratios=ratios)


def _task(terms: Terms, request: Request) -> TimingRequest:
    return TimingRequest(request=request, effort=terms.effort, threads=terms.threads, pinned=terms.pinned)


def _timing(terms: Terms, request: Request) -> Timing:
    task = _task(terms, request)
    found = _in_child("run", task, Timing, request, terms.effort.budget_s * len(Phase))
    if isinstance(found, str):
        return replace(Timing.of(request), message=f"it could not be timed: {found}")
    found = _with_compiles(found, request, terms)
    return _with_instructions(found, task) if terms.callgrind else found


def _with_compiles(timing: Timing, request: Request, terms: Terms) -> Timing:
    """Add the seconds of first calls, alternately cold and warm, each pair with its own cache."""
    seconds: dict[Phase, tuple[float, ...]] = {}
    for _ in range(terms.compiles):
        with tempfile.TemporaryDirectory(prefix="conformance-cache-") as cache:
            for phase in (Phase.COMPILE_COLD, Phase.COMPILE_WARM):
                task = FirstCall(request=request, phase=phase, cache=cache, threads=terms.threads)
                found = _in_child("first_call", task, Timing, request, 0.0)
                if isinstance(found, str):
                    return replace(timing, compiles=seconds, message=f"{phase} could not be timed: {found}")
                seconds[phase] = seconds.get(phase, ()) + found.compiles[phase]
    return replace(timing, compiles=seconds)


def _with_instructions(timing: Timing, task: TimingRequest) -> Timing:
    """Add the instructions that Callgrind counts."""
    found = _in_child("instructions", task, Timing, task.request, _CALLGRIND_S)
    if isinstance(found, str):
        why = f"its instructions could not be counted: {found}"
        return replace(timing, message="; ".join(filter(None, (timing.message, why))))
    return replace(timing, instructions=found.instructions)


def _in_child(function: str, task: object, kind: type[T], request: Request, budget_s: float) -> T | str:
    """Run a function of `conformance.timing.measure` in a child; return its result, or why there is none."""
    limit = request.timeout_s + _SLACK_S + 2 * budget_s
    end = tasks.run_task(f"conformance.timing.measure:{function}", task, env=request.backend.env, timeout_s=limit)
    found = tasks.result(kind, end)
    return found if isinstance(found, kind) else str(found)
