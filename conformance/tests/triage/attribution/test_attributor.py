from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from conformance.catalogue.selection import plan_of, select
from conformance.execution import attempts
from conformance.execution.runner import records
from conformance.model.attribution import Cause, Control, Showing
from conformance.model.case import Variant
from conformance.model.result import Evidence
from conformance.tests.fakes import a_backend, a_case, a_request, an_attempt, an_environment, failed
from conformance.tests.jobs.attributions import attributed
from conformance.tests.runs import red
from conformance.tests.saboteurs import HONEST, ref
from conformance.tests.trial import CASES
from conformance.triage.attribution.attributor import Attributor

if TYPE_CHECKING:
    from conformance.model.request import Request
    from conformance.model.result import Attempt, Record

RUNGS = {name: a_backend(name) for name in ("eager", "aot_eager")}
MODES = a_case("demo.first.two", program="with torch.no_grad():\n    return a * 2\n")


class _Attempts:
    """Counts what it is asked to run; the named backends fail, or those whose program has a text."""

    def __init__(self, *failing: str, within: str = "") -> None:
        self.asked: list[Request] = []
        self._failing, self._within = failing, within

    def __call__(self, request: Request) -> Attempt:
        self.asked.append(request)
        case = request.case
        fails = request.backend.name in self._failing and self._within in f"{case.setup}{case.program}{case.calls}"
        return failed("values", "gradients") if fails else an_attempt()


def attribution(run: _Attempts, record: Record, request: Request, *known: Record, **options: Any) -> Any:
    """The attribution of a failure, among records of the same run."""
    return Attributor([record, *known], RUNGS, run, **options)(record, request)


def test_what_the_rung_shows_is_inherited_from_the_lowest() -> None:
    """Of consecutive ones; a rung that has a record is not run."""
    run = _Attempts("eager")
    record = red(MODES.id, "aot_eager_decomp_partition")
    request = a_request(MODES, a_backend("aot_eager_decomp_partition"))
    found = attribution(run, record, request, red(MODES.id, "aot_eager"))
    assert (found.cause, found.rung) == (Cause.INHERITED, "eager")
    assert [each.backend.name for each in run.asked] == ["eager"]


def test_a_backend_of_somebody_elses_is_built_on_dynamo_and_perhaps_on_aot() -> None:
    """On AOTAutograd if that made a backward in any of its records."""
    for name, is_aot in (("eager", False), ("aot_eager", True)):
        run = _Attempts(name)
        record = red(MODES.id, evidence=Evidence(graphs=1, backend_calls=1, compiled_backward=is_aot))
        found = attribution(run, record, a_request(MODES))
        assert (found.cause, found.rung) == (Cause.INHERITED, name)


def test_what_the_rung_does_not_show_is_not_inherited() -> None:
    """A request that fails for another reason too is attributed by that."""
    run = _Attempts("eager")
    record = red(MODES.id, checks=failed("values", "gradients", "mutation").checks)
    found = attribution(run, record, a_request(MODES))
    assert (found.cause, found.rung) == (Cause.MODE, "")


def test_a_rung_that_cannot_be_run_shows_nothing() -> None:
    """Then the controls on the backend itself decide."""
    run = _Attempts()
    found = Attributor([], {}, run)(red(MODES.id), a_request(MODES))
    assert found.controls == {Control.RUNG: Showing.GONE, Control.MODES: Showing.GONE}


@pytest.mark.parametrize(
    ("within", "cause", "number"),
    [
        ("no_grad", Cause.MODE, 2),
        ("backward=True", Cause.BACKWARD, 3),
        ("", Cause.BASE, 4),
    ],
)
def test_controls_are_run_until_one_decides(within: str, cause: Cause, number: int) -> None:
    """The rung, without modes, also without backward, also without operations."""
    run = _Attempts("fake", within=within)
    assert attribution(run, red(MODES.id), a_request(MODES)).cause is cause
    assert len(run.asked) == number


def test_controls_that_run_alike_are_run_once() -> None:
    """Of two programs that differ in their modes, one is run without."""
    run = _Attempts("fake")
    other = replace(MODES, id="demo.first.three", program=MODES.program.replace("no_grad", "enable_grad"))
    attributor = Attributor([], RUNGS, run)
    for case in (MODES, other):
        attributor(red(case.id), a_request(case))
    assert attributor.made == len(run.asked) == 5


def test_a_control_that_cannot_be_run_fails_each_that_waits_for_it() -> None:
    """The error is that of the harness."""

    def broken(_: Request) -> Attempt:
        raise OSError

    attributor = Attributor([], RUNGS, broken)
    for _ in range(2):
        with pytest.raises(OSError):  # noqa: PT011 - it has no message
            attributor(red(MODES.id), a_request(MODES))


def test_a_failure_of_another_machine_must_show_here() -> None:
    """Or nothing can be said of its cause."""
    assert attribution(_Attempts(), red(MODES.id), a_request(MODES), is_here=False).cause is Cause.UNDECIDED
    shown = attribution(_Attempts("fake", within="no_grad"), red(MODES.id), a_request(MODES), is_here=False)
    assert (shown.cause, shown.controls[Control.AGAIN]) == (Cause.MODE, Showing.SAME)


def test_a_move_that_sets_a_mode_is_about_the_mode() -> None:
    """The plain calls held before it was made."""
    case = a_case(variants=(Variant(moves="two_modes"),))
    record = red(case.id, checks=failed("move.two_modes").checks, variant=case.variants[0].id)
    assert attribution(_Attempts(), record, a_request(case)).cause is Cause.MODE


def test_a_caller_without_backward_has_none_to_leave_out() -> None:
    """Then the failure is of the base."""
    case = a_case(calls=tuple(replace(call, backward=False) for call in a_case().calls))
    found = attribution(_Attempts("fake"), red(case.id), a_request(case))
    assert found.controls.keys() == {Control.RUNG, Control.OPERATIONS}


TEN = (
    *(
        "autocast_dropped",
        "inference_mode_weakened",
        "two_modes_spoiled",
        "values_off_in_the_graph",
        "raises_at_compile",
    ),
    *("layout_lost", "gradients_scaled", "expanded_cotangents_spoiled", "one_buffer_reused", "hands_back"),
)
"""Defects of modes, of what a call returns, of backward and of the harness."""


@pytest.mark.torch
@pytest.mark.parametrize("name", TEN)
def test_a_defect_is_attributed_to_its_cause(name: str) -> None:
    """What its docstring says is what the controls show; the job `attributions` tries every defect."""
    made = attributed(name)
    assert made.is_right, made


@pytest.mark.torch
def test_what_an_honest_backend_fails_in_is_inherited() -> None:
    """It has no defect of its own."""
    backend = a_backend("interpreter", ref=ref("honest", "interpreter"), capabilities=HONEST["interpreter"].claims)
    plan = select(CASES, [backend], case_globs=["autocast.state.*"])
    made = list(records(plan_of(plan.requests), an_environment(threads=2)))
    failures = [record for record in made if record.outcome.is_failure]
    requests = {request.key: request for request in plan.requests}
    attributor = Attributor(made, {name: attempts.describe(name) for name in ("eager", "aot_eager")})
    assert failures
    assert {attributor(record, requests[record.key]).cause for record in failures} == {Cause.INHERITED}
