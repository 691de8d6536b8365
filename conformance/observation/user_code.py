"""A user's function as the program of a case: the argument of `conformance check`, described and loaded in a child.

Its spec is `path/to/file.py:function`, `package.module:function`, or `path/to/file.pickle:function` for a function
passed by the Python API. Each role runs the user's code anew, with the files beside it, so that it begins with its own
state; installed packages are imported once. `conformance.observation.reach` finds a function's state.
"""

from __future__ import annotations

import copy
import inspect
import re
import sys
from contextlib import contextmanager
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from conformance.backend.resolution import import_home
from conformance.isolation import handover
from conformance.model.errors import UsageError
from conformance.model.user_function import DECLARED, INPUTS, PICKLE, UserFunction, typed
from conformance.observation import modules
from conformance.observation.exceptions import traceback_of
from conformance.observation.parts import copied, leaves_of
from conformance.observation.reach import reachable
from conformance.observation.seeding import seed_default
from conformance.observation.snapshot import memory
from conformance.observation.tensors import Copies

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from conformance.model.enums import Stage

__all__ = ["arguments", "blamed", "describe", "load", "reached"]

_VARIADIC = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
_INSTALLED = {"site-packages", "dist-packages"}
_MAIN = "__main__"
_PRIVATE = "conformance_user_main"


def describe(ref: str, report: Callable[[Stage], None]) -> UserFunction:  # noqa: ARG001 - as every task of a child
    """Load a user's function, which runs its file, and call the function that makes its inputs, if there is one.

    Raises:
        UsageError: there is no such file or function, its inputs do not fit its signature, or the user's code raises.
    """
    where = ref.rpartition(":")[0]
    with blamed(f"{typed(where)} raises {{}} while it is imported", where):
        home = _home(where)
    found = _found(home, ref)
    with blamed(f"{typed(ref)} raises {{}} while it is made", where):
        function = _made(found, ref)
    declared = getattr(function, DECLARED, {})
    signature = _signature(function, ref)
    maker = _maker(ref)
    if maker:
        with blamed(f"{typed(maker)}() raises {{}}", where):
            made = _call_maker(maker)
        bound = _bound(made, signature, maker, ref)
    else:
        bound = _declared(signature, declared.get("inputs", {}))
    anything = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in signature.parameters.values())
    return UserFunction(
        ref=ref,
        call=_call(bound),
        arguments=tuple(_flat(bound)),
        takes=() if anything else tuple(signature.parameters),
        maker=maker,
        declared={name: value for name, value in declared.items() if value},
        title=(inspect.getdoc(function) or "").partition("\n")[0],
        is_factory=_is_factory(found),
        is_module=isinstance(function, torch.nn.Module),
        state=tuple(_named(function, home)),
    )


@contextmanager
def blamed(message: str, home: str) -> Iterator[None]:
    """Turn an exception of user code into a UsageError with its traceback; `{}` in the message is its type."""
    try:
        yield
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        text = f"{message.format(type(error).__name__)}\n{traceback_of(error, home)}"
        raise UsageError(text) from error


def _named(function: object, home: object) -> Iterator[str]:
    """What a function reaches and can be named from outside."""
    for path in reachable(function):
        head = re.split(r"\W", path, maxsplit=1)[0]
        if hasattr(home, head) or (head == "self" and inspect.ismethod(function)):
            yield path


def load(ref: str) -> Any:  # noqa: ANN401 - a function or a module
    """Return the function with its own state, or the module that a factory makes.

    Raises:
        UsageError: there is no such file or function, or it cannot be called.
    """
    return _made(_found(_run(ref.rpartition(":")[0]), ref), ref)


def reached(function: object, taken: Collection[str]) -> Callable[[], Mapping[str, object]]:
    """Return a callable that gives the modules and tensors that the function reaches when it is called, by path.

    Args:
        function: the function to inspect.
        taken: names already in use; a module or tensor of such a name gets another.
    """
    return partial(reachable, function, tuple(taken))


def arguments(maker: str, ref: str, seed: int) -> dict[str, object]:
    """Return the arguments that `maker` makes for the function `ref`, by name; random draws depend only on the seed.

    They are passed on exactly as made, or copied if `maker` returns objects that it keeps.

    Raises:
        UsageError: they do not fit the signature.
    """
    if _keeps(maker, ref):
        return copied(_made_arguments(maker, ref, seed), Copies())
    return _made_arguments(maker, ref, seed)


def _made_arguments(maker: str, ref: str, seed: int) -> dict[str, object]:
    signature = _signature(_callable(ref), ref)  # first: running the user's file may draw too
    seed_default(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)
    return _flat(_bound(_call_maker(maker), signature, maker, ref))


@cache
def _keeps(maker: str, ref: str) -> bool:
    """Whether two results of `maker` share anything, so that a call would see changes of an earlier one."""
    first, second = (_made_arguments(maker, ref, seed=0) for _ in range(2))
    return not _identities(first).isdisjoint(_identities(second))


def _identities(values: Mapping[str, object]) -> set[int]:
    """Ids of the tensors in values, and the addresses of their memory."""
    found = [each for name, value in values.items() for _, each in leaves_of(value, name)]
    tensors = [each for each in found if isinstance(each, torch.Tensor)]
    starts = {addresses.start for each in tensors if (addresses := memory(each))}
    return starts | {id(each) for each in tensors}


@cache
def _callable(ref: str) -> Any:  # noqa: ANN401 - a function or a module
    return _made(_found(_home(ref.rpartition(":")[0]), ref), ref)


def _made(value: Any, ref: str) -> Any:  # noqa: ANN401 - a function or a module
    """The callable: the value itself, the module that it makes, or a copy if it is a module."""
    if _is_factory(value):
        try:
            value = value()
        except TypeError as error:
            message = (
                f"{typed(ref)} cannot be made without arguments: {error}\n  Name a function that makes and returns it."
            )
            raise UsageError(message) from error
    if isinstance(value, torch.nn.Module):
        return copy.deepcopy(value)
    if not callable(value):
        message = f"{typed(ref)} is {value!r:.80}, which cannot be called"
        raise UsageError(message)
    return value


def _bound(made: object, signature: inspect.Signature, maker: str, ref: str) -> inspect.BoundArguments:
    """Bind arguments: a dict by name, a tuple or list in order, anything else as the only one."""
    if made is None:
        message = f"{typed(maker)} returns None\n  It returns the arguments: by name, in order, or the only one."
        raise UsageError(message)
    try:
        if isinstance(made, dict):
            return signature.bind(**made)
        return signature.bind(*(made if isinstance(made, (tuple, list)) else (made,)))
    except TypeError as error:
        message = f"what {typed(maker)} returns does not fit {typed(ref)}: {error}"
        raise UsageError(message) from error


def _declared(signature: inspect.Signature, given: Mapping[str, str]) -> inspect.BoundArguments:
    """Bind parameters without a default, and those declared."""
    needed = [
        each.name
        for each in signature.parameters.values()
        if each.kind not in _VARIADIC and (each.default is inspect.Parameter.empty or each.name in given)
    ]
    return inspect.BoundArguments(signature, {name: name for name in needed})


def _call(bound: inspect.BoundArguments) -> str:
    """The arguments of the call as Python code, with the names of `_flat`."""
    by_name, parts = False, []
    for name, parameter in bound.signature.parameters.items():
        if name not in bound.arguments:
            by_name = by_name or parameter.kind not in _VARIADIC  # those after an omitted parameter
            continue
        by_name = by_name or parameter.kind in {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}
        parts += [f"{each}={each}" if by_name else each for each in _names(name, bound.arguments[name], parameter.kind)]
    return ", ".join(parts)


def _flat(bound: inspect.BoundArguments) -> dict[str, object]:
    """Arguments by name; those of `*args` are numbered."""
    found: dict[str, object] = {}
    for name, value in bound.arguments.items():
        found |= _names(name, value, bound.signature.parameters[name].kind)
    return found


def _names(name: str, value: Any, kind: object) -> dict[str, object]:  # noqa: ANN401 - an argument, or several
    if kind is inspect.Parameter.VAR_POSITIONAL:
        return {f"{name}{index}": each for index, each in enumerate(value)}
    return dict(value) if kind is inspect.Parameter.VAR_KEYWORD else {name: value}


def _is_factory(value: object) -> bool:
    """Whether it is a module class, or a function without parameters that is annotated to return a module."""
    if isinstance(value, type):
        return issubclass(value, torch.nn.Module)
    if not inspect.isfunction(value) or inspect.signature(value).parameters:
        return False
    returns = inspect.get_annotations(value, eval_str=True).get("return")
    return isinstance(returns, type) and issubclass(returns, torch.nn.Module)


def _signature(function: Any, ref: str) -> inspect.Signature:  # noqa: ANN401 - a function or a module
    try:
        return inspect.signature(getattr(function, "forward", function))
    except (TypeError, ValueError) as error:
        message = f"the signature of {typed(ref)} cannot be read ({error})\n  Name a Python function that calls it."
        raise UsageError(message) from error


def _maker(ref: str) -> str:
    """The spec of the function that makes the inputs, in the same file; empty if there is none."""
    home, _, name = ref.rpartition(":")
    beside = _home(home)
    return next((f"{home}:{each}" for each in (f"{name}_{INPUTS}", INPUTS) if hasattr(beside, each)), "")


def _call_maker(maker: str) -> object:
    made = _found(_home(maker.rpartition(":")[0]), maker)
    try:
        inspect.signature(made).bind()
    except (TypeError, ValueError) as error:
        message = f"{typed(maker)} makes inputs, so it is to be a function without arguments ({error})"
        raise UsageError(message) from error
    return made()


def _found(home: object, ref: str) -> Any:  # noqa: ANN401 - any value
    """The attribute that a spec names."""
    where, _, name = ref.rpartition(":")
    value: Any = home
    for step in name.split("."):
        if not hasattr(value, step):
            known = ", ".join(sorted(each for each in vars(value) if not each.startswith("_"))) or "nothing"
            message = f"no {step!r} in {typed(where)}; it has {known}"
            raise UsageError(message)
        value = getattr(value, step)
    return value


@cache
def _home(home: str) -> Any:  # noqa: ANN401 - a module, or the content of a pickle
    return _run(home)


def _run(home: str) -> Any:  # noqa: ANN401 - a module, or the content of a pickle
    """Run a user's file or module anew, with the modules beside it."""
    modules.look_up_anew()
    if home.endswith(PICKLE):
        return _unpickled(Path(home))
    if home.endswith(".py"):
        folder = Path(home).parent
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))  # as if Python ran it: files beside it can be imported
    else:
        folder = _folder_of(home)
    _forget(folder)
    try:
        return import_home(home)
    except ImportError as error:
        if "relative import" in str(error):
            message = f"{home}: {error}\n  Name it as package.module:function."
            raise UsageError(message) from error
        raise


def _folder_of(module: str) -> Path:
    """The folder of the top-level package or module of a name."""
    spec = find_spec(module.partition(".")[0])
    return Path(spec.origin).parent if spec and spec.origin and spec.has_location else Path("/nowhere")


def _forget(folder: Path) -> None:
    """Let modules in a folder be imported anew, except those of installed packages and of this one."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or name == _MAIN or name.partition(".")[0] in {"conformance", "torch"}:
            continue
        path = Path(file)
        installed = _INSTALLED & set(path.parts) or path.is_relative_to(sys.base_prefix)
        if path.is_relative_to(folder) and not installed:
            del sys.modules[name]


def _unpickled(path: Path) -> SimpleNamespace:
    held = handover.read(path)
    for value in held.values():
        for names in _globals_of(value):
            _give_home(names)
    return SimpleNamespace(**held)


def _globals_of(value: object) -> Iterator[dict[str, Any]]:
    """The globals of a function, or of the methods of a module's classes."""
    if isinstance(value, FunctionType):
        yield value.__globals__
    elif isinstance(value, torch.nn.Module):
        classes = {type(each) for each in value.modules()}
        methods = (method for each in classes for method in vars(each).values() if isinstance(method, FunctionType))
        yield from (method.__globals__ for method in methods)


def _give_home(names: dict[str, Any]) -> None:
    """Register the globals of code from a script or notebook as a module, as Dynamo looks them up by module name."""
    if names.get("__name__") == _MAIN:
        names["__name__"] = _PRIVATE
        home = ModuleType(_PRIVATE)
        vars(home).update(names)
        sys.modules[_PRIVATE] = home
