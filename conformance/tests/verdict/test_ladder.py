from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.model.enums import Outcome
from conformance.model.ladder import LADDER
from conformance.records import frame
from conformance.tests.fakes import a_backend, a_record, a_request, an_attempt, failed
from conformance.tests.runs import red
from conformance.verdict.ladder import Rung, below, climb, first, first_in_records
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from conformance.model.request import Request
    from conformance.model.result import Attempt

WANTED = Symptom.of(failed("gradients"))


def test_the_rungs_of_a_rung_are_those_under_it() -> None:
    """Those of somebody else's backend are all."""
    assert below("aot_eager") == LADDER[:2]
    assert below("mine") == LADDER


def test_each_rung_is_run_and_the_backend_last() -> None:
    """One further down that shows another failure, or that passes, is none that leads there."""
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
    assert first(rungs) == "inductor"
    assert first(rungs[:2]) == ""


def shown(*backends: str, upon: str = "inductor") -> list[Rung]:
    """The rungs of a failure of a backend, which these show."""
    path = (*below(upon), upon)
    return [Rung(backend=name, symptom=WANTED, same=name in backends) for name in path]


@pytest.mark.parametrize(
    ("backends", "upon", "lead"),
    [
        (LADDER, "inductor", "eager"),
        (LADDER[2:], "inductor", "aot_eager"),
        (LADDER[1:], "inductor", "pre_dispatch_eager"),
        ((LADDER[1], LADDER[4]), "inductor", "inductor"),
        ((LADDER[0], *LADDER[2:]), "inductor", "eager"),
        ((LADDER[0], LADDER[4]), "inductor", "inductor"),
        ((LADDER[2], LADDER[4]), "inductor", "inductor"),
        ((LADDER[1], LADDER[2]), "aot_eager", "pre_dispatch_eager"),
        ((LADDER[1],), "pre_dispatch_eager", "pre_dispatch_eager"),
        (LADDER[:4], "inductor", ""),
        ((LADDER[1], "mine"), "mine", "mine"),
        ((*LADDER[2:4], "mine"), "mine", "aot_eager"),
        ((*LADDER[:3], "mine"), "mine", "mine"),
    ],
)
def test_a_rung_is_the_first_only_where_all_above_it_show_the_same(
    backends: tuple[str, ...], upon: str, lead: str
) -> None:
    """A gap ends the lead, but for rungs that the backend is not built on: the debugging one, and a sibling."""
    rungs = shown(*backends, upon=upon)
    assert first(rungs) == lead
    failure = red(backend=upon)
    records = [red(backend=rung.backend) if rung.same else a_record(failure.case_id, rung.backend) for rung in rungs]
    assert first_in_records(records).get(failure.key, "") == lead


def test_records_of_all_rungs_name_the_first() -> None:
    """Nothing has to be run again."""
    passes = [a_record("demo.first.two", name) for name in LADDER[:2]]
    fails = [red(backend=name) for name in LADDER[2:]]
    found = first_in_records([*passes, *fails])
    assert set(found.values()) == {"aot_eager"}
    assert {backend for backend, _, _ in found} == set(LADDER[2:])


def test_a_rung_without_a_record_leaves_the_first_unknown() -> None:
    """It may have been that one."""
    records = [red(backend="inductor"), red(backend="aot_eager_decomp_partition"), a_record("demo.first.two", "eager")]
    assert first_in_records(records) == {}


def test_a_rung_for_debugging_need_have_no_record() -> None:
    """`conformance check` leaves it out unless it is asked for."""
    records = [red(backend="aot_eager"), a_record("demo.first.two", "eager")]
    assert list(first_in_records(records).values()) == ["aot_eager"]


def test_the_frame_names_the_rung_and_the_stage() -> None:
    """So the tables can."""
    records = [*(a_record("demo.first.two", name) for name in LADDER[:2]), red(backend="aot_eager")]
    rows = frame.of(records).set_index("backend")
    assert tuple(rows.loc["aot_eager", ["first_rung", "first_stage"]]) == ("aot_eager", "forward")
    assert rows.loc["eager", "first_rung"] == ""
    assert WANTED.outcome is Outcome.FAIL
