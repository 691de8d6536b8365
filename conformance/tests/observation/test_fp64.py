from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from conformance.model.case import Call, InputSpec, Variant
from conformance.observation import inputs, seeding
from conformance.tests.fakes import a_backend, a_case
from conformance.tests.roles import a_reference, observed

if TYPE_CHECKING:
    from conformance.model.case import Case

pytestmark = pytest.mark.torch

LINEAR = "net = torch.nn.Linear(4, 2)\n"
OPTIMIZED = LINEAR + "optimizer = torch.optim.SGD(net.parameters(), lr=0.1)\n"
STEP = "optimizer.zero_grad()\nnet(a).sum().backward()\noptimizer.step()\nreturn net(a).detach()\n"


def error(case: Case, where: str, path: str, variant: Variant | None = None) -> float:
    """How far the uncompiled program is from fp64, relative to the largest number."""
    index = int(where[5])
    eager = getattr(observed(case, variant).calls[index], where[8:])[path].data
    ideal = a_reference(case, variant).leaf(where, path)
    assert eager is not None
    assert ideal is not None
    return float((eager.to(ideal.dtype) - ideal).abs().max() / ideal.abs().max())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64"])
def test_the_reference_has_the_inputs_of_eager(dtype: str) -> None:
    """The same numbers, in float64: what is rounded in uncompiled inputs is rounded in the reference's."""
    assert error(a_case(), "call[1].tracked", "a", Variant(dtype=dtype)) == 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("path", ["net.weight", "net.bias"])
def test_the_reference_has_the_weights_of_eager(dtype: str, path: str) -> None:
    """Weights of the setup and perturbed ones are the same numbers."""
    case = a_case(setup=LINEAR + f"net = net.to(torch.{dtype})\n", program="return net(a)\n")
    for index in (0, 1):
        assert error(case, f"call[{index}].tracked", path, Variant(dtype=dtype)) == 0


@pytest.mark.parametrize("where", ["outputs", "gradients"])
@pytest.mark.parametrize("index", [0, 1])
def test_the_reference_is_more_precise_than_eager(where: str, index: int) -> None:
    """Results differ from the uncompiled program by its rounding, and not by more."""
    case = a_case(setup=LINEAR, program="return net(a)\n")
    path = "output" if where == "outputs" else "grad(net.weight)"
    assert 0 < error(case, f"call[{index}].{where}", path) < 1e-6


def test_what_the_program_casts_down_is_not_rounded() -> None:
    """Explicit dtypes are widened, so that the reference shows what the casts cost uncompiled."""
    case = a_case(program="return (a.half() + torch.full((4,), 0.1, dtype=torch.bfloat16)).float()\n")
    ideal = a_reference(case).leaf("call[0].outputs", "output")
    value = observed(case).calls[0].tracked["a"].data
    assert ideal is not None
    assert value is not None
    assert torch.equal(ideal, value.double() + 0.1)


def test_autocast_is_off_for_the_reference() -> None:
    """Under autocast the reference is computed in float64 all the same."""
    case = a_case(setup=LINEAR, program="return net(a)\n")
    where, path = "call[0].outputs", "output"
    ideal = a_reference(case, Variant(autocast="bfloat16")).leaf(where, path)
    plain = a_reference(case).leaf(where, path)
    assert ideal is not None
    assert plain is not None
    assert torch.equal(ideal, plain)
    assert 1e-4 < error(case, where, path, Variant(autocast="bfloat16")) < 2e-2


@pytest.mark.parametrize(
    ("setup", "program"),
    [
        ("w = torch.tensor([0.1, 0.2, 0.3, 0.4])\n", "return a * w\n"),
        ("w = torch.nn.Parameter(torch.full((4,), 0.1))\n", "return a * w\n"),
        ("net = torch.nn.BatchNorm1d(4)\n", "return net(torch.stack([a, a * 2, a * a]))\n"),
        (OPTIMIZED, STEP),
        (
            "opt_w = torch.nn.Parameter(torch.ones(4))\nopt = torch.optim.Adam([opt_w], lr=0.1)\n",
            "opt.zero_grad()\n(opt_w * a).sum().backward()\nopt.step()\nreturn opt_w.detach() * a\n",
        ),
    ],
)
def test_the_state_of_a_program_is_widened(setup: str, program: str) -> None:
    """Tensors, buffers, parameters and state of optimizers are float64 when they are combined."""
    case = a_case(setup=setup, program=program)
    for index in (0, 1):
        assert error(case, f"call[{index}].outputs", "output") < 1e-5


def test_a_number_that_the_program_reads_has_a_reference() -> None:
    """It is read from a float64 tensor."""
    case = a_case(program="return a.sum().item()\n", inputs={"a": InputSpec(shape=(100,))})
    found = a_reference(case).leaf("call[0].outputs", "output")
    assert found is not None
    assert found.dtype is torch.float64
    assert found.float().double() != found


def test_complex_numbers_are_widened() -> None:
    """complex64 has its reference in complex128."""
    ideal = a_reference(a_case(), Variant(dtype="complex64")).leaf("call[0].outputs", "output")
    assert ideal is not None
    assert ideal.dtype is torch.complex128


def test_integers_are_left_alone() -> None:
    """What has no rounding is not widened."""
    case = a_case(inputs={"a": InputSpec(shape=(4,), dtype="int64")})
    ideal = a_reference(case).leaf("call[0].outputs", "output")
    assert ideal is not None
    assert ideal.dtype is torch.int64


def test_retained_results_have_a_reference() -> None:
    """What an earlier call returned is known by its full path."""
    reference = a_reference(a_case())
    retained, first = reference.leaf("retained", "call[0].output"), reference.leaf("call[0].outputs", "output")
    assert retained is not None
    assert first is not None
    # Nothing writes into it after the first call.
    assert torch.equal(retained, first)


@pytest.mark.parametrize(
    ("where", "path"), [("call[0].outputs", "nothing"), ("call[0].gradients", "grad(b)"), ("retained", "output")]
)
def test_a_leaf_that_is_not_there_has_no_reference(where: str, path: str) -> None:
    """A path that the uncompiled program has not, or that is None, is compared without fp64."""
    case = a_case(inputs={"a": InputSpec(shape=(4,), requires_grad=True), "b": InputSpec(shape=(4,))})
    assert a_reference(case).leaf(where, path) is None


def test_a_program_that_raises_in_float64_has_no_reference() -> None:
    """Where one call raises, nothing after it can be trusted."""
    case = a_case(program="if a.dtype == torch.float64:\n    raise ValueError('narrow only')\nreturn a * 2\n")
    assert a_reference(case).leaf("call[0].outputs", "output") is None


def test_the_default_dtype_is_put_back() -> None:
    """Computing the reference leaves nothing changed, even where the program raises."""
    for program in ("return a * 2\n", "raise ValueError('no')\n"):
        a_reference(a_case(program=program)).leaf("call[0].outputs", "output")
        assert torch.get_default_dtype() is torch.float32


def precision(case: Case, where: str = "call[0].outputs", variant: Variant | None = None) -> torch.dtype:
    """The lowest precision on the path to a set of leaves."""
    return a_reference(case, variant).precision(where)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "complex64"])
@pytest.mark.parametrize("where", ["call[0].outputs", "call[1].gradients"])
def test_the_precision_of_a_plain_program_is_its_dtype(dtype: str, where: str) -> None:
    """What the driver does (inputs, cotangents, perturbing) is not on the program's path."""
    case = a_case(setup=f"w = torch.nn.Parameter(torch.ones(4, dtype=torch.{dtype}))\n", program="return a * w\n")
    assert precision(case, where, Variant(dtype=dtype)) is getattr(torch, dtype)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("return (a.half() * 2).float()\n", torch.float16),
        ("with torch.autocast('cpu', dtype=torch.bfloat16):\n    b = a @ a\nreturn b.float()\n", torch.bfloat16),
        ("return torch.stack([a, a]).unbind()\n", torch.float32),
        ("return a.double() * 2\n", torch.float32),
    ],
)
def test_the_precision_is_the_lowest_on_the_path(program: str, expected: torch.dtype) -> None:
    """Casts count, those of autocast included, whatever dtype the result has."""
    assert precision(a_case(program=program)) is expected


def test_casts_in_backward_are_on_the_path() -> None:
    """A backward that computes in half precision allows what half precision needs."""
    setup = (
        "class Half(torch.autograd.Function):\n"
        "    @staticmethod\n"
        "    def forward(ctx, x):\n"
        "        return x * 2\n"
        "    @staticmethod\n"
        "    def backward(ctx, g):\n"
        "        return (g.half() * 2).float()\n"
    )
    assert precision(a_case(setup=setup, program="return Half.apply(a)\n")) is torch.float16


def test_each_call_has_its_own_precision() -> None:
    """A float32 call is not allowed what a call under autocast is."""
    case = a_case(program="return a @ a\n", calls=(Call(autocast="bfloat16"), Call(), Call(dtype="float64")))
    found = [precision(case, f"call[{index}].outputs") for index in range(3)]
    assert found == [torch.bfloat16, torch.float32, torch.float64]


def test_a_look_back_has_the_precision_of_all_calls() -> None:
    """Retained results come from any of the calls."""
    case = a_case(program="return a @ a\n", calls=(Call(autocast="bfloat16"), Call()))
    assert precision(case, "retained") is torch.bfloat16


def test_precision_lost_in_the_state_stays_lost() -> None:
    """Weights trained under autocast carry its rounding into a later float32 call."""
    calls = (Call(autocast="bfloat16"), Call())
    assert precision(a_case(setup=OPTIMIZED, program=STEP, calls=calls), "call[1].outputs") is torch.bfloat16


def test_the_tolerances_of_case_and_backend_are_handed_on() -> None:
    """The comparison knows both, and the larger one counts."""
    case = a_case(tolerance={"float32": 0.5, "float16": 0.1})
    backend = a_backend(tolerance={"float16": 0.2, "bfloat16": 0.3})
    assert a_reference(case, backend=backend).overrides == {"float32": 0.5, "float16": 0.2, "bfloat16": 0.3}


def test_cotangents_are_the_same_numbers_in_the_reference() -> None:
    """The gradient of a sum of the input is the cotangent itself, exactly."""
    case = a_case(program="return a + 0\n")
    assert error(case, "call[0].gradients", "grad(a)") == 0
    assert inputs.cotangent(torch.zeros(2), seeding.stream(0)).dtype is torch.float32
