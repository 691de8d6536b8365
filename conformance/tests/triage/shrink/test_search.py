from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest

from conformance.catalogue import writer
from conformance.catalogue.loader import load_cases
from conformance.execution import attempts
from conformance.model.case import Call, InputSpec, Variant
from conformance.model.enums import Capability, Outcome, Stage
from conformance.model.errors import UsageError
from conformance.model.request import BackendInfo, Request
from conformance.model.result import Attempt, Ended
from conformance.tests.fakes import a_case, a_request, an_attempt, crashed, failed, raised
from conformance.tests.jobs import scripts
from conformance.tests.saboteurs import SABOTEURS, ref
from conformance.tests.trial import CASES
from conformance.triage import lookup
from conformance.triage.shrink.search import Shrunk, shrink
from conformance.verdict.symptom import Symptom

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VALUES = Symptom.of(failed("values"))
LONG = a_case(
    "grad_mode.nesting.long",
    setup="net = torch.nn.Linear(4, 4)\nscale = 3\n",
    program=(
        "with torch.no_grad():\n"
        "    c = a.cos()\n"
        "    with torch.autocast('cpu'):\n"
        "        d = net(c) * scale\n"
        "e = (a * b).tanh()\n"
        "return c, d, e\n"
    ),
    inputs={"a": InputSpec(shape=(4, 4), requires_grad=True), "b": InputSpec(shape=(4,))},
    variants=(Variant(), Variant(grad="disabled")),
    calls=(Call(), Call(perturb=True), Call(grad="disabled")),
    requires=frozenset({Capability.TRAINING, Capability.GRAD_MODE, Capability.AUTOCAST, Capability.INPUT_MUTATION}),
)


class Fake:
    """Returns the result of a function of a case, and keeps the requests."""

    def __init__(self, give: Callable[[Request], Attempt]) -> None:
        self.give, self.asked = give, list[Request]()

    def __call__(self, request: Request) -> Attempt:
        """Make an attempt."""
        self.asked.append(request)
        return self.give(request)


def where(*words: str) -> Fake:
    """Values differ wherever a program holds all of the words."""
    return Fake(
        lambda request: failed("values") if all(word in request.case.program for word in words) else an_attempt()
    )


def request_of(**changes: Any) -> Request:
    """The second variant of the long case."""
    return a_request(LONG, variant=LONG.variants[1], **changes)


def test_what_the_symptom_needs_is_left() -> None:
    """Statements, calls, inputs, axes and declarations that make no difference are gone."""
    small = shrink(request_of(), VALUES, where("torch.no_grad()", "cos")).request
    assert small.case.program == "with torch.no_grad():\n    return a.cos()\n"
    assert (small.case.setup, small.case.calls, small.variant) == ("", (Call(),), Variant())
    assert small.case.inputs == {"a": InputSpec()}
    assert small.case.variants == (Variant(),)


def test_the_shrunk_case_says_what_it_is_and_loads(tmp_path: Path) -> None:
    """It has an id of its own, a title with the symptom, and requires no more than it needs."""
    small = shrink(request_of(timeout_s=90.0), VALUES, where("torch.no_grad()", "cos")).request
    assert small.case.id == "shrunk.grad_mode.long"
    assert small.case.title == "values output values (shrunk from grad_mode.nesting.long on fake)"
    assert small.case.requires == {Capability.GRAD_MODE, Capability.INPUT_MUTATION}
    assert small.timeout_s == 90.0
    (tmp_path / writer.filename(small.case)).write_text(writer.dump(small.case), encoding="utf-8")
    (loaded,) = load_cases([tmp_path])
    assert loaded.program == small.case.program


def test_a_shrunk_case_keeps_its_id() -> None:
    """Shrinking once more makes no longer and longer names."""
    small = shrink(request_of(), VALUES, where("cos")).request
    assert shrink(small, VALUES, where("cos")).request.case.id == small.case.id


def test_no_step_slips_into_another_failure() -> None:
    """A smaller program that fails in another way, or does not run, is no step on the way."""
    ways = {"tanh": failed("values"), "cos": failed("gradients"), "net": raised(), "with": crashed()}

    def give(request: Request) -> Attempt:
        seen = [attempt for word, attempt in ways.items() if word in request.case.program]
        return seen[0] if seen else Attempt(invalid="the uncompiled program raised")

    small = shrink(request_of(), VALUES, Fake(give)).request
    assert re.fullmatch(r"return \w\.tanh\(\)\n", small.case.program)


@pytest.mark.parametrize(
    "attempt",
    [raised(), crashed(), failed("gradients")],
    ids=["error", "crash", "other check"],
)
def test_every_kind_of_failure_shrinks(attempt: Attempt) -> None:
    """Errors and crashes go the same way as wrong results."""
    fake = Fake(lambda request: attempt if "tanh" in request.case.program else an_attempt())
    small = shrink(request_of(), Symptom.of(attempt), fake).request
    assert re.fullmatch(r"return \w\.tanh\(\)\n", small.case.program)


def test_a_symptom_that_is_not_there_is_refused() -> None:
    """The message has the expected and the actual symptom."""
    with pytest.raises(UsageError) as caught:
        shrink(request_of(), VALUES, Fake(lambda _: failed("gradients")))
    assert str(caught.value) == (
        "fake/grad_mode.nesting.long/grad=disabled does not show what is to be shrunk\n"
        "  Expected: values output values\n"
        "  Actual: gradients output values"
    )


def code(request: Request) -> tuple[str, ...]:
    """The key of a request."""
    case = request.case
    return (case.setup, case.program, repr(case.inputs), repr(case.calls), request.variant.id, repr(case.graph_breaks))


def test_nothing_is_tried_twice() -> None:
    """Each candidate is run once, whichever way led to it, and all are counted."""
    fake = where("no_grad", "tanh")
    shrunk = shrink(request_of(), VALUES, fake)
    codes = [code(request) for request in fake.asked]
    assert len(codes) == len(set(codes)) == shrunk.tried
    assert 0 < shrunk.accepted < shrunk.tried
    assert not shrunk.exhausted


@pytest.mark.parametrize("jobs", [2, 5])
def test_jobs_change_nothing_but_the_time(jobs: int) -> None:
    """The first candidate in order wins, also where a later one is known first."""
    alone = shrink(request_of(), VALUES, where("no_grad", "tanh"))
    assert shrink(request_of(), VALUES, where("no_grad", "tanh"), jobs=jobs) == alone


def test_a_budget_ends_the_search() -> None:
    """The smallest so far is returned, marked as ended by the budget."""
    fake = where("tanh")
    shrunk = shrink(request_of(), VALUES, fake, budget=7)
    assert (shrunk.tried, shrunk.exhausted, len(fake.asked)) == (7, True, 7)
    assert "tanh" in shrunk.request.case.program


def test_progress_is_reported() -> None:
    """After each candidate, in words."""
    progress: list[str] = []
    shrunk = shrink(request_of(), VALUES, where("tanh"), progress.append)
    assert len(progress) == shrunk.tried - 1
    assert re.fullmatch(r"2 tried, \d accepted; \d lines", progress[0])


HUNG = Attempt(stage=Stage.COMPILE, ended=Ended(timed_out=True))


def test_hangs_shrink_with_a_shorter_limit() -> None:
    """Candidates get many times what `eager` takes, and the smallest must hang to the full limit too."""
    fake = Fake(
        lambda request: an_attempt() if request.backend.name == "eager" or "tanh" not in request.case.program else HUNG
    )
    shrunk = shrink(request_of(timeout_s=120.0), Symptom.of(HUNG), fake)
    first, eager, *candidates, last = fake.asked
    assert (first.timeout_s, eager.backend.name, last.timeout_s) == (120.0, "eager", 120.0)
    assert {request.timeout_s for request in candidates} == {10.0}
    assert shrunk.request.timeout_s == 120.0


def test_what_only_takes_long_is_no_hang() -> None:
    """Where the smallest ends by itself after all, the search starts again with the full limit."""

    def give(request: Request) -> Attempt:
        forever = "tanh" in request.case.program and "no_grad" in request.case.program
        return HUNG if request.backend.name != "eager" and (forever or request.timeout_s < 60) else an_attempt()

    small = shrink(request_of(timeout_s=120.0), Symptom.of(HUNG), Fake(give)).request
    assert "tanh" in small.case.program
    assert "no_grad" in small.case.program


def _sabotaged(name: str, case_id: str) -> Shrunk:
    backend = BackendInfo(ref=ref(SABOTEURS[name].home, name), name=name)
    case = next(case for case in CASES if fnmatchcase(case.id, case_id))
    request = Request(case=case, backend=backend, variant=case.variants[0])
    symptom = Symptom.of(attempts.run(request))
    assert SABOTEURS[name].meant in {symptom.check, symptom.outcome}
    shrunk = shrink(request, symptom)
    assert Symptom.of(attempts.run(shrunk.request)) == symptom
    return shrunk


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "case_id"),
    [
        ("weights_kept", "calls.sequences.weights_changed"),
        ("forward_graph_writes_dropped", "mutation.state.copy"),
        ("segfaults_at_run", "training.self_supervised.target_network"),
    ],
)
def test_what_saboteurs_do_is_shown_in_a_few_lines(name: str, case_id: str) -> None:
    """A real case on a broken backend shrinks to at most five lines, which fail in the same way."""
    small = _sabotaged(name, case_id).request.case
    assert len(small.program.splitlines()) + len(small.setup.splitlines()) <= 5


@pytest.mark.torch
def test_a_hang_is_shown_in_one_line() -> None:
    """A backend that never comes back is shown with the smallest program there is."""
    backend = BackendInfo(ref=ref("process", "hangs_at_compile"), name="hangs_at_compile")
    request = a_request(a_case(program="b = a * 2\nreturn b\n"), backend=backend, timeout_s=2.0)
    shrunk = shrink(request, Symptom(outcome=Outcome.TIMEOUT), budget=4)
    assert len(shrunk.request.case.program.splitlines()) == 1


@pytest.mark.torch
def test_a_recorded_failure_of_pytorch_shrinks() -> None:
    """A failure of `aot_eager` on an inference tensor is shown in a few lines of a case that loads."""
    name = "aot_eager/graph_breaks.modes.inference_mode/grad=enabled"
    recorded = lookup.find(name, scripts.of_this_release())
    symptom = Symptom.of_record(recorded.record)
    assert "is_inference False, not True" in str(symptom)
    small = shrink(lookup.with_installed_backend(recorded.request), symptom).request
    assert Symptom.of(attempts.run(small)) == symptom
    assert len(small.case.program.splitlines()) <= 4
