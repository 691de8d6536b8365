from __future__ import annotations

import sys
import sysconfig
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from conformance.checks.run import run_checks
from conformance.model.case import Call, ExpectedRaise
from conformance.model.enums import Level, Stage
from conformance.model.result import Evidence
from conformance.tests.fakes import a_case
from conformance.tests.roles import Program, a_pair, checked, observed
from conformance.tests.wrong import (
    PLAIN,
    STATE,
    TWO,
    after,
    honest,
    instead,
    raising,
)

if TYPE_CHECKING:
    from conformance.model.case import Case

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("program", "wrong", "path"),
    [
        ("return a.view(2, 2)\n", after(torch.clone), "call[0].output ~ a"),
        ("return a\n", after(torch.clone), "call[0].output ~ a"),
        ("return a + 0\n", instead(lambda a: a), "call[0].output ~ a"),
        ("return a + 1, a + 1\n", after(lambda r: (r[0], r[0])), "call[0].output[1] ~ output[0]"),
    ],
)
def test_aliasing_sees_what_shares_memory(program: str, wrong: Any, path: str) -> None:
    """A view that became a copy, a copy that became the input, two results that became one."""
    found = checked(a_case(program=program, inputs={"a": PLAIN}), wrong)
    assert found.broken == {"aliasing"}
    assert (found.first("aliasing").path, found.first("aliasing").kind) == (path, "alias")
    assert "writing into output" in " ".join(one.path for one in found.differences("aliasing"))


def test_aliasing_distinguishes_an_object_from_a_view_of_it() -> None:
    """An input that comes back is the input itself, although a view of it would reach the same memory."""
    found = checked(a_case(program="return a\n", inputs={"a": PLAIN}), after(lambda r: r.view(4)))
    assert (found.first("aliasing").actual, found.first("aliasing").expected) == ("same storage", "same object")


def test_aliasing_sees_where_a_write_reaches() -> None:
    """Two views of one memory that must not overlap, and do."""
    case = a_case(
        setup="base = torch.zeros(8)\n", program="base.zero_()\nreturn base[:4], base[4:]\n", inputs={"a": PLAIN}
    )

    def overlapping(right: Program) -> Program:
        return lambda a: (right(a)[0], right.__globals__["base"][3:7])

    # Storage offsets give it away as well; the numbers are all zero.
    found = checked(case, overlapping)
    assert found.broken == {"aliasing", "layout"}
    assert {one.kind for one in found.differences("aliasing")} == {"reach"}


def test_mutation_sees_an_input_that_was_not_written() -> None:
    """A write that the backend turned into a copy is lost to the caller."""
    case = a_case(program="b.mul_(2)\nreturn a * b\n", inputs=TWO)
    found = checked(case, lambda right: lambda a, b: right(a, b.clone()))
    assert found.broken == {"mutation"}
    assert found.first("mutation").path == "call[0].b"


@pytest.mark.parametrize(
    "use",
    [
        lambda grad: grad.zero_(),
        lambda grad: grad.mul_(2),
        lambda grad: grad[1:].copy_(grad[:-1].clone()),
    ],
    ids=["zeroed", "scaled", "shifted"],
)
def test_mutation_sees_a_cotangent_that_backward_took_for_its_own(use: Any) -> None:
    """The gradients are right; whoever adds up the gradient that was handed in, as a residual path does, is not."""
    found = checked(a_case(program="return a * b\n", inputs=TWO), after(lambda result: hooked(result, use)))
    assert found.broken == {"mutation"}
    assert {one.path for one in found.differences("mutation")} == {
        "call[0].cotangent(output)",
        "call[1].cotangent(output)",
    }


def hooked(result: torch.Tensor, use: Any) -> torch.Tensor:
    """A result whose backward reads its gradient, then does something with that memory."""

    def hook(grad: torch.Tensor) -> torch.Tensor:
        mine = grad.clone()
        use(grad)
        return mine

    result.register_hook(hook)  # type: ignore[no-untyped-call]
    return result


@pytest.mark.parametrize("name", ["b", "state", "w"])
def test_mutation_sees_what_backward_changes(name: str) -> None:
    """An input, a buffer or a weight that is another one after backward, which the call itself left alone."""
    setup = f"{STATE}w = torch.nn.Parameter(torch.ones(4), requires_grad=False)\n"
    case = a_case(setup=setup, program="return a * (b + state + w)\n", inputs=TWO, calls=(Call(),))

    def wrong(right: Program) -> Program:
        def call(a: torch.Tensor, b: torch.Tensor) -> Any:
            held = b if name == "b" else right.__globals__[name]
            return hooked(right(a, b), lambda _: held.add_(1))

        return call

    found = checked(case, wrong)
    assert found.broken == {"mutation"}
    assert found.first("mutation").path == f"call[0].after_backward.{name}"


def test_what_backward_changes_in_eager_too_is_compared() -> None:
    """A hook of the program itself counts backward passes; a backend that leaves it out is seen."""
    program = "r = a * 2\nr.register_hook(lambda g: state.add_(1).sum() * 0 + g)\nreturn r\n"
    case = a_case(setup=STATE, program=program)
    assert checked(case, honest).broken == set()
    found = checked(case, instead(lambda a: a * 2))
    assert found.first("mutation").path == "call[0].after_backward.state"


def test_mutation_sees_a_buffer_and_later_calls() -> None:
    """State that stops being updated is reported with the call in which it stops."""
    case = a_case(setup=STATE, program="state.add_(a.detach())\nreturn a * 2\n")
    pending: list[int] = []

    def forgetting(right: Program) -> Program:
        def call(a: torch.Tensor) -> Any:
            pending.append(1)
            return right(a) if len(pending) == 1 else a * 2

        return call

    found = checked(case, forgetting)
    assert found.broken == {"mutation"}
    assert found.first("mutation").path == "call[1].state"


def test_mutation_reports_versions_as_advisory() -> None:
    """Two writes for one show in the version counter alone."""
    case = a_case(program="b.mul_(2)\nreturn a * b\n", inputs=TWO)
    found = checked(case, lambda right: lambda a, b: right(a, b.mul_(1)))
    assert (found.broken, found.advised) == (set(), {"mutation"})
    assert (found.first("mutation").actual, found.first("mutation").expected) == ("+2", "+1")


def test_a_case_may_make_an_advisory_count() -> None:
    """A case that asks for a check at MUST gets all of it."""
    case = a_case(program="b.mul_(2)\nreturn a * b\n", inputs=TWO, checks={"mutation": Level.MUST})
    found = checked(case, lambda right: lambda a, b: right(a, b.mul_(1)))
    assert (found.broken, found.advised) == ({"mutation"}, set())


def leaking(*arguments: Any) -> Any:
    """Leave gradients off."""
    torch.set_grad_enabled(False)
    return arguments[0] * 2


def widening(*arguments: Any) -> Any:
    """Leave float64 as the default dtype."""
    torch.set_default_dtype(torch.float64)
    return arguments[0] * 2


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        (lambda _: leaking, "call[0].after_call.grad_mode"),
        (after(lambda r: (torch.rand(1), r)[1]), "call[0].after_call.rng"),
        (lambda _: widening, "call[0].after_call.default_dtype"),
        (after(lambda r: (torch.set_autocast_enabled("cpu", True), r)[1]), "call[0].after_call.autocast"),
    ],
)
def test_ambient_sees_what_a_call_leaves_behind(wrong: Any, path: str) -> None:
    """Modes, randomness and the default dtype are as they are left uncompiled."""
    found = checked(a_case(inputs={"a": PLAIN}), wrong)
    assert found.broken == {"ambient"}
    assert found.first("ambient").path == path


def test_ambient_sees_what_backward_leaves_behind() -> None:
    """A backward that switches something off is reported."""

    class Leaking(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, value: torch.Tensor) -> torch.Tensor:
            return value.clone()

        @staticmethod
        def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
            torch.set_default_dtype(torch.float64)
            return gradient

    found = checked(a_case(), after(Leaking.apply))
    assert found.first("ambient").path == "call[0].after_backward.default_dtype"


def test_ambient_is_seen_after_an_exception_too() -> None:
    """A mode opened around what raises must be closed again."""
    case = a_case(program="raise ValueError('no')\n", raises=ExpectedRaise(type="ValueError"))

    def leaves_open(right: Program) -> Program:
        def call(a: torch.Tensor) -> Any:
            torch.set_grad_enabled(False)
            return right(a)

        return call

    assert checked(case, leaves_open).broken == {"ambient"}


class OddError(ValueError):
    """A more exact kind of ValueError."""


REFUSES = a_case(
    setup=(
        "class Refusing(torch.autograd.Function):\n"
        "    @staticmethod\n"
        "    def forward(ctx, x):\n"
        "        return x * 2\n"
        "    @staticmethod\n"
        "    def backward(ctx, g):\n"
        "        raise ValueError('no backward')\n"
    ),
    program="return Refusing.apply(a)\n",
    raises=ExpectedRaise(stage=Stage.BACKWARD, type="ValueError"),
)
RAISES = a_case(program="raise ValueError('no')\n", raises=ExpectedRaise(type="ValueError"))


@pytest.mark.parametrize(
    ("case", "wrong", "actual", "expected"),
    [
        (a_case(), raising(ValueError("no")), "ValueError at the call", "no exception"),
        (RAISES, instead(lambda a: a * 2), "no exception", "ValueError at the call"),
        (RAISES, raising(TypeError("no")), "TypeError at the call", "ValueError at the call"),
    ],
)
def test_exceptions_sees_what_one_side_raised(case: Case, wrong: Any, actual: str, expected: str) -> None:
    """Raised where the uncompiled program did not, swallowed, or of another kind."""
    found = checked(case, wrong)
    assert found.broken == {"exceptions"}
    assert (found.first("exceptions").actual, found.first("exceptions").expected) == (actual, expected)


def test_exceptions_sees_the_stage() -> None:
    """An error of backward that comes at the call already is another error."""
    assert checked(REFUSES, honest).broken == set()
    found = checked(REFUSES, raising(ValueError("no")))
    assert found.first("exceptions").expected == "ValueError in backward"


def test_results_are_compared_although_backward_raises() -> None:
    """What a call returned is known before backward, in the first call and in later ones."""
    assert checked(REFUSES, after(lambda r: r + 1)).broken == {"values", "calls"}


def test_a_result_that_could_be_written_for_once_is_one_finding() -> None:
    """Where the caller's write into a result is refused uncompiled, its numbers are not compared with written ones."""
    case = a_case(program="return a\n", calls=(Call(inplace=True),), raises=ExpectedRaise())
    assert checked(case, after(lambda r: r * 1)).broken == {"exceptions"}


def test_the_exact_type_is_an_advisory() -> None:
    """A subclass of the same built-in class is the same kind."""
    found = checked(RAISES, raising(OddError("no")))
    assert (found.broken, found.advised) == (set(), {"exceptions"})
    assert found.first("exceptions").actual == "OddError"


def test_a_class_that_is_not_built_in_is_compared_by_its_nearest_that_is() -> None:
    """Classes of the program itself are no business of the backend."""
    case = a_case(
        setup="class Odd(KeyError):\n    pass\n", program="raise Odd('x')\n", raises=ExpectedRaise(type="Odd")
    )
    assert checked(case, raising(KeyError("x"))).advised == {"exceptions"}
    assert checked(case, raising(LookupError("x"))).broken == {"exceptions"}


@pytest.mark.parametrize(
    ("evidence", "fallback", "path"),
    [
        (Evidence(graphs=0, frames_skipped=2), None, "graphs"),
        (Evidence(graphs=1, backend_calls=0), None, "backend_calls"),
        (Evidence(graphs=1, backend_calls=1), "fell back to eager", "engaged"),
    ],
)
def test_compiled_asks_for_proof(evidence: Evidence, fallback: str | None, path: str) -> None:
    """No graph, a graph that never ran, or the backend's own report that it did not do the work."""
    found = checked(a_case(), honest, evidence=evidence, fallback=fallback)
    assert found.broken == {"compiled"}
    assert found.first("compiled").path == path


def test_compiled_holds_with_a_graph_that_ran() -> None:
    """One graph and one call are enough."""
    assert checked(a_case(), honest, evidence=Evidence(graphs=1, backend_calls=1)).broken == set()


SEQUENCE = (Call(), Call(shapes={"a": (2,)}), Call(), Call(perturb=True))


@pytest.mark.parametrize(
    ("changes", "breaks", "recompiles", "paths"),
    [
        ({}, 0, 0, set()),
        ({}, 1, 0, {"graph_breaks"}),
        ({"graph_breaks": 1}, 1, 0, set()),
        ({"graph_breaks": 1}, 2, 0, {"graph_breaks"}),
        ({}, 0, 1, {"recompiles"}),
        ({"calls": SEQUENCE}, 0, 1, set()),
        ({"calls": SEQUENCE}, 0, 2, {"recompiles"}),
        ({"calls": SEQUENCE, "graph_breaks": 1}, 1, 2, set()),
        ({"recompiles": 2}, 0, 2, set()),
        ({"calls": SEQUENCE, "recompiles": 0}, 0, 1, {"recompiles"}),
    ],
)
def test_graph_count_holds_counts_against_what_the_case_allows(
    changes: dict[str, Any], breaks: int, recompiles: int, paths: set[str]
) -> None:
    """One recompile of each frame for each kind of call, unless the case sets a limit; an advisory."""
    evidence = Evidence(graphs=1, backend_calls=1, graph_breaks=breaks, recompiles=recompiles)
    found = checked(a_case(**changes), honest, evidence=evidence)
    assert {one.path for one in found.differences("graph_count")} == paths
    assert (found.broken, found.advised) == (set(), {"graph_count"} if paths else set())


def test_graph_count_breaks_where_the_case_requires_it() -> None:
    """A case may raise the advisory to a MUST."""
    case = a_case(checks={"graph_count": Level.MUST})
    found = checked(case, honest, evidence=Evidence(graphs=2, backend_calls=2, graph_breaks=1))
    assert found.broken == {"graph_count"}
    assert [one.level for one in found.all if one.check == "graph_count"] == [Level.MUST]


@pytest.mark.parametrize(
    ("actual", "expected", "is_held"), [(8, 8, True), (4, 8, True), (12, 8, False), (None, 8, True)]
)
def test_saved_bytes_are_at_most_the_uncompiled_ones(actual: int | None, expected: int, is_held: bool) -> None:
    """More is an advisory; what could not be measured is none."""
    found = checked(a_case(), honest, actual_bytes=actual, expected_bytes=expected)
    assert (found.broken, found.advised) == (set(), set() if is_held else {"saved_bytes"})


def printing(text: str, name: str = "stdout") -> Any:
    """A program that prints before it returns."""
    return after(lambda r: (getattr(sys, name).write(text), r)[1])


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("stdout", "\n  a line\nand another\n", "a line"),
        ("stderr", "a line", "a line"),
        ("stdout", "\n", "an empty line"),
        ("stderr", f"{sysconfig.get_path('purelib')}/torch/jit.py:3: it warns", "torch/jit.py:3: it warns"),
    ],
)
def test_printed_sees_what_a_call_prints_alone(name: str, text: str, line: str) -> None:
    """An advisory for each call, with the first line that says anything."""
    found = checked(a_case(), printing(text, name))
    assert (found.broken, found.advised) == (set(), {"printed"})
    first = found.first("printed")
    assert (first.path, first.actual, first.expected) == (f"call[0].{name}", line, "nothing")


@pytest.mark.parametrize(("name", "is_seen"), [("stdout", True), ("stderr", False)])
def test_printed_sees_what_is_not_printed_to_stdout(name: str, is_seen: bool) -> None:
    """A warning that was shown once is not shown again."""
    case = a_case()
    quiet = a_pair(case, honest)
    pair = replace(quiet, expected=observed(case, wrong=printing("a line", name)))
    told = {one.check: one.differences for one in run_checks(pair) if not one.held}
    expected = [("nothing", "a line")] * len(case.calls) if is_seen else []
    assert [(each.actual, each.expected) for each in told.pop("printed", ())] == expected
    assert told == {}


def test_a_program_may_print() -> None:
    """Both do; what they print is not compared."""
    case = a_case()
    pair = replace(a_pair(case, printing("at noon")), expected=observed(case, wrong=printing("at midnight")))
    assert all(one.held for one in run_checks(pair))


def test_printed_breaks_where_the_case_requires_it() -> None:
    """A case may raise the advisory to a MUST."""
    found = checked(a_case(checks={"printed": Level.MUST}), printing("a line"))
    assert (found.broken, found.advised) == ({"printed"}, set())


def test_ambient_sees_a_thread_that_keeps_the_program_from_ending() -> None:
    """One that a call has started, and that still runs after it."""
    end, threads = threading.Event(), list[threading.Thread]()

    def start(result: Any) -> Any:
        threads.append(threading.Thread(target=end.wait))
        threads[-1].start()
        return result

    found = checked(a_case(), after(start))
    end.set()
    for thread in threads:
        thread.join()
    assert found.broken == {"ambient"}
    first = found.first("ambient")
    assert (first.path, first.actual) == ("call[0].after_call.lasting_threads", "changed")


def test_many_differences_are_reported_in_part() -> None:
    """Five are enough to see, and the rest are counted."""
    case = a_case(program="return [a * i for i in range(8)]\n", inputs={"a": PLAIN})
    found = checked(case, after(lambda r: [one + 1 for one in r]))
    result = next(one for one in found.all if one.check == "values")
    assert (len(result.differences), result.message) == (5, "and 3 more")


def test_an_exception_where_eager_has_none_stops_the_comparison_there() -> None:
    """Calls before it are compared, calls after it are not made."""
    pending: list[Exception] = []

    def later(right: Program) -> Program:
        def call(a: torch.Tensor) -> Any:
            if pending:
                raise pending[0]
            pending.append(ValueError("later"))
            return right(a)

        return call

    pair = a_pair(a_case(calls=(Call(), Call(), Call())), later)
    assert (len(pair.actual.calls), pair.actual.complete) == (2, False)
    assert {one.check for one in run_checks(pair) if one.breaks} == {"exceptions"}
