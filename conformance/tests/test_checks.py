from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from conformance.checks import CATALOGUE
from conformance.checks.registry import run_checks
from conformance.model import Call, Evidence, ExpectedRaise, Grade, InputSpec, Level, Stage, Variant
from conformance.tests.fakes import a_case
from conformance.tests.roles import Program, a_pair, checked, once

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.model import Case

pytestmark = pytest.mark.torch

REQUIRES = InputSpec(shape=(4,), requires_grad=True)
PLAIN = InputSpec(shape=(4,))
TWO = {"a": REQUIRES, "b": PLAIN}
W = "w = torch.nn.Parameter(torch.ones(4))\n"
STATE = "state = torch.zeros(4)\n"


class Scaled(torch.autograd.Function):
    """Leaves numbers as they are and gradients scaled."""

    @staticmethod
    def forward(value: torch.Tensor, _: float) -> torch.Tensor:
        """Copy."""
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG004 - the signature of autograd
        """Keep the factor."""
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Scale."""
        return gradient * ctx.factor, None


def scaled(value: torch.Tensor, factor: float) -> Any:
    """Scale the gradient of a value."""
    apply: Program = Scaled.apply
    return apply(value, factor)


class Cubed(torch.autograd.Function):
    """A cube whose gradient is right in numbers, lies otherwise in memory, and whose own gradient is wrong."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> Any:
        """Cube."""
        ctx.save_for_backward(value)
        return value**3

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Forget that the slope depends on the value."""
        (value,) = ctx.saved_tensors
        return (gradient * 3 * value.detach() ** 2 + 0 * value).t().contiguous().t()


def after(change: Callable[[Any], Any]) -> Any:
    """Change what the right program returns."""
    return lambda right: lambda *arguments: change(right(*arguments))


def instead(function: Program) -> Any:
    """Do another thing than the right program."""
    return lambda _: function


def honest(right: Program) -> Program:
    """Do what eager does."""
    return right


def raising(error: Exception) -> Any:
    """Raise instead of calling."""

    def make(_: Program) -> Program:
        def call(*_: Any) -> Any:
            raise error

        return call

    return make


def stale(right: Program) -> Program:
    """Return the first call's result for ever, with a history of the right kind."""
    kept: list[torch.Tensor] = []

    def call(a: torch.Tensor) -> Any:
        result = right(a)
        kept.append(result.detach())
        return result - result.detach() + kept[0]

    return call


def reusing(right: Program) -> Program:
    """Return every result in the same memory."""
    memory = torch.zeros(4)

    def call(*arguments: Any) -> Any:
        return memory.copy_(right(*arguments)).view(4)

    return call


RICH = a_case(
    setup="net = torch.nn.Linear(4, 4)\n" + STATE,
    program="state.add_(b)\nc = net(a) * state\nreturn {'c': c, 'pair': (c.t(), a.view(2, 2)), 'n': (None, n, 1.5)}\n",
    inputs={**TWO, "n": InputSpec(scalar=2)},
    checks={"double_backward": Level.MUST, "saved_bytes": Level.MUST, "graph_count": Level.MUST},
    calls=(Call(), Call(perturb=True), Call(shapes={"b": (1,)}), Call(scalars={"n": 3}, inplace=False)),
)


@pytest.mark.parametrize("grad", ["enabled", "disabled", "inference"])
@pytest.mark.parametrize("autocast", ["off", "bfloat16"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_check_holds_for_eager_itself(grad: str, autocast: str, dtype: str) -> None:
    """A program held against itself breaks nothing, to the last bit, in every mode."""
    case = replace(RICH, setup=RICH.setup.replace("(4, 4)", f"(4, 4, dtype=torch.{dtype})"))
    found = checked(
        case,
        honest,
        Variant(grad=grad, autocast=autocast, dtype=dtype),
        evidence=Evidence(graphs=1, backend_calls=4),
        actual_bytes=8,
        expected_bytes=8,
    )
    assert (found.broken, found.advised) == (set(), set())
    assert {one.check for one in found.all} == set(CATALOGUE)
    assert {one.grade for one in found.all} == {None, Grade.BITWISE}


def test_a_check_that_must_be_asked_for_is_left_out() -> None:
    """Second gradients are taken only where a case wants them."""
    assert "double_backward" not in {one.check for one in checked(a_case(), honest).all}


@pytest.mark.parametrize(
    ("program", "wrong", "kind"),
    [
        ("return a * 2\n", after(lambda r: r + 1), "values"),
        ("return a * 2\n", after(lambda r: r.double()), "dtype"),
        ("return a * 2\n", after(lambda r: r[None]), "shape"),
        ("return a * 2\n", after(lambda r: r * float("nan")), "nonfinite"),
        ("return a * 2\n", after(lambda _: None), "value"),
        ("return a * 2, 3\n", after(lambda r: (r[0], 4)), "value"),
        ("return a * 2, 3\n", after(list), "value"),
        ("return a * 2, 3\n", after(lambda r: r[:1]), "presence"),
        ("return a > 0\n", after(torch.logical_not), "values"),
        ("return torch.max(torch.stack([a, a * 2]), dim=0)\n", after(tuple), "value"),
    ],
)
def test_values_sees_what_the_first_call_returned(program: str, wrong: Any, kind: str) -> None:
    """Numbers, dtype, shape, structure and what is no tensor."""
    found = checked(a_case(program=program), once(wrong))
    assert "values" in found.broken
    assert "calls" not in found.broken
    assert found.first("values").kind == kind


def test_values_are_judged_by_the_fp64_rule() -> None:
    """A result as near to fp64 as eager's precision allows is held, with its grade."""
    case = a_case(program="return (a.bfloat16() * 1.1).float()\n")
    found = checked(case, instead(lambda a: a * 1.1))
    result = next(one for one in found.all if one.check == "values")
    assert (result.held, result.grade) == (True, Grade.REFERENCE)
    assert "more precise than eager" in result.message


def test_weights_do_not_loosen_the_tolerance() -> None:
    """A float32 case with weights is held to float32, also after they were perturbed."""
    found = checked(a_case(setup=W, program="return a * w\n"), after(lambda r: r * (1 + 1e-3)))
    assert {"values", "calls"} <= found.broken


def test_a_bfloat16_result_in_a_float32_call_is_told_although_another_call_is_autocast() -> None:
    """Code compiled under autocast and run again without is caught by its numbers."""
    case = a_case(
        program="return a @ b\n",
        inputs={"a": InputSpec(shape=(8, 8), requires_grad=True), "b": InputSpec(shape=(8, 8))},
        calls=(Call(autocast="bfloat16"), Call()),
    )

    def kept_on(_: Program) -> Program:
        return lambda a, b: (a.bfloat16() @ b.bfloat16()).to(
            torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32
        )

    assert "calls" in checked(case, kept_on).broken
    assert "values" not in checked(case, kept_on).broken


@pytest.mark.parametrize(
    ("program", "wrong", "kind"),
    [
        ("return a * 2\n", after(lambda r: scaled(r, 2.0)), "values"),
        ("return a * 2\n", after(lambda r: scaled(r, float("nan"))), "nonfinite"),
        ("return a * 2\n", after(lambda r: r.detach()), "value"),
        ("return a.detach() * 2, c * 1\n", lambda right: lambda a, c: (right(a, c)[0], c + 0 * a), "value"),
    ],
)
def test_gradients_sees_what_the_first_backward_left(program: str, wrong: Any, kind: str) -> None:
    """Scaled, missing, and zero where eager has none."""
    names = {"a": REQUIRES, "c": REQUIRES} if "c" in program else {"a": REQUIRES}
    found = checked(a_case(program=program, inputs=names), once(wrong))
    assert "gradients" in found.broken
    assert not {"values", "calls"} & found.broken
    assert found.first("gradients").kind == kind


def test_a_gradient_that_ignores_the_cotangent_is_told() -> None:
    """Cotangents are random, so that a backward made for sum() does not pass."""

    class Summed(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, value: torch.Tensor) -> torch.Tensor:
            return value * 2

        @staticmethod
        def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
            return torch.full_like(gradient, 2.0)

    assert "gradients" in checked(a_case(), instead(Summed.apply)).broken


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_gradients_of_weights_are_compared(dtype: str) -> None:
    """A gradient of a parameter counts as that of an input, and its conjugate is another number."""
    setup = f"w = torch.nn.Parameter(torch.ones(4, dtype=torch.{dtype}))\n"

    class Conjugating(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, value: torch.Tensor) -> torch.Tensor:
            return value.clone()

        @staticmethod
        def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
            return gradient.conj() if gradient.is_complex() else -gradient

    found = checked(a_case(setup=setup, program="return a * w\n"), after(Conjugating.apply), Variant(dtype=dtype))
    assert {one.path for one in found.differences("gradients")} == {"grad(a)", "grad(w)"}


def test_calls_sees_a_stale_result() -> None:
    """A result baked in at the first call is wrong at the second."""
    found = checked(a_case(), stale)
    assert found.broken == {"calls"}
    assert found.first("calls").path == "call[1].output"


def test_calls_sees_weights_baked_in() -> None:
    """A weight that was constant when the graph was made is another number later."""

    def baked(right: Program) -> Program:
        weight = right.__globals__["w"].detach().clone()
        return lambda a: right(a) * 0 + a * weight

    assert "calls" in checked(a_case(setup=W, program="return a * w\n"), baked).broken


def test_calls_sees_later_gradients() -> None:
    """A backward that is right once must be right again."""
    pending = [1.0, 2.0]
    found = checked(a_case(), after(lambda r: scaled(r, pending.pop(0))))
    assert found.broken == {"calls"}
    assert found.first("calls").path == "call[1].grad(a)"


def test_retention_sees_a_result_overwritten_by_a_later_call() -> None:
    """What the caller kept is what it was."""
    case = a_case(inputs={"a": PLAIN})
    found = checked(case, reusing)
    assert found.broken == {"retention", "aliasing"}
    assert found.first("retention").path == "call[0].output"
    assert found.first("retention").actual == "changed by a later call"


def test_retention_sees_a_result_that_should_have_changed() -> None:
    """A result that is the program's state follows the state."""
    case = a_case(setup=STATE, program="state.add_(a)\nreturn state\n", inputs={"a": PLAIN})
    found = checked(case, after(torch.clone))
    assert "retention" in found.broken
    assert found.first("retention").actual == "unchanged"


def test_retention_holds_where_both_change_alike() -> None:
    """State that is handed out changes in eager too."""
    case = a_case(setup=STATE, program="state.add_(a)\nreturn state\n", inputs={"a": PLAIN})
    assert checked(case, honest).broken == set()


def test_double_backward_sees_gradients_of_gradients() -> None:
    """A slope that was saved as a constant has no slope of its own."""
    case = a_case(program="return a**3\n", checks={"double_backward": Level.MUST})
    found = checked(case, instead(Cubed.apply))
    assert found.broken == {"double_backward"}
    assert found.first("double_backward").path == "call[0].grad(grad(a))"


def test_first_gradients_are_compared_where_second_ones_are_asked_for() -> None:
    """A case that differentiates twice does not lose sight of the first time."""
    case = a_case(program="return a**3\n", checks={"double_backward": Level.MUST})
    assert "gradients" in checked(case, after(lambda r: scaled(r, 2.0))).broken


@pytest.mark.parametrize(
    ("program", "wrong", "kinds"),
    [
        ("return a * 2\n", after(lambda r: r.detach()), {"requires_grad", "is_leaf", "grad_fn"}),
        ("return a * 2\n", after(lambda r: r.detach().requires_grad_()), {"is_leaf", "grad_fn"}),
        ("return a.detach() * 2\n", after(lambda r: r.requires_grad_()), {"requires_grad"}),
        ("return a.detach()\n", lambda _: torch.inference_mode()(lambda a: a * 1), {"is_inference"}),
    ],
)
def test_autograd_flags_sees_how_results_belong_to_autograd(program: str, wrong: Any, kinds: set[str]) -> None:
    """Detached, cut off, recording where it should not, made in inference mode."""
    found = checked(a_case(program=program), wrong)
    assert "autograd_flags" in found.broken
    assert {one.kind for one in found.differences("autograd_flags")} == kinds


def test_autograd_flags_sees_inputs_after_the_call() -> None:
    """A call does not switch gradients on for what it was given."""

    def switching(right: Program) -> Program:
        return lambda a, b: right(a, b.requires_grad_())

    found = checked(a_case(program="return a * 2\n", inputs=TWO), switching)
    assert "call[0].b" in {one.path for one in found.differences("autograd_flags")}


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (after(lambda r: r.t().contiguous().t()), "stride"),
        (after(lambda r: torch.cat([r.new_zeros(1, 3), r])[1:]), "storage_offset"),
    ],
)
def test_layout_sees_how_results_lie_in_memory(wrong: Any, kind: str) -> None:
    """Strides and offset of outputs are part of what eager does."""
    case = a_case(program="return a * 2\n", inputs={"a": InputSpec(shape=(2, 3))})
    found = checked(case, wrong)
    assert found.broken == {"layout"}
    assert (found.first("layout").kind, found.first("layout").path) == (kind, "call[0].output")


def test_layout_sees_the_memory_format() -> None:
    """A channels_last image stays one, also where its strides leave a choice."""
    case = a_case(program="return a * 2\n", inputs={"a": InputSpec(shape=(2, 3, 4, 4), stride=(48, 1, 12, 3))})
    found = checked(case, after(lambda r: r.contiguous()))
    assert {one.kind for one in found.differences("layout")} == {"stride", "channels_last"}


def test_layout_of_gradients_is_an_advisory() -> None:
    """Strides of a gradient are told and turn nothing red."""
    case = a_case(
        program="return a**3\n",
        inputs={"a": InputSpec(shape=(2, 3), requires_grad=True)},
        checks={"double_backward": Level.MUST},
    )
    found = checked(case, instead(Cubed.apply))
    assert (found.broken, found.advised) == ({"double_backward"}, {"layout"})
    assert found.first("layout").path == "call[0].grad(a)"


def test_layout_leaves_shapes_to_the_values() -> None:
    """Another shape is one finding, not two."""
    assert "layout" not in checked(a_case(inputs={"a": PLAIN}), after(lambda r: r[None])).broken


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


def test_aliasing_tells_an_object_from_a_view_of_it() -> None:
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


def test_mutation_sees_a_buffer_and_later_calls() -> None:
    """State that stops being updated is told with the call in which it stops."""
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


def test_mutation_tells_versions_as_advisory() -> None:
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
    """Modes, randomness and the default dtype are as eager left them."""
    found = checked(a_case(inputs={"a": PLAIN}), wrong)
    assert found.broken == {"ambient"}
    assert found.first("ambient").path == path


def test_ambient_sees_what_backward_leaves_behind() -> None:
    """A backward that switches something off is told."""

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
    """Raised where eager did not, swallowed, or of another kind."""
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
    """Where eager refuses the caller's write into a result, its numbers are not compared with the written ones."""
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
    """No graph, a graph that never ran, or the backend's own word that it did not work."""
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
    """One recompile of each frame for each kind of call, unless the case says otherwise; an advisory."""
    evidence = Evidence(graphs=1, backend_calls=1, graph_breaks=breaks, recompiles=recompiles)
    found = checked(a_case(**changes), honest, evidence=evidence)
    assert {one.path for one in found.differences("graph_count")} == paths
    assert (found.broken, found.advised) == (set(), {"graph_count"} if paths else set())


def test_graph_count_breaks_where_the_case_says_so() -> None:
    """A case may raise the advisory to a MUST."""
    case = a_case(checks={"graph_count": Level.MUST})
    found = checked(case, honest, evidence=Evidence(graphs=2, backend_calls=2, graph_breaks=1))
    assert found.broken == {"graph_count"}
    assert [one.level for one in found.all if one.check == "graph_count"] == [Level.MUST]


@pytest.mark.parametrize(("ours", "eagers", "is_held"), [(8, 8, True), (4, 8, True), (12, 8, False), (None, 8, True)])
def test_saved_bytes_are_at_most_those_of_eager(ours: int | None, eagers: int, is_held: bool) -> None:
    """More is an advisory; what could not be measured is none."""
    found = checked(a_case(), honest, actual_bytes=ours, expected_bytes=eagers)
    assert (found.broken, found.advised) == (set(), set() if is_held else {"saved_bytes"})


def test_many_differences_are_told_in_part() -> None:
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
