from __future__ import annotations

import inspect
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.catalogue.selection import Plan, select
from conformance.execution import attempts
from conformance.execution.runner import Run
from conformance.model.case import Variant
from conformance.model.enums import CPP_KERNELS, OPERATIONS, SLOW_COMPILE, Capability, Kind, Outcome, Stage, Verdict
from conformance.model.errors import HarnessError
from conformance.model.result import AppliedExpectation, Attempt
from conformance.records.environment import fingerprint
from conformance.tests.fakes import (
    a_backend,
    a_case,
    a_record,
    an_attempt,
    an_environment,
    an_expectation,
    crashed,
    failed,
    raised,
    vacuous,
)

if TYPE_CHECKING:
    from conformance.model.case import Case
    from conformance.model.request import Request
    from conformance.model.result import Record

Submitted = Callable[[Sequence["Request"]], Sequence[Attempt]]

SMOKE = frozenset({"smoke"})
PLAIN = tuple(a_case(f"demo.plain.case{number}") for number in range(6))
SMOKING = tuple(a_case(f"demo.smoke.case{number}", tags=SMOKE) for number in range(3))


class Immediate(Executor):
    """Runs each task as it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Give a future that is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - an executor keeps what a task raises
            future.set_exception(error)
        return future


class Submit:
    """Stands in for the isolated run: answers by case id, and remembers what it was asked."""

    def __init__(self, **answers: Attempt | Exception) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.batches: list[int] = []
        self._answers = answers

    def __call__(self, requests: Sequence[Request]) -> list[Attempt]:
        """Answer the requests of a batch."""
        self.batches.append(len(requests))
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Attempt:
        """Answer with what is known under the last word of the case's id, or under the backend, or a pass."""
        self.asked.append(request.key)
        last = request.case.id.rpartition(".")[2]
        answer = self._answers.get(last) or self._answers.get(request.backend.name) or an_attempt()
        if isinstance(answer, Exception):
            raise answer
        return answer


def a_plan(cases: Sequence[Case] = PLAIN, *backends: str, **selection: Any) -> Plan:
    """Cases on backends."""
    return select(cases, [a_backend(name) for name in backends or ("fake",)], **selection)


def a_run(
    plan: Plan,
    submit: Callable[[Sequence[Request]], Sequence[Attempt]],
    executor: Executor | None = None,
    **settings: Any,
) -> Run:
    """A run with everything at its default, but each request by itself."""
    defaults: dict[str, Any] = {"expectations": {}, "environment": an_environment(), "run_id": "run-1", "batch": 1}
    return Run(plan, executor or Immediate(), submit=submit, **defaults | settings)


def test_every_request_becomes_a_record() -> None:
    """One record for each, made of what came of it."""
    plan = a_plan(PLAIN, "one", "two", seed=5)
    records = list(a_run(plan, Submit(case2=failed())))
    assert {record.key for record in records} == {request.key for request in plan.requests}
    assert Counter(record.verdict for record in records) == {Verdict.PASS: 10, Verdict.FAIL: 2}


def test_a_record_carries_all_that_was_seen() -> None:
    """Nothing of the attempt is lost but what only the console needs."""
    case = a_case(variants=(Variant(params={"mode": "a b"}),))
    attempt = replace(failed(), duration_s=0.12345678, stage=Stage.COMPARE)
    (record,) = a_run(select([case], [a_backend(ref="pkg.mod:it")], seed=3), Submit(one=attempt))
    assert record == a_record(
        variant="grad=enabled,mode=a b",
        outcome=Outcome.FAIL,
        verdict=Verdict.FAIL,
        checks=attempt.checks,
        message=record.message,
        fingerprint=fingerprint(an_environment()),
        seed=3,
        duration_s=0.123,
        reproduce="conformance run --backend pkg.mod:it --case demo.first.one"
        " --variant 'grad=enabled,mode=a b' --seed 3",
    )
    assert record.message.startswith("values differ in output[0]")


def test_requests_that_need_no_run_are_records_at_once() -> None:
    """What is unsupported or unavailable never reaches the executor."""
    backends = [
        a_backend("broken", broken="ImportError: x"),
        a_backend("away", unavailable="no compiler"),
        a_backend("weak", capabilities=frozenset()),
    ]
    submit = Submit()
    cases = [a_case(requires=frozenset({Capability.TRAINING}))]
    records = list(a_run(select(cases, backends), submit))
    assert submit.asked == []
    assert [(record.backend, record.verdict, record.message, record.stage) for record in records] == [
        ("broken", Verdict.ERROR, "the backend cannot be used: ImportError: x", Stage.LOAD),
        ("away", Verdict.SKIP, "no compiler", Stage.LOAD),
        ("weak", Verdict.UNSUPPORTED, "needs training", Stage.LOAD),
    ]


@pytest.mark.parametrize("issue", [None, "https://github.com/a/b/issues/1"])
def test_expectations_are_those_of_the_backend(issue: str | None) -> None:
    """Another backend's known failures excuse nothing; the record has the entry that applied."""
    records = a_run(
        a_plan(PLAIN[:1], "one", "two"), Submit(case0=failed()), expectations={"one": [an_expectation(issue=issue)]}
    )
    first, second = records
    assert (first.verdict, second.verdict) == (Verdict.XFAIL, Verdict.FAIL)
    entry = AppliedExpectation(kind=Kind.BUG, reason="doubles twice", entry="fake.expected.yaml:1:3", issue=issue)
    assert (first.expectation, second.expectation) == (entry, None)


def test_an_expectation_for_what_is_unsupported_is_not_used() -> None:
    """The entry is of no use, and counts as stale."""
    plan = select([a_case(requires=frozenset({Capability.COMPLEX}))], [a_backend(capabilities=frozenset())])
    (record,) = a_run(plan, Submit(), expectations={"fake": [an_expectation()]})
    assert record.expectation is None


def test_a_message_is_bounded() -> None:
    """A backend that raises a book does not fill the tables with it."""
    (record,) = a_run(a_plan(PLAIN[:1]), Submit(case0=raised(message="x" * 5000)))
    assert len(record.message) == 2003
    assert record.message.endswith("...")


def test_records_come_as_they_are_completed() -> None:
    """A slow request delays no other."""
    release = threading.Event()

    def submit(requests: Sequence[Request]) -> list[Attempt]:
        if requests[0].case is PLAIN[0]:
            assert release.wait(10)
        return [an_attempt()]

    with ThreadPoolExecutor(2) as executor:
        seen = []
        for record in a_run(a_plan(PLAIN), submit, executor, slots=lambda: 2):
            seen.append(record.case_id)
            if len(seen) == len(PLAIN) - 1:
                release.set()
    assert seen[-1] == PLAIN[0].id


def test_not_many_more_requests_are_handed_over_than_can_run() -> None:
    """What waits in the executor could not be stopped, and takes room."""
    waiting: list[int] = []

    class Lazy(Executor):
        """Completes nothing until it has as many as run at a time."""

        def __init__(self) -> None:
            self._held: list[Future[Attempt]] = []

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            """Complete four at once."""
            self._held = [future for future in self._held if not future.done()]
            future: Future[Any] = Future()
            self._held.append(future)
            waiting.append(len(self._held))
            if len(self._held) == 4:
                for held in self._held:
                    held.set_result(fn(*args, **kwargs))
            return future

    assert len(list(a_run(a_plan(PLAIN[:4], "one", "two"), Submit(), Lazy(), slots=lambda: 2))) == 8
    assert max(waiting) == 4


def test_done_requests_are_not_run_again() -> None:
    """Resuming runs exactly what is missing."""
    submit = Submit()
    done = [a_record(case.id) for case in PLAIN[:4]]
    records = list(a_run(a_plan(PLAIN), submit, done=done))
    assert [record.case_id for record in records] == [case_id for _, case_id, _ in submit.asked]
    assert [record.case_id for record in records] == [case.id for case in PLAIN[4:]]


@pytest.mark.parametrize("max_fail", [1, 2])
def test_enough_red_verdicts_stop_the_run(max_fail: int) -> None:
    """What is handed over already is completed, nothing more is started."""
    submit = Submit(fake=failed())
    run = a_run(a_plan(PLAIN), submit, max_fail=max_fail)
    records = list(run)
    assert run.stopped
    assert max_fail <= len(records) == len(submit.asked) <= max_fail + 2


def test_stopping_cancels_what_has_not_begun() -> None:
    """A request that waits in the executor is not run once the run is to stop."""
    submit = Submit(case0=failed())

    def slow(requests: Sequence[Request]) -> list[Attempt]:
        time.sleep(0.01)
        return submit(requests)

    with ThreadPoolExecutor(1) as executor:
        run = a_run(a_plan(PLAIN), slow, executor, slots=lambda: 3, max_fail=1)
        records = list(run)
    assert run.stopped
    assert len(submit.asked) == len(records) < len(PLAIN)


OTHERS = tuple(a_case(f"other.plain.case{number}") for number in range(7))


def test_requests_of_one_area_share_a_process() -> None:
    """So many at a time, each backend's by themselves."""
    submit = Submit()
    records = list(a_run(a_plan((*PLAIN[:2], *OTHERS), "one", "two"), submit, batch=3))
    assert sorted(submit.batches) == [1, 1, 2, 2, 3, 3, 3, 3]
    assert len(records) == 18


def test_batches_get_smaller_towards_the_end() -> None:
    """So that no slot has to wait long for the last one."""
    submit = Submit()
    many = [a_case(f"{area}.plain.case{number}") for area in ("one", "two") for number in range(150)]
    assert len(list(a_run(a_plan(many), submit, slots=lambda: 2, batch=None))) == 300
    assert submit.batches[:5] == [16] * 5
    assert submit.batches[-4:] == [1] * 4
    assert sorted(submit.batches, reverse=True) == submit.batches


def test_what_is_expected_to_fail_runs_alone() -> None:
    """It would be run twice, and leave its process in doubt."""
    submit = Submit(case3=failed())
    known = {"fake": [an_expectation(cases="other.plain.case3")]}
    records = list(a_run(a_plan(OTHERS), submit, batch=16, expectations=known))
    assert sorted(submit.batches) == [1, 6]
    assert {record.verdict for record in records} == {Verdict.PASS, Verdict.XFAIL}


def test_smoke_cases_run_alone() -> None:
    """The rest waits for them, so they cannot wait for it in a batch."""
    submit = Submit()
    smoke = replace(OTHERS[0], tags=SMOKE)
    assert len(list(a_run(a_plan((smoke, *OTHERS[1:])), submit, batch=16))) == 7
    assert submit.batches == [1, 6]


def test_what_takes_long_comes_first_by_itself() -> None:
    """After smoke cases, the longest first: one that began last would keep all others waiting."""
    submit = Submit()
    cases = (replace(OTHERS[0], tags=SMOKE), *OTHERS[1:])
    plan = a_plan(cases)
    keys = [request.key for request in plan.requests]
    assert len(list(a_run(plan, submit, batch=16, long={keys[5]: 9.0, keys[3]: 20.0}))) == 7
    assert submit.batches == [1, 1, 1, 4]
    assert submit.asked[:3] == [keys[0], keys[3], keys[5]]


def test_batches_of_a_slow_backend_are_small() -> None:
    """One that takes seconds a case would keep the others waiting."""
    submit = Submit()
    plan = select(OTHERS, [a_backend(tags=frozenset({"slow_compile"}))])
    assert len(list(a_run(plan, submit, batch=16))) == 7
    assert submit.batches == [4, 3]


@pytest.mark.parametrize(("tags", "largest"), [({SLOW_COMPILE, CPP_KERNELS}, attempts.IN_UNITS), ({SLOW_COMPILE}, 1)])
def test_operations_fill_many_children_where_these_share_kernels(tags: set[str], largest: int) -> None:
    """The more of them the better, however long each waited; what took long with another compiler is run alone."""
    submit = Submit()
    many = [a_case(f"demo.first.case{number}", tags=frozenset({OPERATIONS})) for number in range(2000)]
    plan = select(many, [a_backend(tags=frozenset(tags))], tags=[OPERATIONS])
    waited = {request.key: 20.0 for request in plan.requests}
    assert len(list(a_run(plan, submit, batch=None, long=waited))) == 2000
    assert submit.batches[0] == largest
    assert submit.batches[-1] == 1


def test_what_needs_no_run_is_left_out_of_its_batch() -> None:
    """A capability that is not claimed is recorded at once."""
    submit = Submit()
    cases = [
        replace(case, requires=frozenset({Capability.COMPLEX} if index % 2 else ()))
        for index, case in enumerate(OTHERS)
    ]
    plan = select(cases, [a_backend(capabilities=frozenset())])
    records = list(a_run(plan, submit, batch=16))
    assert Counter(record.verdict for record in records) == {Verdict.PASS: 4, Verdict.UNSUPPORTED: 3}
    assert submit.batches == [4]


def test_green_verdicts_do_not_stop_a_run() -> None:
    """An expected failure is no finding."""
    run = a_run(a_plan(PLAIN), Submit(fake=failed()), expectations={"fake": [an_expectation()]}, max_fail=1)
    assert len(list(run)) == len(PLAIN)
    assert not run.stopped


def test_a_decided_request_may_stop_the_run() -> None:
    """A broken backend is a finding like any other."""
    plan = select(PLAIN, [a_backend("broken", broken="x"), a_backend()])
    submit = Submit()
    assert len(list(a_run(plan, submit, max_fail=1))) == 1
    assert submit.asked == []


def test_a_fault_of_the_harness_ends_the_run_after_the_finished_records() -> None:
    """No result is lost to it."""
    records = iter(a_run(a_plan(PLAIN[:2]), Submit(case0=HarnessError("the server died"))))
    assert next(records).case_id == PLAIN[1].id
    with pytest.raises(HarnessError, match="the server died"):
        next(records)


def test_leaving_the_iteration_cancels_what_has_not_begun() -> None:
    """Ctrl-C need not wait for the whole plan."""
    begun = Submit()

    def slow(requests: Sequence[Request]) -> list[Attempt]:
        time.sleep(0.01)
        return begun(requests)

    with ThreadPoolExecutor(1) as executor:
        records = iter(a_run(a_plan(PLAIN), slow, executor, slots=lambda: 3))
        next(records)
        records.close()  # type: ignore[attr-defined]  # it is a generator
    assert len(begun.asked) < len(PLAIN)


def test_requests_run_in_isolation_by_default() -> None:
    """Each is a process of its own by default."""
    assert inspect.signature(Run).parameters["submit"].default is attempts.run_batch


@pytest.mark.parametrize("broken", [failed(), raised(), crashed(), crashed(timed_out=True), vacuous()])
def test_a_backend_that_fails_every_smoke_case_is_gated(broken: Attempt) -> None:
    """It is one line, not hundreds; other backends are not touched by it."""
    run = a_run(a_plan((*PLAIN, *SMOKING), "bad", "good"), Submit(bad=broken))
    counts = Counter(record.backend for record in run)
    assert counts == {"bad": 3, "good": 9}
    assert run.gated.keys() == {"bad"}
    assert run.gated["bad"].startswith(
        "all 3 smoke requests failed, the rest was not run; the first: demo.smoke.case0 / grad=enabled: "
    )


def test_one_smoke_case_that_passes_opens_the_gate() -> None:
    """The backend can do something, so it is asked everything."""
    run = a_run(a_plan((*PLAIN, *SMOKING)), Submit(bad=failed(), fake=failed(), case2=an_attempt()))
    assert len(list(run)) == 9
    assert run.gated == {}


def test_expected_failures_do_not_gate() -> None:
    """What is known is no reason to stop asking."""
    run = a_run(
        a_plan((*PLAIN, *SMOKING)), Submit(fake=failed()), expectations={"fake": [an_expectation(cases="demo.smoke.*")]}
    )
    assert len(list(run)) == 9


def test_a_backend_that_is_not_here_is_not_gated() -> None:
    """A skip is no failure."""
    run = a_run(select((*PLAIN, *SMOKING), [a_backend(unavailable="no device")]), Submit())
    assert len(list(run)) == 9
    assert run.gated == {}


def test_smoke_cases_alone_are_never_gated() -> None:
    """There is no rest that was not run."""
    run = a_run(a_plan(SMOKING), Submit(fake=failed()))
    assert len(list(run)) == 3
    assert run.gated == {}


def test_the_gate_can_be_left_open() -> None:
    """Whoever looks for defects wants every case."""
    run = a_run(a_plan((*PLAIN, *SMOKING)), Submit(fake=failed()), smoke_gate=False)
    assert len(list(run)) == 9


def test_nothing_else_of_a_backend_runs_before_its_gate_is_decided() -> None:
    """The smoke cases of all backends come first, and the rest waits for them."""
    finished: list[str] = []

    def submit(requests: Sequence[Request]) -> list[Attempt]:
        time.sleep(0.002)
        (request,) = requests
        if "smoke" not in request.case.tags:
            assert finished.count(request.backend.name) >= 3
        finished.append(request.backend.name)
        return [an_attempt()]

    with ThreadPoolExecutor(4) as executor:
        records = list(a_run(a_plan((*PLAIN, *SMOKING), "one", "two"), submit, executor, slots=lambda: 4))
    assert len(records) == 18


def test_records_that_exist_count_for_the_gate() -> None:
    """Resuming a gated run leaves it gated and runs nothing."""
    submit = Submit()
    done = [a_record(case.id, verdict=Verdict.CRASH, outcome=Outcome.CRASH) for case in SMOKING]
    run = a_run(a_plan((*PLAIN, *SMOKING)), submit, done=done)
    assert list(run) == []
    assert submit.asked == []
    assert run.gated.keys() == {"fake"}


def test_scouts_are_run_for_the_gate_and_not_recorded() -> None:
    """A shard asks the smoke cases of the other shards, and leaves their records to those."""
    plan = a_plan((*PLAIN, *SMOKING), shard=(2, 4))
    submit = Submit(case0=failed())
    run = a_run(plan, submit, max_fail=1)
    assert [record.case_id for record in run] == ["demo.smoke.case1", "demo.plain.case2"]
    assert sorted(case_id for _, case_id, _ in submit.asked) == [
        *("demo.plain.case2", "demo.smoke.case0", "demo.smoke.case1", "demo.smoke.case2")
    ]
    assert not run.stopped


def test_a_shard_that_is_done_runs_no_scouts() -> None:
    """Resuming a finished file does nothing."""
    plan = a_plan((*PLAIN, *SMOKING), shard=(9, 9))
    submit = Submit()
    done = [a_record(request.case.id) for request in plan.requests]
    assert list(a_run(plan, submit, done=done)) == []
    assert submit.asked == []


@settings(deadline=None)
@given(count=st.integers(1, 6), bad=st.sampled_from(["bad", "case0", "case1", "none"]))
def test_shards_give_together_what_one_run_gives(count: int, bad: str) -> None:
    """The records are the same, and so is what is gated."""
    backends, cases = ("bad", "good"), (*PLAIN, *SMOKING)
    answers = {bad: replace(crashed(), output="gone")}
    whole = a_run(a_plan(cases, *backends), Submit(**answers))
    expected = sorted(whole, key=lambda record: record.key)
    records: list[Record] = []
    gated: dict[str, str] = {}
    for index in range(1, count + 1):
        part = a_run(a_plan(cases, *backends, shard=(index, count)), Submit(**answers))
        records.extend(part)
        gated |= part.gated
    assert sorted(records, key=lambda record: record.key) == expected
    assert gated == whole.gated


@settings(deadline=None)
@given(kept=st.sets(st.integers(0, 17)), bad=st.sampled_from(["bad", "case0", "none"]))
def test_any_records_that_exist_are_completed_to_the_same_run(kept: set[int], bad: str) -> None:
    """Whatever was done when a run was killed, resuming it gives the rest and nothing twice."""
    plan = a_plan((*PLAIN, *SMOKING), "bad", "good")
    whole = list(a_run(plan, Submit(**{bad: crashed()})))
    done = [record for index, record in enumerate(whole) if index in kept]
    rest = a_run(plan, Submit(**{bad: crashed()}), done=done)
    records = sorted([*done, *rest], key=lambda record: record.key)
    assert records == sorted(whole, key=lambda record: record.key)
