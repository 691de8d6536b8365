from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import conformance
from conformance.catalogue.user_function import as_case, declaration_of, input_spec
from conformance.model.case import Call, ExpectedRaise, InputSpec
from conformance.model.enums import Capability, Level, Stage
from conformance.model.errors import UsageError
from conformance.model.user_function import UserFunction

USER = UserFunction(ref="/x/file.py:Some.loss", call="x, y", arguments=("x", "y"), title="The loss")


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("float32[4,4],requires_grad", InputSpec(shape=(4, 4), dtype="float32", requires_grad=True)),
        ("bfloat16[2]", InputSpec(shape=(2,), dtype="bfloat16")),
        ("[3, 1]", InputSpec(shape=(3, 1))),
        ("float64[]", InputSpec(shape=(), dtype="float64")),
        ("0.5", InputSpec(scalar=0.5)),
        ("true", InputSpec(scalar=True)),
        ("3", InputSpec(scalar=3)),
    ],
)
def test_an_input_is_read_from_text(text: str, spec: InputSpec) -> None:
    """A tensor has a dtype, sizes and flags; anything else is a Python value."""
    assert input_spec(text) == spec


@pytest.mark.parametrize("text", ["float23[4]", "float32[4],require_grad", "[1", "float32[a]"])
def test_what_is_no_input_is_refused_with_the_form(text: str) -> None:
    """The message shows one that is right."""
    with pytest.raises(UsageError, match=r"float32\[4,4\],requires_grad"):
        input_spec(text)


def test_a_function_is_a_case_that_calls_it() -> None:
    """Inputs that are given are seeded like those of any case."""
    case = as_case(USER, {"inputs": {"x": "float32[2],requires_grad", "y": "float32[2]", "scale": "2.0"}})
    assert case.id == "user.some_loss"
    assert case.title == "The loss"
    assert case.program == "return loss(x, y, scale=scale)\n"
    assert case.inputs["scale"] == InputSpec(scalar=2.0)
    assert "load('/x/file.py:Some.loss')" in case.setup


def test_inputs_that_a_function_makes_come_from_it() -> None:
    """One that is given goes before."""
    made = UserFunction(ref="m:f", call="x, y", arguments=("x", "y"), maker="m:inputs")
    case = as_case(made, {"inputs": {"y": "float32[2]"}})
    assert case.inputs["x"].maker == ("m:inputs", "m:f")
    assert case.inputs["y"] == InputSpec(shape=(2,), dtype="float32")


def test_without_inputs_the_error_explains_how_to_give_them() -> None:
    """The argument that is missing is named."""
    with pytest.raises(UsageError, match=r"no input is given for y of .*\n.*inputs\(\).*--input 'y="):
        as_case(USER, {"inputs": {"x": "float32[2]"}})


def test_a_name_that_cannot_be_an_argument_is_refused() -> None:
    """It would not be Python."""
    with pytest.raises(UsageError, match="'2x' cannot be"):
        as_case(USER, {"inputs": {"x": "1", "y": "1", "2x": "1"}})


def test_the_decorator_declares_inputs_and_axes_and_leaves_the_function_alone() -> None:
    """What it was given is what the case has."""

    def function(x: object) -> object:
        return x

    marked = conformance.case(
        inputs={"x": "[4]"}, grad=["enabled", "disabled"], dynamic=["auto"], dtype=["float64"], graph_breaks=1
    )(function)
    assert marked is function
    declared = vars(function)["__conformance__"]
    case = as_case(UserFunction(ref="m:function", call="x", arguments=("x",), declared=declared))
    assert [variant.id for variant in case.variants] == [
        "grad=enabled,dtype=float64,dynamic=auto",
        "grad=disabled,dtype=float64,dynamic=auto",
        "grad=enabled,dtype=float64,dynamic=auto,moves=usual",
    ]
    assert (case.inputs["x"].shape, case.graph_breaks) == ((4,), 1)


def test_an_unknown_axis_value_is_refused() -> None:
    """The message is that of the case files."""
    user = UserFunction(ref="m:f", declared={"axes": {"grad": ["off"]}})
    with pytest.raises(UsageError, match=r"m:f: axes\.grad\[0\] cannot be 'off'"):
        as_case(user)


@pytest.mark.parametrize(
    ("axes", "ids"),
    [
        ({}, ["grad=enabled,dynamic=auto"]),
        ({"grad": ["disabled"], "autocast": ["bfloat16"]}, ["grad=disabled,autocast=bfloat16,dynamic=auto"]),
        ({"dynamic": []}, ["grad=enabled,dynamic=auto"]),
        ({"dynamic": [False]}, ["grad=enabled"]),
        ({"dynamic": ["auto", True]}, ["grad=enabled,dynamic=auto", "grad=enabled,dynamic=true"]),
    ],
)
def test_a_function_is_compiled_as_torch_compile_does_by_itself(axes: dict[str, list[Any]], ids: list[str]) -> None:
    """What users get is what is checked; other values of `dynamic` have to be declared."""
    case = as_case(UserFunction(ref="m:f", declared={"axes": axes, "moves": "none"}))
    assert [variant.id for variant in case.variants] == ids


OPTIONS = {
    "requires": ["training"],
    "raises": ["backward:RuntimeError"],
    "check": ["double_backward"],
    "call": ["{}", "{grad: disabled, autocast: off}"],
    "tolerance": ["float32=1e-3"],
    "dynamic": ["true", "auto"],
}


def test_what_is_typed_and_what_is_declared_make_the_same_case() -> None:
    """Each option of the command has its argument of the decorator."""

    @conformance.case(
        requires=["training"],
        raises="backward:RuntimeError",
        checks=["double_backward"],
        calls=[{}, {"grad": "disabled", "autocast": "off"}],
        tolerance={"float32": 1e-3},
        dynamic=[True, "auto"],
        timing=True,
    )
    def function() -> None:
        pass

    plain = UserFunction(ref="m:function")
    typed = as_case(plain, declaration_of(OPTIONS))
    declared = as_case(replace(plain, declared=vars(function)["__conformance__"]))
    assert declared.tags == {"timing"}
    assert replace(declared, tags=typed.tags, function=typed.function) == typed
    assert typed.raises == ExpectedRaise(stage=Stage.BACKWARD, type="RuntimeError")
    assert (typed.may_raise, set(typed.requires), typed.tolerance["float32"]) == (False, {Capability.TRAINING}, 1e-3)
    assert (typed.checks, typed.calls) == (
        {"double_backward": Level.MUST},
        (Call(), Call(grad="disabled", autocast="off")),
    )


def test_what_is_typed_goes_before_what_is_declared() -> None:
    """Inputs and axes that are not given stay as they are declared."""
    declared = {"inputs": {"x": "[4]", "y": "[4]"}, "axes": {"grad": ["disabled"]}, "requires": ["training"]}
    user = UserFunction(ref="m:f", call="x, y", arguments=("x", "y"), declared=declared)
    case = as_case(user, declaration_of({"input": ["y=[2]"], "dynamic": ["false"], "requires": ["rng"]}))
    assert [spec.shape for spec in case.inputs.values()] == [(4,), (2,)]
    assert ([variant.id for variant in case.variants], set(case.requires)) == (["grad=disabled"], {Capability.RNG})


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("requires", "trianing", "unknown capability 'trianing'\n  .*Did you mean 'training'"),
        ("check", "gradient", "unknown check 'gradient'\n  .*Did you mean 'gradients'"),
        ("call", "{grad: of}", r"calls\[0\].grad cannot be 'of'"),
        ("call", "{", "--call:2:1: malformed YAML"),
        ("call", "{shapes: {z: [2]}}", "z"),
        ("tolerance", "float32", "--tolerance: 'float32' is not of the form name=value, such as float32=1e-3"),
        ("tolerance", "float23=1e-3", "unknown dtype 'float23'"),
        ("raises", "later:ValueError", "raises.stage cannot be 'later'"),
        ("dynamic", "maybe", "axes.dynamic"),
    ],
)
def test_what_is_typed_wrongly_is_reported_as_in_a_case_file(option: str, text: str, message: str) -> None:
    """With what was given, and what is allowed."""
    with pytest.raises(UsageError, match=message):
        as_case(UserFunction(ref="m:f"), declaration_of({option: [text]}))


@pytest.mark.parametrize(("name", "callee"), [("loss", "loss"), ("F", "F_"), ("Some.loss", "loss"), ("x", "x_")])
def test_a_program_calls_the_function_by_its_name(name: str, callee: str) -> None:
    """Unless that means something else there."""
    user = UserFunction(ref=f"m:{name}", call="x", arguments=("x",))
    case = as_case(user, {"inputs": {"x": "1"}})
    assert case.program == f"return {callee}(x)\n"
    assert case.function == replace(user, callee=callee)
