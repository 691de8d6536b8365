"""Time forward, backward and step of the cases tagged `timing`, side by side uncompiled and on all backends.

    pytest --benchmark-only [--backend NAME] [--case GLOB]

Unlike everything else in the suite the timed function runs in this process, so that no pipe is timed. Only a request
that conforms, as checked in a process of its own, is timed. Times are not paired: `conformance bench` gives ratios with
intervals.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from conformance.model.enums import TIMING_TAG
from conformance.model.request import BackendInfo
from conformance.pytest_plugin import parameters, session_of
from conformance.records.environment import fingerprint
from conformance.timing.bench import conditions
from conformance.timing.model import Phase
from conformance.timing.timing_frame import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from conformance.execution.pytest_session import Session
    from conformance.model.request import Request
    from conformance.timing.subject import Subject

ROUNDS = 50
WARMUP_ROUNDS = 3

# Warnings of a compiler do not matter for timing.
pytestmark = pytest.mark.filterwarnings("ignore")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize benchmarks with the requests whose case is tagged for timing; skip them without --benchmark-only."""
    if metafunc.config.getoption("benchmark_only", default=False):
        plan = session_of(metafunc.config).plan
        timed = [each for each in plan.requests if TIMING_TAG in each.case.tags and not each.moves]
        given = parameters(_with_uncompiled(timed))
    else:
        reason = pytest.mark.skip(reason="times backends; asked for with --benchmark-only")
        given = [pytest.param(None, id="no-benchmark-only", marks=reason)]
    metafunc.parametrize("subject", given, indirect=True, scope="module")


def _with_uncompiled(requests: Iterable[Request]) -> Iterator[Request]:
    """Requests by workload, each preceded by its baseline: the same program, uncompiled."""
    baseline = BackendInfo(ref=REFERENCE, name=REFERENCE)
    workload = None
    for request in sorted(requests, key=lambda request: (request.case.id, request.variant.id)):
        if workload != (request.case.id, request.variant.id):
            workload = (request.case.id, request.variant.id)
            yield replace(request, backend=baseline)
        yield request


@pytest.fixture(scope="module")
def threads() -> Iterator[int]:
    """The number of threads of kernels: OMP_NUM_THREADS, or one as in `conformance bench`."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    yield torch.get_num_threads()
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def machine(conformance_session: Session, threads: int) -> dict[str, object]:
    """The environment of the measurement."""
    environment = conformance_session.environment
    now = conditions(threads)
    return {
        "torch": environment.torch,
        "python": environment.python,
        "cpu": environment.cpu,
        "fingerprint": fingerprint(environment),
        "suite_hash": environment.suite_hash,
        "threads": now.threads,
        "governor": now.governor,
        "load": now.load,
    }


@pytest.fixture(scope="module")
def subject(request: pytest.FixtureRequest, conformance_session: Session) -> Iterator[Subject]:
    """A warmed-up program: uncompiled, or compiled and checked to conform."""
    from conformance.timing.subject import prepared, uncompiled

    timed: Request = request.param
    if timed.backend.name == REFERENCE:
        yield uncompiled(timed)
        return
    record = conformance_session.run(timed)
    if not record.verdict.conforms:
        pytest.skip(f"only what conforms is timed; {record.verdict}: {record.full_message}")
    with prepared(timed) as ready:
        yield ready


@pytest.fixture(scope="module")
def metrics(subject: Subject) -> dict[str, float]:
    """Counters of the program, which need no clock."""
    from conformance.timing.counters import compile_metrics

    return compile_metrics(subject.watch) if subject.watch else {}


@pytest.fixture
def timer(
    benchmark: Any,  # noqa: ANN401 - pytest-benchmark is untyped
    subject: Subject,
    machine: dict[str, object],
    metrics: dict[str, float],
    request: pytest.FixtureRequest,
) -> Any:  # noqa: ANN401 - see above
    """pytest-benchmark's fixture, with this measurement named and grouped so that a table compares backends."""
    phase = Phase(request.function.__name__.removeprefix("test_"))
    if phase not in subject.phases:
        pytest.skip(f"this variant has no {phase}")
    backend, case, variant = subject.request.key
    benchmark.group = f"{case}-{variant}-{phase}"
    benchmark.extra_info |= {"case": case, "backend": backend, "phase": str(phase), "variant": variant, **machine}
    benchmark.extra_info["metrics"] = metrics
    subject.rewind()
    return benchmark


def test_forward(timer: Any, subject: Subject) -> None:  # noqa: ANN401 - see `timer`
    """One call, within the modes of the variant."""
    with subject.held(Phase.FORWARD):
        timer(subject.side(Phase.FORWARD).call)


def test_dispatch(timer: Any, subject: Subject) -> None:  # noqa: ANN401 - see `timer`
    """One call of a nearly empty program."""
    with subject.held(Phase.DISPATCH):
        timer(subject.side(Phase.DISPATCH).call)


def test_backward(timer: Any, subject: Subject) -> None:  # noqa: ANN401 - see `timer`
    """Backward alone: compiled backward frees what forward saved, so each round runs forward first, untimed."""

    def setup() -> tuple[tuple[object], dict[str, object]]:
        return (subject.before_backward(),), {}

    timer.pedantic(subject.backward, setup=setup, rounds=ROUNDS, warmup_rounds=WARMUP_ROUNDS)


def test_step(timer: Any, subject: Subject) -> None:  # noqa: ANN401 - see `timer`
    """Forward, backward and the optimizer's step as in training, the modes of the variant included."""
    timer(subject.step)
