"""Time forward, backward and step of the cases tagged `timing`, side by side on all backends.

    pytest --benchmark-only [--backend NAME] [--case GLOB]

Unlike everything else of the suite the timed function runs in this process: a clock that includes a pipe measures
the pipe. Only a request that conforms, shown in a process of its own, is timed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from conformance.environment import fingerprint
from conformance.model import Verdict
from conformance.pytest_plugin import parameters, session_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.measure import Subject
    from conformance.model import Request
    from conformance.pytest_session import Session

TAG = "timing"
ROUNDS = 50
WARMUP_ROUNDS = 3

# What a compiler warns of is not what is measured.
pytestmark = pytest.mark.filterwarnings("ignore")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every benchmark the requests whose case is tagged for timing; none unless benchmarks were asked for."""
    if metafunc.config.getoption("benchmark_only", default=False):
        plan = session_of(metafunc.config).plan
        given = parameters(request for request in plan.requests if TAG in request.case.tags)
    else:
        reason = pytest.mark.skip(reason="times backends; asked for with --benchmark-only")
        given = [pytest.param(None, id="no-benchmark-only", marks=reason)]
    metafunc.parametrize("subject", given, indirect=True, scope="module")


@pytest.fixture(scope="module")
def machine(conformance_session: Session) -> dict[str, str]:
    """What the numbers were measured on."""
    environment = conformance_session.environment
    return {"torch": environment.torch, "fingerprint": fingerprint(environment)}


@pytest.fixture(scope="module")
def subject(request: pytest.FixtureRequest, conformance_session: Session) -> Iterator[Subject]:
    """A compiled program, warm, that was seen to conform."""
    from conformance.measure import prepared

    wanted: Request = request.param
    record = conformance_session.run(wanted)
    if record.verdict is not Verdict.PASS:
        pytest.skip(f"only what conforms is timed; {record.verdict}: {record.message}")
    with prepared(wanted) as ready:
        yield ready


@pytest.fixture
def timer(benchmark: Any, subject: Subject, machine: dict[str, str], request: pytest.FixtureRequest) -> Any:  # noqa: ANN401 - pytest-benchmark is untyped
    """pytest-benchmark's fixture, with this measurement named and grouped so that a table compares backends."""
    backend, case, variant = subject.request.key
    phase = request.function.__name__.removeprefix("test_")
    benchmark.group = f"{case}-{variant}-{phase}"
    benchmark.extra_info |= {"case": case, "backend": backend, "phase": phase, "variant": variant, **machine}
    return benchmark


def test_forward(timer: Any, subject: Subject) -> None:  # noqa: ANN401 - see `timer`
    """One call of the compiled function."""
    with subject.modes():
        timer(subject.call)


def test_backward(timer: Any, subject: Subject) -> None:  # noqa: ANN401 - see `timer`
    """Backward alone: compiled backward frees what forward saved, so each round goes forward first, untimed."""
    _need_gradients(subject)
    timer.pedantic(subject.backward, setup=subject.forward_for_backward, rounds=ROUNDS, warmup_rounds=WARMUP_ROUNDS)


def test_step(timer: Any, subject: Subject) -> None:  # noqa: ANN401 - see `timer`
    """Forward and backward as in training, the modes of the variant included."""
    _need_gradients(subject)
    timer(subject.step)


def _need_gradients(subject: Subject) -> None:
    if not subject.cotangents:
        pytest.skip("no result of this variant requires gradients")
