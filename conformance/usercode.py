"""A user's own function as the program of a case: what `conformance check` is given, described and loaded in a child.

A reference is `path/to/file.py:function`, `package.module:function`, or `path/to/file.pickle:function` for what Python
handed over. A file is run anew for each role, so that each begins with its own state.
"""

from __future__ import annotations

import copy
import inspect
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import cloudpickle
import torch

from conformance.errors import UsageError
from conformance.resolve import import_home
from conformance.userfunction import DECLARED, INPUTS, PICKLE, UserFunction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conformance.model import Stage

__all__ = ["arguments", "describe", "load", "state"]


def describe(ref: str, report: Callable[[Stage], None]) -> UserFunction:  # noqa: ARG001 - as every task of a child
    """Load a user's function, which runs its file, and call what makes its inputs, if there is something.

    Raises:
        UsageError: there is no such file or function, or its inputs are not what it takes.
    """
    function = load(ref)
    declared = getattr(function, DECLARED, {})
    maker = _maker(ref)
    signature = _signature(function)
    if maker:
        bound = _bound(_attribute(maker)(), signature, maker, ref)
    else:
        bound = _declared(signature, declared.get("inputs", {}))
    return UserFunction(
        ref=ref,
        call=_call(bound),
        arguments=tuple(_flat(bound)),
        maker=maker,
        declared={name: value for name, value in declared.items() if value},
        title=(inspect.getdoc(function) or "").partition("\n")[0],
    )


def load(ref: str) -> Any:  # noqa: ANN401 - a function or a module
    """The function with a state of its own, or the module that a factory makes.

    Raises:
        UsageError: there is no such file or function.
    """
    value = _attribute(ref, fresh=True)
    if _is_factory(value):
        value = value()
    if isinstance(value, torch.nn.Module):
        return copy.deepcopy(value)
    if not callable(value):
        message = f"{ref} is {value!r:.80}, which cannot be called"
        raise UsageError(message)
    return value


def state(function: object) -> Mapping[str, object]:
    """Modules and tensors that a function finds in its file or in the functions around it, by name."""
    if not inspect.isfunction(function):
        return {}
    found = inspect.getclosurevars(function)
    names = {**found.globals, **found.nonlocals}
    return {name: value for name, value in names.items() if isinstance(value, torch.nn.Module | torch.Tensor)}


def arguments(maker: str, ref: str) -> dict[str, object]:
    """What a function makes as arguments of what `ref` names, by name.

    Raises:
        UsageError: they are not what it takes.
    """
    return _flat(_bound(_attribute(maker)(), _signature(_callable(ref)), maker, ref))


@cache
def _callable(ref: str) -> Any:  # noqa: ANN401 - a function or a module
    return load(ref)


def _bound(made: object, signature: inspect.Signature, maker: str, ref: str) -> inspect.BoundArguments:
    """A mapping is arguments by name, a tuple or list those in order, anything else the only one."""
    try:
        if isinstance(made, dict):
            return signature.bind(**made)
        return signature.bind(*(made if isinstance(made, (tuple, list)) else (made,)))
    except TypeError as error:
        message = f"what {maker} returns does not fit {ref}: {error}"
        raise UsageError(message) from error


def _declared(signature: inspect.Signature, given: Mapping[str, str]) -> inspect.BoundArguments:
    """Those that are declared, else those without a default."""
    required = [each.name for each in signature.parameters.values() if each.default is inspect.Parameter.empty]
    return signature.bind_partial(**{name: name for name in given or required if name in signature.parameters})


def _call(bound: inspect.BoundArguments) -> str:
    """How the arguments are handed on, as Python; they have the names of `_flat`."""
    by_name = {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}
    words = []
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        words += [f"{each}={each}" if kind in by_name else each for each in _names(name, value, kind)]
    return ", ".join(words)


def _flat(bound: inspect.BoundArguments) -> dict[str, object]:
    """Arguments by name; those that `*args` takes are numbered."""
    found: dict[str, object] = {}
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        found |= _names(name, value, kind)
    return found


def _names(name: str, value: Any, kind: object) -> dict[str, object]:  # noqa: ANN401 - an argument, or several
    if kind is inspect.Parameter.VAR_POSITIONAL:
        return {f"{name}{index}": each for index, each in enumerate(value)}
    return dict(value) if kind is inspect.Parameter.VAR_KEYWORD else {name: value}


def _is_factory(value: object) -> bool:
    """Whether it is a class of modules, or a function without arguments that says that it returns a module."""
    if isinstance(value, type):
        return issubclass(value, torch.nn.Module)
    if not inspect.isfunction(value) or inspect.signature(value).parameters:
        return False
    told = inspect.get_annotations(value, eval_str=True).get("return")
    return isinstance(told, type) and issubclass(told, torch.nn.Module)


def _signature(function: Any) -> inspect.Signature:  # noqa: ANN401 - a function or a module
    return inspect.signature(getattr(function, "forward", function))


def _maker(ref: str) -> str:
    """The reference of what makes the inputs, beside the function; empty where there is none."""
    home, _, name = ref.rpartition(":")
    beside = _home(home)
    return next((f"{home}:{each}" for each in (f"{name}_{INPUTS}", INPUTS) if hasattr(beside, each)), "")


def _attribute(ref: str, *, fresh: bool = False) -> Any:  # noqa: ANN401 - whatever is found
    home, _, name = ref.rpartition(":")
    value: Any = _run(home) if fresh else _home(home)
    for step in name.split("."):
        if not hasattr(value, step):
            known = ", ".join(sorted(each for each in vars(value) if not each.startswith("_"))) or "nothing"
            message = f"no {step!r} in {home}; it has {known}"
            raise UsageError(message)
        value = getattr(value, step)
    return value


@cache
def _home(home: str) -> Any:  # noqa: ANN401 - a module, or what stands in a pickle
    return _run(home)


def _run(home: str) -> Any:  # noqa: ANN401 - a module, or what stands in a pickle
    if not home.endswith(PICKLE):
        folder = str(Path(home).parent)
        if home.endswith(".py") and folder not in sys.path:
            sys.path.insert(0, folder)  # as if Python ran it: what lies beside it can be imported
        return import_home(home)
    path, content = cloudpickle.loads(Path(home).read_bytes())
    sys.path += [each for each in path if each not in sys.path]
    return SimpleNamespace(**cloudpickle.loads(content))
