from __future__ import annotations

from typing import Any

import pytest

import conformance
from conformance.errors import UsageError
from conformance.model import InputSpec
from conformance.userfunction import UserFunction, as_case, input_spec

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
    case = as_case(USER, {"x": "float32[2],requires_grad", "y": "float32[2]", "scale": "2.0"})
    assert case.id == "user.some_loss"
    assert case.title == "The loss"
    assert case.program == "return function(x, y, scale=scale)\n"
    assert case.inputs["scale"] == InputSpec(scalar=2.0)
    assert "load('/x/file.py:Some.loss')" in case.setup


def test_inputs_that_a_function_makes_come_from_it() -> None:
    """One that is given goes before."""
    made = UserFunction(ref="m:f", call="x, y", arguments=("x", "y"), maker="m:inputs")
    case = as_case(made, {"y": "float32[2]"})
    assert case.inputs["x"].maker == ("m:inputs", "m:f")
    assert case.inputs["y"] == InputSpec(shape=(2,), dtype="float32")


def test_without_inputs_it_says_how_to_give_them() -> None:
    """The argument that is missing is named."""
    with pytest.raises(UsageError, match=r"nothing says what y of .*\n.*inputs\(\).*--input 'y="):
        as_case(USER, {"x": "float32[2]"})


def test_a_name_that_cannot_be_an_argument_is_refused() -> None:
    """It would not be Python."""
    with pytest.raises(UsageError, match="'2x' cannot be"):
        as_case(USER, {"x": "1", "y": "1", "2x": "1"})


def test_the_decorator_declares_inputs_and_axes_and_leaves_the_function_alone() -> None:
    """What it was given is what the case has."""

    def function(x: object) -> object:
        return x

    marked = conformance.case(
        inputs={"x": "[4]"}, grad=["enabled", "disabled"], dynamic=["auto"], dtype=["float64"], graph_breaks=1
    )(function)
    assert marked is function
    declared = vars(function)["__conformance__"]
    case = as_case(UserFunction(ref="m:function", call="x", arguments=("x",), declared=declared), {})
    assert [variant.id for variant in case.variants] == [
        "grad=enabled,dtype=float64,dynamic=auto",
        "grad=disabled,dtype=float64,dynamic=auto",
    ]
    assert (case.inputs["x"].shape, case.graph_breaks) == ((4,), 1)


def test_an_unknown_axis_value_is_refused() -> None:
    """The message is that of the case files."""
    user = UserFunction(ref="m:f", declared={"axes": {"grad": ["off"]}})
    with pytest.raises(UsageError, match=r"conformance\.case"):
        as_case(user, {})


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
    case = as_case(UserFunction(ref="m:f", declared={"axes": axes}), {})
    assert [variant.id for variant in case.variants] == ids
