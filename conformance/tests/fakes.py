"""Builders of valid values for tests: each gives a complete default, and keywords change what the test is about."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from conformance.model.case import Case, InputSpec, Location, Variant
from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import Grade, Kind, Level, Outcome, Stage, Verdict
from conformance.model.request import BackendInfo, Expectation, Request
from conformance.model.result import Attempt, CheckResult, Difference, Ended, Environment, Evidence, Raised, Record
from conformance.records.encoding import SCHEMA_VERSION
from conformance.timing.model import Blocks, Phase, Timing

__all__ = [
    "a_backend",
    "a_case",
    "a_difference",
    "a_record",
    "a_request",
    "a_timing",
    "an_attempt",
    "an_environment",
    "an_expectation",
    "crashed",
    "failed",
    "held_checks",
    "raised",
    "some_blocks",
    "vacuous",
]

_GRADED = {"values", "gradients", "calls"}


def a_case(case_id: str = "demo.first.one", **changes: Any) -> Case:
    """A case with one input that doubles it."""
    area, topic = case_id.split(".")[:2]
    plain = Case(
        id=case_id,
        title="doubles its input",
        topic="Demonstration",
        program="return a * 2\n",
        location=Location(file=f"cases/{area}_{topic}.yaml", line=3, column=5),
        inputs={"a": InputSpec(shape=(4,), requires_grad=True)},
    )
    return replace(plain, **changes)


def a_backend(name: str = "fake", **changes: Any) -> BackendInfo:
    """A backend that claims everything and is named by its own name."""
    return replace(BackendInfo(ref=name, name=name), **changes)


def a_request(case: Case | None = None, backend: BackendInfo | None = None, **changes: Any) -> Request:
    """The first variant of a case on a backend."""
    case = case or a_case()
    return replace(Request(case=case, backend=backend or a_backend(), variant=case.variants[0]), **changes)


def held_checks(grade: Grade = Grade.BITWISE) -> tuple[CheckResult, ...]:
    """Every check that always runs, held; those that compare numbers have the grade."""
    return tuple(
        CheckResult(check=spec.name, level=spec.level, held=True, grade=grade if spec.name in _GRADED else None)
        for spec in CATALOGUE.values()
        if not spec.asked
    )


def an_attempt(**changes: Any) -> Attempt:
    """An attempt that passed every check with one graph compiled."""
    passed = Attempt(
        checks=held_checks(),
        evidence=Evidence(graphs=1, backend_calls=1, compiled_backward=True),
        stage=Stage.COMPARE,
        metrics={"compile_s": 0.25, "saved_bytes": 16.0},
        duration_s=0.5,
    )
    return replace(passed, **changes)


def a_difference(**changes: Any) -> Difference:
    """Three of twelve numbers of the first output differ."""
    numbers = Difference(
        path="output[0]",
        kind="values",
        actual="2.0",
        expected="1.0",
        max_abs=1.0,
        mismatched=3,
        total=12,
        first_index=(1, 0),
        allowed="atol 1e-05 + rtol 1.3e-06",
    )
    return replace(numbers, **changes)


def failed(*checks: str, level: Level = Level.MUST) -> Attempt:
    """An attempt in which the named checks did not hold (values, if none is named)."""
    names = checks or ("values",)
    broken = {
        name: CheckResult(check=name, level=level, held=False, grade=Grade.DIFFERS, differences=(a_difference(),))
        for name in names
    }
    return an_attempt(checks=tuple(broken.pop(check.check, check) for check in held_checks()) + tuple(broken.values()))


def vacuous() -> Attempt:
    """An attempt in which everything held but nothing was compiled."""
    checks = (replace(c, held=False, message="no graph") if c.check == "compiled" else c for c in held_checks())
    return an_attempt(checks=tuple(checks), evidence=Evidence())


def raised(**changes: Any) -> Attempt:
    """An attempt whose compiled function raised in forward."""
    error = Raised(stage=Stage.FORWARD, type="RuntimeError", message="bad graph", kinds=("RuntimeError", "Exception"))
    return an_attempt(checks=(), raised=replace(error, **changes), stage=Stage.FORWARD)


def crashed(**changes: Any) -> Attempt:
    """An attempt whose child was killed by SIGSEGV while compiling."""
    return Attempt(stage=Stage.COMPILE, ended=Ended(**(changes or {"signal": "SIGSEGV"})), duration_s=0.1)


def an_expectation(**changes: Any) -> Expectation:
    """An expectation that the values of every case of the area demo differ."""
    entry = Expectation(
        cases="demo.*",
        outcome=Outcome.FAIL,
        kind=Kind.BUG,
        reason="doubles twice",
        location=Location(file="fake.expected.yaml", line=1, column=3),
        checks=frozenset({"values"}),
        issue="https://github.com/pytorch/pytorch/issues/1",
    )
    return replace(entry, **changes)


def a_record(case_id: str = "demo.first.one", backend: str = "fake", **changes: Any) -> Record:
    """A record of a pass."""
    variant = changes.pop("variant", Variant().id)
    passed = Record(
        schema_version=SCHEMA_VERSION,
        run_id="run-1",
        case_id=case_id,
        variant=variant,
        backend=backend,
        outcome=Outcome.PASS,
        verdict=Verdict.PASS,
        stage=Stage.COMPARE,
        checks=held_checks(),
        evidence=Evidence(graphs=1, backend_calls=1, compiled_backward=True),
        metrics={"compile_s": 0.25, "saved_bytes": 16.0},
        fingerprint="0123456789ab",
        duration_s=0.5,
        reproduce=f"conformance run --backend {backend} --case {case_id} --variant {variant}",
    )
    return replace(passed, **changes)


def some_blocks(phase: Phase = Phase.STEP, ratio: float = 1.0, rounds: int = 40, noise: float = 0.002) -> Blocks:
    """Rounds of which the candidate takes `ratio` times as long as uncompiled, give or take some noise."""
    generator = random.Random(f"{phase} {ratio} {rounds}")  # noqa: S311 - numbers, no secret

    def block(*, mine: bool) -> int:
        return round(1e6 * (ratio if mine else 1.0) * (1 + generator.uniform(-noise, noise)))

    orders = ((False, True, True, False), (True, False, False, True))
    return Blocks(phase=phase, calls=10, ns=tuple(block(mine=mine) for n in range(rounds) for mine in orders[n % 2]))


def a_timing(case_id: str = "demo.first.one", backend: str = "fake", **changes: Any) -> Timing:
    """A candidate that takes half as long as uncompiled."""
    timed = Timing(
        backend=backend,
        case_id=case_id,
        variant=Variant().id,
        blocks=(some_blocks(Phase.FORWARD, 0.5), some_blocks(Phase.STEP, 0.5)),
        compiles={Phase.COMPILE_COLD: (2.0, 2.5, 2.25), Phase.COMPILE_WARM: (0.5, 0.25, 0.75)},
        metrics={"graphs": 1, "graph_breaks": 0, "guards": 12, "saved_bytes": 1024},
    )
    return replace(timed, **changes)


def an_environment(**changes: Any) -> Environment:
    """An environment of no real machine."""
    machine = Environment(
        torch="2.13.0",
        python="3.11.9",
        platform="Linux-x86_64",
        cpu="Fake CPU",
        threads=2,
        compiler="c++ 12",
        packages={"numpy": "2.0"},
        suite_hash="abcdefabcdef",
        started="2026-01-01T00:00:00+00:00",
    )
    return replace(machine, **changes)
