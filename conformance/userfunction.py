"""A user's own function in words, the decorator that says how it is called, and the case that is made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import ValidationError

from conformance.documents import AxesDocument, InputDocument
from conformance.errors import UsageError
from conformance.model import Case, InputSpec, Location, Variant
from conformance.rules import broken_inputs, is_argument

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DECLARED", "INPUTS", "PICKLE", "UserFunction", "as_case", "case", "input_spec"]

INPUTS = "inputs"
"""The function beside a user's own that makes its arguments; `<function>_inputs` goes before it."""

PICKLE = ".pickle"
"""How the name of a file ends that holds a function and what makes its inputs."""

DECLARED = "__conformance__"
"""Where `conformance.case` leaves what it was given."""

F = TypeVar("F")

_INPUT = re.compile(r"(?P<dtype>[a-z0-9]+)?\[(?P<shape>[\d, ]*)\](?P<flags>(,\w+)*)")
_AXES = ("grad", "autocast", "dtype", "dynamic")
_AS_USERS: Mapping[str, list[Any]] = {"dynamic": ["auto"]}
"""What `torch.compile(function)` does by itself, where a case file has another default."""


@dataclass(frozen=True, kw_only=True)
class UserFunction:
    """What a reference holds, in words.

    Args:
        ref: the reference.
        call: how the arguments are handed on, as Python: `x, y, scale=scale`.
        arguments: their names.
        takes: names of all that it may be given; empty where that is anything.
        maker: reference of the function that makes the arguments; empty where there is none.
        declared: what `conformance.case` was given.
        title: the first line of its docstring.
    """

    ref: str
    call: str = ""
    arguments: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    maker: str = ""
    declared: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""


def case(
    *,
    inputs: Mapping[str, str] | None = None,
    grad: Sequence[str] = (),
    autocast: Sequence[str] = (),
    dtype: Sequence[str] = (),
    dynamic: Sequence[bool | str] = (),
    graph_breaks: int = 0,
) -> Callable[[F], F]:
    """Say how `conformance check` is to call a function; the function itself stays as it is.

    Args:
        inputs: arguments by name, such as `{"a": "float32[4,4],requires_grad"}`; see `input_spec`.
        grad: ambient grad modes to call it in: enabled, disabled, inference.
        autocast: ambient autocast: off, bfloat16, float16.
        dtype: dtypes of inputs that name none.
        dynamic: what `torch.compile(dynamic=...)` is given: True, False, or "auto", its own default and the one here.
        graph_breaks: how many are allowed.
    """
    told = {
        "inputs": dict(inputs or {}),
        "axes": {"grad": list(grad), "autocast": list(autocast), "dtype": list(dtype), "dynamic": list(dynamic)},
        "graph_breaks": graph_breaks,
    }

    def mark(function: F) -> F:
        setattr(function, DECLARED, told)
        return function

    return mark


def input_spec(text: str) -> InputSpec:
    """The input that `float32[4,4],requires_grad` describes: a dtype if it is not the variant's, sizes, and flags.

    A Python number is its own text: `3`, `0.5`, `true`.

    Raises:
        UsageError: it is neither.
    """
    found = _INPUT.fullmatch(text.strip())
    try:
        form = InputDocument.model_validate(_tensor(found) if found else {"scalar": yaml.safe_load(text)})
        reason = next((each.message for each in broken_inputs({"x": form})), "")
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
    except yaml.YAMLError:
        reason = "it is not to be read"
    if not reason and isinstance(form.scalar, str):
        reason = "it is no number"
    if reason:
        message = (
            f"{text!r} is no input: {reason}\n"
            "  Write float32[4,4],requires_grad for a tensor (dtype and requires_grad may be left out), or a number."
        )
        raise UsageError(message)
    if form.scalar is not None:
        return InputSpec(scalar=form.scalar)
    return InputSpec(shape=tuple(form.shape or ()), dtype=form.dtype, requires_grad=form.requires_grad)


def _tensor(found: re.Match[str]) -> dict[str, Any]:
    sizes = [int(size) for size in found["shape"].replace(" ", "").split(",") if size]
    flags = dict.fromkeys(filter(None, found["flags"].split(",")), True)
    return {"shape": sizes, "dtype": found["dtype"]} | flags


def as_case(user: UserFunction, given: Mapping[str, str]) -> Case:
    """A case that calls the function.

    Args:
        user: the function.
        given: inputs as text, by name, in place of those declared or made.

    Raises:
        UsageError: nothing says what the inputs are, or an input or axis is none.
    """
    texts = {**user.declared.get("inputs", {}), **given}
    specs = {name: input_spec(text) for name, text in texts.items()}
    if user.maker:
        specs = {name: InputSpec(maker=(user.maker, user.ref)) for name in user.arguments} | specs
    if missing := [name for name in user.arguments if name not in specs]:
        message = (
            f"nothing says what {', '.join(missing)} of {user.ref} is\n"
            f"  Write a function {INPUTS}() beside it that returns its arguments, or give"
            f" --input '{missing[0]}=float32[4,4],requires_grad'."
        )
        raise UsageError(message)
    callee = "function" if "function" not in specs else "function_"
    name = re.sub(r"\W+", "_", user.ref.rpartition(":")[2].lower()).strip("_") or "function"
    return Case(
        id=f"user.{name}",
        title=user.title or f"{user.ref} does compiled what it does in eager",
        topic="A function of a user",
        setup=(
            "from conformance.usercode import load, reached\n\n"
            f"{callee} = load({user.ref!r})\n__state__ = reached({callee}, [*globals()])\n"
            "globals().update(__state__())\n"
        ),
        program=f"return {callee}({_call(user, specs)})\n",
        location=Location(file=user.ref, line=1, column=1),
        inputs=specs,
        variants=_variants(user.declared.get("axes", {})),
        graph_breaks=user.declared.get("graph_breaks", 0),
        may_raise=True,
    )


def _call(user: UserFunction, specs: Mapping[str, InputSpec]) -> str:
    """The call, with arguments that have a default and were given beyond those it needs."""
    further = [name for name in specs if name not in user.arguments]
    if unfit := [name for name in specs if not is_argument(name)]:
        message = f"{unfit[0]!r} cannot be the name of an argument"
        raise UsageError(message)
    if user.takes and (unknown := [name for name in further if name not in user.takes]):
        message = f"{user.ref} takes no {unknown[0]!r}; it takes {', '.join(user.takes)}"
        raise UsageError(message)
    return ", ".join(filter(None, [user.call, *(f"{name}={name}" for name in further)]))


def _variants(axes: Mapping[str, Sequence[Any]]) -> tuple[Variant, ...]:
    try:
        given = dict(_AS_USERS) | {name: list(dict.fromkeys(values)) for name, values in axes.items() if values}
        form = AxesDocument.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        message = f"conformance.case: {first['loc'][0]} cannot be {first['input']!r}: {first['msg']}"
        raise UsageError(message) from error
    chosen = product(*(getattr(form, name) for name in _AXES))
    return tuple(
        Variant(grad=grad, autocast=autocast, dtype=dtype, dynamic=None if dynamic == "auto" else dynamic)
        for grad, autocast, dtype, dynamic in chosen
    )
