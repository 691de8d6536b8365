"""Plans of many made-up requests, which a cluster runs by sleeping."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from conformance.catalogue.selection import Plan, digest
from conformance.execution.runner import Run
from conformance.model.request import Request, Selection
from conformance.records import environment
from conformance.tests.execution import sleepers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Executor

    from conformance.model.case import Case
    from conformance.model.request import BackendInfo, Key

__all__ = ["a_plan", "running"]


def a_plan(backends: Sequence[BackendInfo], number: int, cases: Sequence[Case]) -> Plan:
    """The first so many requests of all variants of the cases on backends."""
    every = (
        Request(case=case, backend=backend, variant=variant)
        for backend in backends
        for case in cases
        for variant in case.variants
    )
    requests = tuple(islice(every, number))
    return Plan(
        requests=requests,
        backends=tuple(backends),
        selection=Selection(),
        total=len(requests),
        digest=digest(request.key for request in requests),
    )


def running(
    plan: Plan,
    executor: Executor,
    slots: Callable[[], int],
    *,
    batch: int | None = None,
    long: Mapping[Key, float] | None = None,
) -> Run:
    """A run of a plan that only sleeps."""
    return Run(
        plan,
        executor,
        expectations={},
        environment=environment.capture(),
        run_id="made-up",
        slots=slots,
        smoke_gate=False,
        submit=sleepers.run,
        batch=batch,
        long=long,
    )
