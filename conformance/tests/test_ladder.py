from __future__ import annotations

from typing import TYPE_CHECKING

from conformance import frame
from conformance.discover import LADDER
from conformance.ladder import below, climb, first, first_in_records
from conformance.model import Outcome
from conformance.symptom import Symptom
from conformance.tests.fakes import a_backend, a_record, a_request, an_attempt, failed
from conformance.tests.runs import red

if TYPE_CHECKING:
    from conformance.model import Attempt, Request

WANTED = Symptom.of(failed("gradients"))


def test_the_rungs_of_a_rung_are_those_under_it() -> None:
    """Those of somebody else's backend are all."""
    assert below("aot_eager") == LADDER[:2]
    assert below("mine") == LADDER


def test_each_rung_is_run_and_the_backend_last() -> None:
    """The first that shows the same failure is named; another failure further down is another."""
    attempts = {
        "pre_dispatch_eager": failed("values"),
        "aot_eager": failed("gradients"),
        "inductor": failed("gradients"),
    }

    def attempt(request: Request) -> Attempt:
        return attempts.get(request.backend.name, an_attempt())

    rungs = list(climb(a_request(backend=a_backend("inductor")), WANTED, map(a_backend, LADDER[:4]), attempt))
    assert [(rung.backend, rung.same) for rung in rungs] == list(
        zip(LADDER, [False, False, True, False, True], strict=True)
    )
    assert first(rungs) == "aot_eager"
    assert first(rungs[:2]) == ""


def test_records_of_all_rungs_name_the_first() -> None:
    """Nothing has to be run again."""
    passes = [a_record("demo.first.two", name) for name in LADDER[:2]]
    fails = [red(backend=name) for name in LADDER[2:]]
    found = first_in_records([*passes, *fails])
    assert set(found.values()) == {"aot_eager"}
    assert {backend for backend, _, _ in found} == set(LADDER[2:])


def test_a_rung_without_a_record_leaves_the_first_unknown() -> None:
    """It may have been that one."""
    assert first_in_records([red(backend="aot_eager"), a_record("demo.first.two", "eager")]) == {}


def test_the_frame_names_the_rung_and_the_stage() -> None:
    """So the tables can."""
    records = [*(a_record("demo.first.two", name) for name in LADDER[:2]), red(backend="aot_eager")]
    rows = frame.of(records).set_index("backend")
    assert tuple(rows.loc["aot_eager", ["first_rung", "first_stage"]]) == ("aot_eager", "forward")
    assert rows.loc["eager", "first_rung"] == ""
    assert WANTED.outcome is Outcome.FAIL
