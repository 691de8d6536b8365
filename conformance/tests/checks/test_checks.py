from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from conformance.model.case import Call, InputSpec, Variant
from conformance.model.check_catalogue import CATALOGUE
from conformance.model.enums import Grade, Level
from conformance.model.result import Evidence
from conformance.tests.fakes import a_case
from conformance.tests.roles import Program, checked, once
from conformance.tests.wrong import (
    PLAIN,
    REQUIRES,
    STATE,
    TWO,
    Cubed,
    W,
    after,
    honest,
    instead,
    reusing,
    scaled,
    stale,
)

pytestmark = pytest.mark.torch


RICH = a_case(
    setup="net = torch.nn.Linear(4, 4)\n" + STATE,
    program="state.add_(b)\nc = net(a) * state\nreturn {'c': c, 'pair': (c.t(), a.view(2, 2)), 'n': (None, n, 1.5)}\n",
    inputs={**TWO, "n": InputSpec(scalar=2)},
    checks=dict.fromkeys(("double_backward", "metamorphic", "saved_bytes", "graph_count"), Level.MUST),
    calls=(Call(), Call(perturb=True), Call(shapes={"b": (1,)}), Call(scalars={"n": 3}, inplace=False)),
)


@pytest.mark.parametrize("grad", ["enabled", "disabled", "inference"])
@pytest.mark.parametrize("autocast", ["off", "bfloat16"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_check_holds_for_eager_itself(grad: str, autocast: str, dtype: str) -> None:
    """A program compared with itself breaks nothing, to the last bit, in every mode."""
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
    assert {one.check for one in found.all} == {name for name, spec in CATALOGUE.items() if not spec.is_move}
    assert {one.grade for one in found.all} - {Grade.NOTHING} == {None, Grade.BITWISE}
    nothing = {one.check for one in found.all if one.grade is Grade.NOTHING}
    assert nothing == (set() if grad == "enabled" else {"gradients", "double_backward"})


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
    """A result as near to fp64 as the precision of the program allows passes, with its grade."""
    case = a_case(program="return (a.bfloat16() * 1.1).float()\n")
    found = checked(case, instead(lambda a: a * 1.1))
    result = next(one for one in found.all if one.check == "values")
    assert (result.held, result.grade) == (True, Grade.REFERENCE)
    assert "more precise than uncompiled" in result.message


def test_weights_do_not_loosen_the_tolerance() -> None:
    """A float32 case with weights has the tolerance of float32, also after they were perturbed."""
    found = checked(a_case(setup=W, program="return a * w\n"), after(lambda r: r * (1 + 1e-3)))
    assert {"values", "calls"} <= found.broken


def test_a_bfloat16_result_in_a_float32_call_is_reported_although_another_call_is_autocast() -> None:
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
    """Scaled, missing, and zero where there is none uncompiled."""
    names = {"a": REQUIRES, "c": REQUIRES} if "c" in program else {"a": REQUIRES}
    found = checked(a_case(program=program, inputs=names), once(wrong))
    assert "gradients" in found.broken
    assert not {"values", "calls"} & found.broken
    assert found.first("gradients").kind == kind


def test_a_gradient_that_ignores_the_cotangent_is_reported() -> None:
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


def test_a_first_call_that_raises_leaves_the_rest_to_calls() -> None:
    """What the later ones return is theirs, not the first one's."""
    case = a_case(program="return a + b\n", inputs=TWO, calls=(Call(shapes={"b": (3,)}), Call()))
    assert checked(case, after(lambda result: result * 1.5)).broken == {"calls"}


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
    """State that is handed out changes uncompiled too."""
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
def test_layout_sees_the_memory_layout_of_results(wrong: Any, kind: str) -> None:
    """Strides and offset of outputs are part of what the uncompiled program does."""
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
    """Strides of a gradient are reported and turn nothing red."""
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
    ("shape", "stride"), [((1, 4), (1, 1)), ((4, 1), (1, 7)), ((2, 1, 3), (3, 1, 1)), ((0, 3), (5, 1)), ((1,), (9,))]
)
def test_strides_that_lead_nowhere_are_an_advisory(shape: tuple[int, ...], stride: tuple[int, ...]) -> None:
    """A dimension of size one, or a tensor without elements, can have any stride; a differing one is reported."""
    case = a_case(program="return a * 2\n", inputs={"a": InputSpec(shape=shape)})
    found = checked(case, after(lambda r: r.as_strided(shape, stride)))
    assert (found.broken, found.advised) == (set(), {"layout"})
    difference = found.first("layout")
    assert (difference.kind, difference.path) == ("stride of size 1", "call[0].output")
    assert difference.actual != difference.expected


ZEROS = InputSpec(shape=(4,), values=(-0.0, 0.0, 1.0, 0.0))


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "complex64"])
@pytest.mark.parametrize(
    ("program", "wrong"),
    [
        ("return a * 2\n", lambda r: r + 0.0),
        ("return a * 2\n", lambda r: r.clone().index_fill_(0, torch.tensor([1]), -0.0)),
        ("return {'x': [a * 2, 3]}\n", lambda r: {"x": [r["x"][0] + 0.0, r["x"][1]]}),
    ],
)
def test_the_sign_of_a_zero_is_an_advisory(dtype: str, program: str, wrong: Any) -> None:
    """It is reported with its place in the first call and in later ones, and decides no verdict."""
    case = a_case(program=program, inputs={"a": ZEROS})
    found = checked(case, after(wrong), Variant(dtype=dtype))
    assert (found.broken, found.advised) == (set(), {"values", "calls"})
    difference = found.first("values")
    assert (difference.kind, difference.mismatched, difference.total, difference.max_abs) == ("sign of zero", 1, 4, 0.0)
    assert difference.first_index in {(0,), (1,)}


def test_eager_does_not_differ_from_itself_in_the_sign_of_zero() -> None:
    """An honest backend has no advisory."""
    case = a_case(program="return torch.minimum(a, -a), a * -1\n", inputs={"a": ZEROS})
    found = checked(case, honest)
    assert not found.broken | found.advised
