from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from conformance.model.case import Call, InputSpec, Variant
from conformance.model.enums import Level, Stage
from conformance.observation.driver import saved_bytes
from conformance.tests.fakes import a_case
from conformance.tests.roles import a_role, observed

if TYPE_CHECKING:
    from conformance.model.case import Case
    from conformance.observation.snapshot import Leaf

pytestmark = pytest.mark.torch

LINEAR = "net = torch.nn.Linear(4, 2)\n"
ONE_CALL = (Call(),)
REQUIRES = InputSpec(shape=(4,), requires_grad=True)


def data(leaf: Leaf) -> torch.Tensor:
    """The numbers of a leaf."""
    assert leaf.data is not None
    return leaf.data


def test_a_call_is_observed_from_all_sides() -> None:
    """Results, inputs, gradients, relations, versions and the state of the thread."""
    call = observed(a_case()).calls[0]
    assert list(call.outputs) == ["output", "output.structure"]
    assert list(call.tracked) == ["a"]
    assert list(call.gradients) == ["grad(a)"]
    assert (call.relations, call.versions, call.raised) == ({}, {"a": 0}, None)
    assert call.after_call is not None
    assert call.after_backward is not None
    assert call.seconds > 0


def test_parameters_buffers_and_global_tensors_are_tracked() -> None:
    """What the setup made is looked at by name after every call."""
    setup = "net = torch.nn.BatchNorm1d(4)\ntotal = torch.zeros(4)\nword = 'x'\n"
    call = observed(a_case(setup=setup, program="return net(torch.stack([a, a * 2]))\n")).calls[0]
    names = {"net.weight", "net.bias", "net.running_mean", "net.running_var", "net.num_batches_tracked", "total", "a"}
    assert set(call.tracked) == names
    assert call.versions["net.num_batches_tracked"] == 1


def test_gradients_gather_in_leaves_alone() -> None:
    """A leaf without a gradient has None, whether it requires one or not."""
    case = a_case(setup=LINEAR, program="return a * b\n", inputs={"a": REQUIRES, "b": InputSpec(shape=(4,))})
    gradients = observed(case).calls[0].gradients
    assert {path for path, leaf in gradients.items() if leaf.data is None} == {
        "grad(b)",
        "grad(net.weight)",
        "grad(net.bias)",
    }


def test_gradients_are_forgotten_before_each_call() -> None:
    """Weights do not sum up the gradients of all calls."""
    case = a_case(setup="w = torch.nn.Parameter(torch.ones(4))\n", program="return w * 1\n", calls=(Call(), Call()))
    first, second = observed(case).calls
    assert data(first.gradients["grad(w)"]).abs().max() <= 2
    assert data(second.gradients["grad(w)"]).abs().max() <= 2


def test_weights_change_where_a_call_perturbs_them() -> None:
    """A perturbed weight is another number in the next call, buffers stay."""
    setup = "w = torch.nn.Parameter(torch.ones(4))\nfixed = torch.ones(4)\n"
    first, second = observed(a_case(setup=setup, program="return a * w * fixed\n")).calls
    assert not torch.equal(data(first.tracked["w"]), data(second.tracked["w"]))
    assert torch.equal(data(first.tracked["fixed"]), data(second.tracked["fixed"]))


def test_a_call_without_backward_has_no_gradients() -> None:
    """Backward runs only where the call has one."""
    call = observed(a_case(calls=(Call(backward=False),))).calls[0]
    assert (call.gradients, call.after_backward) == ({}, None)


def test_a_result_that_is_an_input_is_no_start_of_backward() -> None:
    """Backward from an input itself would test nothing."""
    call = observed(a_case(program="return a\n")).calls[0]
    assert call.relations == {"output ~ a": "same object"}
    assert call.gradients["grad(a)"].data is None


def test_a_view_of_an_input_under_no_grad_is_no_start_of_backward() -> None:
    """For PyTorch such a view requires gradients, but backward from it raises."""
    call = observed(a_case(program="return a.view(2, 2), a * 2\n"), Variant(grad="disabled")).calls[0]
    assert call.outputs["output[0]"].facts["requires_grad"] == "True"
    assert call.raised is None


def test_results_of_every_kind_are_driven() -> None:
    """None, numbers, words, dicts and named tuples come back beside tensors."""
    program = "return {'x': (None, 3, 'word'), 'max': torch.max(torch.stack([a, a * 2]), dim=0), 'f': 1.5}\n"
    observation = observed(a_case(program=program))
    assert observation.complete
    assert {path for path in observation.calls[0].outputs if "max" in path} == {"output['max'][0]", "output['max'][1]"}
    assert "TreeSpec(max" in str(observation.calls[0].outputs["output.structure"].value)
    assert observation.calls[0].outputs["output['x'][0]"].value is None


@pytest.mark.parametrize("dtype", ["float32", "complex64", "float64", "bfloat16"])
def test_second_gradients_are_beside_the_first(dtype: str) -> None:
    """A case that differentiates twice still has its first gradients."""
    case = a_case(program="return a * a * a\n", checks={"double_backward": Level.MUST}, calls=ONE_CALL)
    plain = a_case(program="return a * a * a\n", calls=ONE_CALL)
    twice, once = (observed(one, Variant(dtype=dtype)).calls[0] for one in (case, plain))
    assert torch.equal(data(twice.gradients["grad(a)"]), data(once.gradients["grad(a)"]))
    assert data(twice.second_gradients["grad(grad(a))"]).abs().max() > 0
    assert once.second_gradients == {}


def test_a_linear_program_has_no_second_gradient() -> None:
    """A gradient that does not depend on anything ends there."""
    case = a_case(program="return a * 2\n", checks={"double_backward": Level.MUST}, calls=ONE_CALL)
    call = observed(case).calls[0]
    assert (call.raised, call.second_gradients) == (None, {})


def test_a_program_that_goes_backward_itself_leaves_its_gradients() -> None:
    """What the program put into .grad is seen, also where the case asks for second gradients."""
    setup = "w = torch.nn.Parameter(torch.ones(4))\n"
    program = "(w * a.detach()).sum().backward()\nreturn a * a\n"
    case = a_case(setup=setup, program=program, checks={"double_backward": Level.MUST}, calls=ONE_CALL)
    call = observed(case).calls[0]
    assert torch.equal(data(call.tracked["a"]), data(call.gradients["grad(a)"])) is False
    assert call.raised is None


def test_writing_into_results_is_done_before_backward() -> None:
    """The caller doubles each floating result; autograd follows."""
    program = "return a * 3, (a > 0), 5\n"
    plain, doubled = (
        observed(a_case(program=program, calls=(Call(inplace=inplace),))).calls[0] for inplace in (False, True)
    )
    for one, path in (("outputs", "output[0]"), ("gradients", "grad(a)")):
        assert torch.equal(data(getattr(doubled, one)[path]), 2 * data(getattr(plain, one)[path]))


def test_a_result_that_must_not_be_written_raises_at_the_call() -> None:
    """Uncompiled, PyTorch refuses to write into a leaf that requires gradients, and that is the observation."""
    call = observed(a_case(program="return a\n", calls=(Call(inplace=True),))).calls[0]
    assert call.raised is not None
    assert (call.raised.stage, call.raised.type) == (Stage.FORWARD, "RuntimeError")


@pytest.mark.parametrize("grad", ["enabled", "disabled", "inference"])
def test_every_ambient_mode_is_driven(grad: str) -> None:
    """Weights, inputs and results of inference mode can be looked at, written to and related."""
    case = a_case(setup=LINEAR, program="return net(a), a, a.view(2, 2)\n")
    observation = observed(case, Variant(grad=grad))
    call = observation.calls[1]
    assert (observation.complete, call.raised) == (True, None)
    assert call.outputs["output[0]"].facts["is_inference"] == str(grad == "inference")
    assert call.outputs["output[0]"].facts["requires_grad"] == str(grad == "enabled")
    assert call.relations["output[2] ~ a"] == "same storage"
    assert set(observation.reaches) == {"output[0]", "output[1]", "output[2]"}


def test_modes_of_a_call_come_before_those_of_the_variant() -> None:
    """A sequence may train, then infer, then cast."""
    calls = (Call(grad="enabled"), Call(grad="inference"), Call(autocast="bfloat16"), Call(autocast="off"))
    case = a_case(program="return a @ a\n", calls=calls)
    seen = observed(case, Variant(grad="disabled", autocast="float16")).calls
    assert [call.outputs["output"].facts["requires_grad"] for call in seen] == ["True", "False", "False", "False"]
    assert [call.outputs["output"].facts["is_inference"] for call in seen] == ["False", "True", "False", "False"]
    dtypes = [call.outputs["output"].facts["dtype"] for call in seen]
    assert dtypes == ["torch.float16", "torch.float16", "torch.bfloat16", "torch.float32"]


def test_a_sequence_changes_shapes_dtypes_and_requires_grad() -> None:
    """Every call gets its own kind of input."""
    calls = (Call(), Call(shapes={"a": (2, 3)}), Call(dtype="float64"), Call(requires_grad={"a": False}))
    facts = [call.outputs["output"].facts for call in observed(a_case(calls=calls)).calls]
    assert [fact["shape"] for fact in facts] == ["(4,)", "(2, 3)", "(4,)", "(4,)"]
    assert [fact["dtype"] for fact in facts] == [
        "torch.float32",
        "torch.float32",
        "torch.float64",
        "torch.float32",
    ]
    assert [fact["requires_grad"] for fact in facts] == ["True", "True", "True", "False"]


def test_randomness_is_seeded_for_each_call() -> None:
    """Two roles draw the same numbers, and two calls do not."""
    case = a_case(program="return torch.rand(4)\n")
    one, other = observed(case), observed(case)
    assert torch.equal(data(one.calls[0].outputs["output"]), data(other.calls[0].outputs["output"]))
    assert not torch.equal(data(one.calls[0].outputs["output"]), data(one.calls[1].outputs["output"]))


def test_versions_count_what_the_call_wrote() -> None:
    """The driver's own writes do not count."""
    case = a_case(
        setup="w = torch.nn.Parameter(torch.ones(4))\ntotal = torch.zeros(4)\n",
        program="b.mul_(2)\nb.add_(1)\ntotal.copy_(b)\nreturn a * w\n",
        inputs={"a": REQUIRES, "b": InputSpec(shape=(4,))},
    )
    assert observed(case).calls[1].versions == {"a": 0, "b": 2, "w": 0, "total": 1}


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("return a * 2\n", {"output": "call[1].output"}),
        ("return a\n", {"output": "call[1].output, a"}),
        (
            "return a[1:], a[:2]\n",
            {
                "output[0]": "call[1].output[0], call[1].output[1], a",
                "output[1]": "call[1].output[0], call[1].output[1], a",
            },
        ),
        ("return a[2:], a[:2]\n", {"output[0]": "call[1].output[0], a", "output[1]": "call[1].output[1], a"}),
        ("return total\n", {"output": "call[0].output, call[1].output, total"}),
        ("return a > 0\n", {"output": "call[1].output"}),
        ("return a.expand(2, 4)\n", {"output": "raises RuntimeError"}),
        ("return a.to(torch.complex64)\n", {"output": "call[1].output"}),
        ("return 3\n", {}),
    ],
)
def test_writing_into_a_result_reaches_what_shares_its_memory(program: str, expected: dict[str, str]) -> None:
    """Inputs, weights and results of every call change with a result that looks at their memory."""
    assert observed(a_case(setup="total = torch.zeros(4)\n", program=program)).reaches == expected


def test_results_are_kept_and_looked_at_again() -> None:
    """A result that a later call overwrites is seen with its later numbers."""
    case = a_case(setup="total = torch.zeros(4)\n", program="total.copy_(a.detach())\nreturn total\n")
    observation = observed(case)
    first, last = (data(observation.retained[f"call[{index}].output"]) for index in (0, 1))
    assert torch.equal(first, last)
    assert not torch.equal(first, data(observation.calls[0].outputs["output"]))


def test_an_exception_ends_only_its_own_call() -> None:
    """By default the sequence goes on, as a caller would after an except clause."""
    case = a_case(
        program="if n:\n    raise ValueError('asked')\nreturn a * 2\n",
        inputs={"a": REQUIRES, "n": InputSpec(scalar=1)},
        calls=(Call(), Call(scalars={"n": 0})),
    )
    observation = observed(case)
    assert [bool(call.raised) for call in observation.calls] == [True, False]
    assert observation.complete
    assert set(observation.retained) == {"call[1].output", "call[1].output.structure"}


def test_an_exception_may_end_the_sequence() -> None:
    """Where the uncompiled program raised nothing, what follows cannot be compared."""
    observation = observed(a_case(program="raise ValueError('no')\n"), stops=lambda index: index == 0)
    assert (len(observation.calls), observation.complete) == (1, False)


def test_an_exception_in_backward_is_of_that_stage() -> None:
    """Results are there, gradients are those computed so far, and the stage is reported."""
    setup = (
        "class Refusing(torch.autograd.Function):\n"
        "    @staticmethod\n"
        "    def forward(ctx, x):\n"
        "        return x * 2\n"
        "    @staticmethod\n"
        "    def backward(ctx, g):\n"
        "        raise ValueError('no backward')\n"
    )
    call = observed(a_case(setup=setup, program="return Refusing.apply(a)\n")).calls[0]
    assert call.raised is not None
    assert (call.raised.stage, call.raised.type) == (Stage.BACKWARD, "ValueError")
    assert call.gradients["grad(a)"].data is None
    assert "output" in call.outputs


def test_stages_are_reported_as_they_begin() -> None:
    """The first call is the one that compiles."""
    stages: list[Stage] = []
    observed(a_case(), report=stages.append)
    assert stages == [Stage.COMPILE, Stage.BACKWARD, Stage.FORWARD, Stage.BACKWARD]


def test_what_a_call_leaks_is_seen_and_does_not_reach_the_next() -> None:
    """Each call starts from the state that the first one found."""

    def leaking(right: Any) -> Any:
        def call(a: torch.Tensor) -> Any:
            torch.set_grad_enabled(False)
            torch.set_default_dtype(torch.float64)
            return right(a)

        return call

    observation = observed(a_case(), wrong=leaking)
    assert [call.after_call.grad_mode for call in observation.calls if call.after_call] == [False, False]
    assert torch.get_default_dtype() is torch.float32
    assert torch.is_grad_enabled()


def test_leaked_inference_mode_does_not_stop_the_observation() -> None:
    """What cannot be taken off is reported, and the calls after it are driven as far as they go."""
    opened: list[Any] = []

    def leaking(right: Any) -> Any:
        def call(a: torch.Tensor) -> Any:
            mode = torch.inference_mode()
            opened.append(mode)
            mode.__enter__()
            return right(a)

        return call

    observation = observed(a_case(setup=LINEAR, program="return net(a), a\n"), wrong=leaking)
    while opened:
        opened.pop().__exit__(None, None, None)
    assert observation.complete
    assert observation.calls[0].after_call is not None
    assert observation.calls[0].after_call.inference_mode


def kept(case: Case, variant: Variant | None = None) -> int | None:
    """Bytes that autograd keeps for one call."""
    return saved_bytes(a_role(case, variant))


@pytest.mark.parametrize(
    ("program", "grad", "expected"),
    [
        ("return a * a\n", "enabled", 16),  # the same tensor twice
        ("return a.sin().cos()\n", "enabled", 32),
        ("return a + 1\n", "enabled", 0),
        ("return a * a\n", "disabled", 0),
        ("with torch.no_grad():\n    b = a.sin().cos()\nreturn a * b\n", "enabled", 16),
        ("return a * a\n", "inference", 0),
        ("raise ValueError('no')\n", "enabled", None),
    ],
)
def test_saved_bytes_are_those_of_distinct_memory(program: str, grad: str, expected: int | None) -> None:
    """A tensor saved twice counts once, and nothing is kept for what records nothing."""
    assert kept(a_case(program=program), Variant(grad=grad)) == expected


def test_counting_bytes_leaves_no_mode_open() -> None:
    """Measuring a call that leaks puts the state back."""
    kept(a_case(program="torch.set_grad_enabled(False)\nraise ValueError('no')\n"))
    assert torch.is_grad_enabled()
