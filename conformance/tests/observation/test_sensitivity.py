from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from conformance.model.case import Call, InputSpec, Variant
from conformance.tests.fakes import a_case
from conformance.tests.roles import a_reference, checked
from conformance.tests.wrong import after, honest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.model.case import Case
    from conformance.tests.roles import Program

pytestmark = pytest.mark.torch

NUMBERS = {"values", "gradients", "calls", "mutation", "retention"}


def offset(by: float) -> dict[str, InputSpec]:
    """Rows of numbers that are far from zero, and near each other."""
    return {"a": InputSpec(shape=(16, 512), distribution="uniform", low=by - 1, high=by + 1)}


def cancelling(program: str, by: float) -> Case:
    """A program in which large numbers cancel."""
    return a_case(program=program, inputs=offset(by))


VARIANCE = "return (a * a).mean(-1) - a.mean(-1) ** 2\n"
CANCELLING = {
    "variance": cancelling(VARIANCE, 30),
    "variance of what is farther": cancelling(VARIANCE, 300),
    "covariance": cancelling("b = a + a.roll(1, -1)\nreturn (a * b).mean(-1) - a.mean(-1) * b.mean(-1)\n", 30),
    "difference of sums": cancelling("return a.sum(-1) - a.double().sum(-1).float()\n", 100),
    "deviation": cancelling("return (a - a.mean(-1, keepdim=True)).sum(-1)\n", 10),
    "sine of large numbers": cancelling("return (a * 1000).sin().mean(-1)\n", 30),
}


def in_another_order(right: Program) -> Program:
    """The same numbers summed backwards."""
    return lambda a: right(a.flip(-1))


def in_double(right: Program) -> Program:
    """The same computed more precisely."""
    return lambda a: right(a.double()).float()


@pytest.mark.parametrize("case", CANCELLING.values(), ids=CANCELLING.keys())
@pytest.mark.parametrize("other", [honest, in_another_order, in_double])
def test_cancellation_is_forgiven(case: Case, other: Callable[[Program], Program]) -> None:
    """Results that hardly have a digit in common are right where uncompiled ones are not determined any better."""
    assert not checked(case, other).broken & NUMBERS


@pytest.mark.parametrize("case", CANCELLING.values(), ids=CANCELLING.keys())
def test_what_is_off_by_a_share_of_what_cancels_is_wrong(case: Case) -> None:
    """One percent of what is summed is far more than rounding."""
    scale = (case.inputs["a"].high or 1) / 100
    assert "values" in checked(case, after(lambda result: result + scale)).broken


@pytest.mark.parametrize("name", ["variance", "covariance", "sine of large numbers"])
@pytest.mark.parametrize("change", [lambda result: result.roll(1, 0), lambda result: result * 1.05])
def test_digits_that_are_determined_are_compared(name: str, change: Callable[[Any], Any]) -> None:
    """Another row, or five percent too much, is wrong where the numbers are near enough for it to show."""
    assert "values" in checked(CANCELLING[name], after(change)).broken


def test_the_message_explains_why_a_result_is_allowed() -> None:
    """It names the numbers, and what was moved."""
    (values,) = (
        one for one in checked(CANCELLING["variance of what is farther"], in_another_order).all if one.check == "values"
    )
    assert "10 times what uncompiled itself moves by" in values.message
    assert "when inputs, weights and cotangents move by a unit in the last place of float32" in values.message


def test_the_message_gives_the_bound_where_it_is_not_allowed() -> None:
    """The difference contains the spread of uncompiled numbers."""
    seen = checked(CANCELLING["variance of what is farther"], after(lambda result: result + 3.0))
    assert "off fp64, 10 times what uncompiled itself moves by" in (seen.first("values").allowed or "")


IMAGES = {"a": InputSpec(shape=(6, 3, 6, 6))}
WORDS = {"a": InputSpec(shape=(4, 10, 8))}
ROWS = {"a": InputSpec(shape=(32, 8))}
ZERO: dict[str, tuple[Case, str, str]] = {
    "convolution before batch norm": (
        a_case(
            setup="net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU())\n",
            program="return net(a)\n",
            inputs=IMAGES,
        ),
        "net.0.bias",
        "net.0.weight",
    ),
    "linear before batch norm": (
        a_case(
            setup="net = torch.nn.Sequential(torch.nn.Linear(8, 5), torch.nn.BatchNorm1d(5), torch.nn.Tanh())\n",
            program="return net(a)\n",
            inputs=ROWS,
        ),
        "net.0.bias",
        "net.0.weight",
    ),
    "key of attention": (
        a_case(
            setup="query, key, value = (torch.nn.Linear(8, 8) for _ in range(3))\n",
            program="return F.softmax(query(a) @ key(a).mT / 8**0.5, -1) @ value(a)\n",
            inputs=WORDS,
        ),
        "key.bias",
        "query.weight",
    ),
    "deviation from the mean": (
        a_case(
            setup="net = torch.nn.Linear(8, 4)\n",
            program="y = net(a)\nreturn y - y.mean(0)\n",
            inputs=ROWS,
        ),
        "net.bias",
        "net.weight",
    ),
    "one number for all logits": (
        a_case(
            setup="net = torch.nn.Linear(8, 16)\nshift = torch.nn.Parameter(torch.ones(()))\n",
            program="return F.cross_entropy(net(a) + shift, a.argmax(1))\n",
            inputs=ROWS,
        ),
        "shift",
        "net.weight",
    ),
}


def rows_reversed(right: Program) -> Program:
    """The same batch from its end, so that gradients are summed in another order."""

    def call(a: torch.Tensor) -> Any:
        result = right(a.flip(0))
        return result.flip(0) if result.dim() else result

    return call


def hooked(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Program], Program]:
    """Change the gradient of one weight and nothing else."""

    def make(right: Program) -> Program:
        head, *attributes = name.split(".")
        weight = right.__globals__[head]
        for attribute in attributes:
            weight = getattr(weight, attribute)
        weight.register_hook(change)
        return right

    return make


@pytest.mark.parametrize("case", [case for case, _, _ in ZERO.values()], ids=ZERO.keys())
@pytest.mark.parametrize("other", [honest, rows_reversed])
def test_a_gradient_that_is_zero_but_for_rounding_is_forgiven(case: Case, other: Callable[[Program], Program]) -> None:
    """Its true value is zero, so its error is relative to the summands."""
    assert not checked(case, other).broken & NUMBERS


@pytest.mark.parametrize(("case", "name", "_"), ZERO.values(), ids=ZERO.keys())
@pytest.mark.parametrize("size", [1e-2, 1e-4])
def test_a_gradient_that_should_be_zero_and_is_not_is_wrong(case: Case, name: str, _: str, size: float) -> None:
    """A thousandth of the other gradients is more than rounding."""
    assert "gradients" in checked(case, hooked(name, lambda gradient: gradient + size)).broken


SMALL = a_case(
    setup="large = torch.nn.Linear(8, 8)\nsmall = torch.nn.Parameter(torch.rand(8))\n",
    program="return (large(a) ** 2).sum(-1) * 100 + (small * a).tanh().sum(-1) * 1e-4\n",
    inputs=ROWS,
)


@pytest.mark.parametrize("factor", [0.0, 0.9, 1.01, 2.0, -1.0])
def test_a_wrong_small_gradient_beside_large_ones_is_wrong(factor: float) -> None:
    """The error of a small, well-conditioned number is relative to its own size."""
    found = checked(SMALL, hooked("small", lambda gradient: gradient * factor))
    assert [one.path for one in found.differences("gradients")] == ["grad(small)"]


@pytest.mark.parametrize(("case", "_", "name"), ZERO.values(), ids=ZERO.keys())
@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_the_other_gradients_are_held_as_ever(case: Case, _: str, name: str, factor: float) -> None:
    """One percent is wrong in every gradient that is not zero."""
    assert "gradients" in checked(case, hooked(name, lambda gradient: gradient * factor)).broken


@pytest.mark.parametrize("autocast", ["bfloat16", "float16"])
def test_what_is_well_determined_is_allowed_no_more_than_before(autocast: str) -> None:
    """In low precision too, twice the tolerance is too much."""
    case = a_case(setup="net = torch.nn.Linear(8, 8)\n", program="return net(a)\n", inputs=ROWS)
    off = {"bfloat16": 1.06, "float16": 1.02}[autocast]
    assert "values" in checked(case, after(lambda result: result * off), Variant(autocast=autocast)).broken


@pytest.mark.parametrize(
    "program",
    [
        "return (a == 1).float() * 3\n",
        "return F.one_hot(a.long(), 10).float()\n",
        "return (a > 4).float() + a.floor()\n",
    ],
)
def test_flags_counts_and_labels_are_not_moved(program: str) -> None:
    """Comparing whole numbers is exact, and moving them would flip what nothing else flips."""
    case = a_case(program=program, inputs={"a": InputSpec(shape=(64,), distribution="integers", low=0, high=10)})
    spread = a_reference(case).spread("call[0].outputs", "output")
    assert spread is not None
    assert not spread.any()


def test_what_a_threshold_flips_excuses_itself_alone() -> None:
    """One element that is not decided uncompiled does not widen what the others may be."""
    case = a_case(
        program="b = (a * 3) / 3 * 7\nreturn b.floor() + b.sin()\n",
        inputs={"a": InputSpec(shape=(300,), values=(1 / 7, *((n + 0.4) / 7 for n in range(1, 300))))},
        calls=(Call(backward=False),),
    )
    spread = a_reference(case).spread("call[0].outputs", "output")
    assert spread is not None
    assert (float(spread[0]) > 0.5, float(spread[1:].max()) < 1e-3) == (True, True)
    first = torch.arange(300) == 0
    assert "values" not in checked(case, after(lambda result: result - 1.0 * first)).broken
    assert "values" in checked(case, after(lambda result: result - 1.0 * first.roll(1))).broken


@pytest.mark.parametrize("requires_grad", [False, True])
def test_moving_keeps_the_layout_of_inputs(requires_grad: bool) -> None:
    """Strides, expanded sizes and versions stay, so that the program runs as it did."""
    case = a_case(
        program="return a * 2, a.stride()[0]\n",
        inputs={"a": InputSpec(shape=(4, 3), stride=(1, 4), requires_grad=requires_grad)},
    )
    spread = a_reference(case).spread("call[0].outputs", "output[0]")
    assert spread is not None
    assert 0 < float(spread.max()) < 1e-5


def test_what_a_tensor_is_made_of_is_moved() -> None:
    """A sparse tensor has no numbers of its own."""
    case = a_case(
        setup="w = torch.full((4, 4), 0.3).to_sparse()\n",
        program="return torch.sparse.mm(w, a)\n",
        inputs={"a": InputSpec(shape=(4, 4), values=(1.0,) * 16)},
    )
    spread = a_reference(case).spread("call[0].outputs", "output")
    assert spread is not None
    assert 0 < float(spread.max()) < 1e-5


@pytest.mark.parametrize(
    ("program", "path"),
    [
        ("return a * 2\n", "nothing"),
        ("return a[:0]\n", "output"),
        ("return a[(a * 3) / 3 * 7 >= 1]\n", "output"),
    ],
)
def test_where_the_spread_is_unknown_nothing_is_allowed(program: str, path: str) -> None:
    """A leaf that is not there, an empty one, and one whose shape changes when the inputs move have no spread."""
    case = a_case(program=program, inputs={"a": InputSpec(shape=(8,), values=(1 / 7,) * 8)})
    assert a_reference(case).spread("call[0].outputs", path) is None
