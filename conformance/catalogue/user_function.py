"""The decorator that declares how a user's own function is called, and the case made from one."""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import ValidationError

from conformance.catalogue.documents import CaseDocument, InputDocument
from conformance.catalogue.loader import case_of
from conformance.catalogue.rules import broken_inputs, broken_rules, is_argument
from conformance.catalogue.validation import first_problem
from conformance.catalogue.yaml_source import compose
from conformance.model.case import InputSpec, Location
from conformance.model.enums import TIMING_TAG as TIMING
from conformance.model.errors import UsageError
from conformance.model.moves import SETS
from conformance.model.user_function import DECLARED, INPUTS, STATE, UserFunction, typed
from conformance.program.allowed_names import ROOTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from conformance.model.case import Case

__all__ = ["as_case", "case", "declaration_of", "input_spec", "refuse_malformed"]

F = TypeVar("F")

_OPTIONS = "the options"  # their name in messages

_INPUT = re.compile(r"(?P<dtype>[a-z0-9]+)?\[(?P<shape>[\d, ]*)\](?P<flags>(,\w+)*)")
_TAKEN = frozenset({*ROOTS, "program"})
_DEFAULTS: Mapping[str, list[Any]] = {"dynamic": ["auto"]}
"""The defaults of `torch.compile(function)` where a case file has another default."""


def case(
    *,
    inputs: Mapping[str, str] | None = None,
    grad: Sequence[str] = (),
    autocast: Sequence[str] = (),
    dtype: Sequence[str] = (),
    dynamic: Sequence[bool | str] = (),
    graph_breaks: int = 0,
    requires: Sequence[str] = (),
    raises: str = "",
    checks: Sequence[str] = (),
    calls: Sequence[Mapping[str, Any]] = (),
    tolerance: Mapping[str, float] | None = None,
    moves: str | Sequence[str] = "",
    timing: bool = False,
) -> Callable[[F], F]:
    """Declare how `conformance check` calls a function; the function itself is unchanged.

    Except for `inputs`, all is as in a case file (`cases/README.md`).

    >>> @conformance.case(inputs={"a": "float32[4],requires_grad"}, grad=["enabled", "disabled"])
    ... def double(a):
    ...     return a * 2
    >>> double(21)
    42

    Args:
        inputs: arguments by name, such as `{"a": "float32[4,4],requires_grad"}`; see `input_spec`.
        grad: ambient grad modes to call it in: enabled, disabled, inference.
        autocast: ambient autocast: off, bfloat16, float16.
        dtype: dtypes of inputs that name none.
        dynamic: values of `torch.compile(dynamic=...)`: True, False, or "auto", its own default and the one here.
        graph_breaks: how many are allowed.
        requires: capabilities without which a backend need not run it.
        raises: the exception that the uncompiled function must raise: `ValueError`, or `backward:RuntimeError`.
        checks: checks to enable, or to raise to MUST.
        calls: the sequence of calls on one compiled function, such as `[{}, {"grad": "disabled"}]`.
        tolerance: by dtype, the relative error that is allowed.
        moves: what the caller does besides calling: names, or `none`, `usual`, which is the default, or `all`.
        timing: whether it is timed too, if it conforms.
    """
    axes = {"grad": list(grad), "autocast": list(autocast), "dtype": list(dtype), "dynamic": list(dynamic)}
    declared = _nonempty(
        inputs=dict(inputs or {}),
        axes={name: values for name, values in axes.items() if values},
        graph_breaks=graph_breaks,
        requires=list(requires),
        raises=_raised(raises),
        checks=dict.fromkeys(checks, "must"),
        calls=[dict(call) for call in calls],
        tolerance=dict(tolerance or {}),
        moves=_moves([moves] if isinstance(moves, str) and moves else list(moves)),
        tags=[TIMING] if timing else [],
    )

    def mark(function: F) -> F:
        setattr(function, DECLARED, declared)
        return function

    return mark


def _moves(words: Sequence[str]) -> str | list[str]:
    """Return one word for a set of moves as it is, names as a list."""
    return words[0] if len(words) == 1 and words[0] in SETS else list(words)


def _nonempty(**keys: Any) -> dict[str, Any]:  # noqa: ANN401 - keys of a case, of which each has its own type
    """Return the keys of a case that have a value."""
    return {name: value for name, value in keys.items() if value}


def declaration_of(texts: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Convert options of `conformance check`, by name, to keys of a case.

    Raises:
        UsageError: one is malformed.
    """
    dynamic = [{"true": True, "false": False}.get(word, word) for word in texts.get("dynamic", ())]
    return _nonempty(
        inputs=_pairs("input", texts, "x=float32[4,4],requires_grad"),
        axes=_nonempty(dynamic=dynamic),
        requires=list(texts.get("requires", ())),
        raises=_raised(texts.get("raises", ("",))[-1]),
        checks=dict.fromkeys(texts.get("check", ()), "must"),
        calls=[_read("call", text) for text in texts.get("call", ())],
        tolerance={
            name: _read("tolerance", number) for name, number in _pairs("tolerance", texts, "float32=1e-3").items()
        },
        moves=_moves(texts.get("moves", ())),
    )


def refuse_malformed(texts: Mapping[str, Sequence[str]]) -> None:
    """Refuse options of `conformance check` that are wrong for any function.

    Raises:
        UsageError: one is malformed, or names an unknown check, capability, dtype or mode.
    """
    given = declaration_of(texts)
    inputs = tuple(given.get("inputs", {}))
    # Calls may refer to inputs that a function makes, which are not known here.
    known = {name: value for name, value in given.items() if name != "calls"}
    as_case(UserFunction(ref=_OPTIONS, call=", ".join(f"{name}={name}" for name in inputs), arguments=inputs), known)


def _pairs(option: str, texts: Mapping[str, Sequence[str]], form: str) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts.get(option, ())]
    for name, equals, value in pairs:
        if not (name.strip() and equals):
            message = f"--{option}: {name + value!r} is not of the form name=value, such as {form}"
            raise UsageError(message)
    return {name.strip(): value for name, _, value in pairs}


def _read(option: str, text: str) -> Any:  # noqa: ANN401 - what a case file has there
    """Parse a value as in a case file."""
    document = compose(text, f"--{option}")
    if document.problems:
        raise UsageError(str(document.problems[0]))
    return document.data


def _raised(text: str) -> dict[str, str]:
    """Return `{"stage": "backward", "type": "RuntimeError"}` of `backward:RuntimeError`."""
    stage, _, kind = text.rpartition(":")
    return _nonempty(stage=stage, type=kind)


def input_spec(text: str) -> InputSpec:
    """Return the input of `float32[4,4],requires_grad`: a dtype if it is not the variant's, sizes, and flags.

    A Python number is written as it is: `3`, `0.5`, `true`.

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
        reason = "it cannot be parsed"
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


def as_case(user: UserFunction, given: Mapping[str, Any] = MappingProxyType({})) -> Case:
    """Return a case that calls the function, checked as those of a case file are.

    Args:
        user: the function.
        given: keys of the case that replace declared ones; inputs are texts by name.

    Raises:
        UsageError: an input is missing, or something given or declared is wrong.
    """
    keys = {**user.declared, **given}
    for name in ("inputs", "axes"):
        keys[name] = {**user.declared.get(name, {}), **given.get(name, {})}
    specs = _inputs(user, {name: input_spec(text) for name, text in keys.pop("inputs").items()})
    callee = user.name.rpartition(".")[2]
    callee += "_" * (callee in specs or callee in _TAKEN)
    data = {
        **keys,
        "axes": {**_DEFAULTS} | {name: list(dict.fromkeys(values)) for name, values in keys["axes"].items() if values},
        "id": f"user.{re.sub(r'[^a-z0-9]+', '_', user.name.lower()).strip('_') or 'function'}",
        "title": user.title or f"{user.ref} does compiled what it does uncompiled",
        "setup": (
            "from conformance.observation.user_code import load, reached\n\n"
            f"{callee} = load({user.ref!r})\n{STATE} = reached({callee}, [*globals()])\n"
            f"globals().update({STATE}())\n"
        ),
        "program": f"return {callee}({_call(user, specs)})\n",
    }
    case = case_of(_form(user, data, specs), "A function of a user", Location(file=user.ref))
    return replace(case, inputs=specs, may_raise=case.raises is None, function=replace(user, callee=callee))


def _form(user: UserFunction, data: dict[str, Any], specs: Mapping[str, InputSpec]) -> CaseDocument:
    """Return the document of a case, with only the part of its inputs that rules need."""
    known = {
        name: {"shape": list(spec.shape)} if spec.scalar is None else {"scalar": spec.scalar}
        for name, spec in specs.items()
        if not spec.maker
    }
    try:
        form = CaseDocument.model_validate({**data, "inputs": known})
    except ValidationError as error:
        message = f"{typed(user.ref)}: {first_problem(CaseDocument, error)}"
        raise UsageError(message) from error
    for broken in broken_rules(form):
        if broken.path[0] != "inputs":
            message = "\n  ".join(filter(None, [f"{typed(user.ref)}: {broken.message}", broken.hint]))
            raise UsageError(message)
    return form


def _inputs(user: UserFunction, given: dict[str, InputSpec]) -> dict[str, InputSpec]:
    """Return all inputs: those that a function makes, and those that are given in their place."""
    specs = {name: InputSpec(maker=(user.maker, user.ref)) for name in user.arguments} if user.maker else {}
    specs |= given
    if missing := [name for name in user.arguments if name not in specs]:
        message = (
            f"no input is given for {', '.join(missing)} of {typed(user.ref)}\n"
            f"  Write a function {INPUTS}() beside it that returns its arguments, or give"
            f" --input '{missing[0]}=float32[4,4],requires_grad'."
        )
        raise UsageError(message)
    return specs


def _call(user: UserFunction, specs: Mapping[str, InputSpec]) -> str:
    """Return the call, with given arguments that have a default beyond those it needs."""
    further = [name for name in specs if name not in user.arguments]
    if unfit := [name for name in specs if not is_argument(name)]:
        message = f"{unfit[0]!r} cannot be the name of an argument"
        raise UsageError(message)
    if user.takes and (unknown := [name for name in further if name not in user.takes]):
        message = f"{typed(user.ref)} takes no {unknown[0]!r}; it takes {', '.join(user.takes)}"
        raise UsageError(message)
    return ", ".join(filter(None, [user.call, *(f"{name}={name}" for name in further)]))
